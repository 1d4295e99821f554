//go:build unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// recordedAWS is an AWS emulator that keeps how it was asked to assume roles.
type recordedAWS struct {
	url   string
	mu    sync.Mutex
	calls []url.Values
}

func newRecordedAWS(t *testing.T) *recordedAWS {
	t.Helper()
	upstream, err := url.Parse(testenv.Moto(t))
	require.NoError(t, err)
	r := &recordedAWS{}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(upstream); p.Out.Host = p.In.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body) // what is cut off the emulator refuses
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") == "AssumeRole" {
			r.mu.Lock()
			r.calls = append(r.calls, form)
			r.mu.Unlock()
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// seen returns the calls of AssumeRole so far.
func (r *recordedAWS) seen() []url.Values {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]url.Values(nil), r.calls...)
}

// chainWorld is a server whose whole chain is configured, over an AWS emulator:
// an engineer, an approver, and somebody who reads the trail.
type chainWorld struct {
	*process
	aws                         *recordedAWS
	cli                         string
	hook                        *receiver // wants to know of approaching ends alone
	engineer, approver, auditor ctl
}

func newChainWorld(t *testing.T) *chainWorld {
	t.Helper()
	w := &chainWorld{cli: testenv.AWSCLI(t), aws: newRecordedAWS(t), hook: newReceiver(t, nil)}
	wants := strings.Replace(w.hook.sink("oncall"), "{", "{events: [breakglass.expiring], ", 1)
	s := site{dir: t.TempDir(), more: "access_file: access.yaml\napprovals_file: approvals.yaml\n" +
		fmt.Sprintf("sts: {issuer: aws, region: us-east-1, endpoint: %q}\nnotify:\n  sinks:\n%s", w.aws.url, wants)}
	for name, text := range map[string]string{
		"policy.yaml":    `rules: [{name: open, users: ["*"], max_extensions: 1}]`,
		"access.yaml":    `rules: [{name: readers, effect: allow, profiles: [staging], users: ["*"]}]`,
		"approvals.yaml": "rules: [{name: leads, profiles: [prod], approvers: {users: [" + user(1) + "]}}]",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte("version: \"1\"\n"+text+"\n"), 0o600))
	}
	w.process = s.start(t, awsEnv()...)
	person := func(name string) ctl {
		c := newCtl(t, w.http, name)
		c.env = []string{"BGCTL_TOKEN=" + token(name), "AWS_ENDPOINT_URL=" + w.aws.url, "AWS_EC2_METADATA_DISABLED=true", "NO_COLOR=1"}
		return c
	}
	w.engineer, w.approver, w.auditor = person(user(0)), person(user(1)), person("sam")
	return w
}

// ok runs bgctl, which has to succeed, and returns what it printed.
func (b ctl) ok(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := b.run(t, args...)
	require.Zero(t, code, "%s: %s", args, errs)
	return out
}

// refused checks that no link gives access, and what is said about it.
func (w *chainWorld) refused(t *testing.T, says ...string) {
	t.Helper()
	code, out, errs := w.engineer.run(t, "exec", "prod", "--", "echo", "it ran")
	assert.Equal(t, 3, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "Nothing gives you access to prod now.")
	for _, pattern := range says {
		assert.Regexp(t, pattern, errs)
	}
}

// used works with the AWS CLI, and returns the name of the session that AWS saw.
func (w *chainWorld) used(t *testing.T, grantID string) (session string) {
	t.Helper()
	out := w.engineer.ok(t, "exec", "prod", "--", "sh", "-c",
		`"$0" --output json sts get-caller-identity && exec "$0" --output text sns create-topic --name used`, w.cli)
	identity, made, _ := strings.Cut(out, "}")
	assert.Contains(t, made, ":123456789012:used")
	var id struct{ Account, Arn string }
	require.NoError(t, json.Unmarshal([]byte(identity+"}"), &id), out)
	assert.Equal(t, "123456789012", id.Account)
	role, session, _ := strings.Cut(strings.TrimPrefix(id.Arn, "arn:aws:sts::123456789012:assumed-role/"), "/")
	assert.Equal(t, "BreakGlass", role)
	assert.Equal(t, user(0)+"."+grantID, session)
	return session
}

// assumed checks the last AssumeRole: whose session it made, and until when.
func (r *recordedAWS) assumed(t *testing.T, session string, ends time.Time) {
	t.Helper()
	calls := r.seen()
	require.NotEmpty(t, calls)
	last := calls[len(calls)-1]
	assert.Equal(t, session, last.Get("RoleSessionName"))
	assert.Equal(t, session, last.Get("SourceIdentity"), "CloudTrail shows it on what is done with the credentials")
	assert.Contains(t, last.Get("Policy"), ends.UTC().Truncate(time.Second).Format(time.RFC3339), "the credentials end with the grant")
}

// warned sees the end of the event announced: on the terminal of a command that
// runs under it, in the trail and at the sink that wants it.
func (w *chainWorld) warned(t *testing.T, ev breakglass.View) {
	t.Helper()
	cmd := w.engineer.command("exec", "prod", "--", "cat")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 200})
	require.NoError(t, err)
	defer func() { _ = tty.Close() }()
	screen := &logBuffer{}
	left := make(chan error, 1)
	go func() {
		_, _ = io.Copy(screen, tty) // a terminal ends with an error
		left <- cmd.Wait()
	}()
	warning := regexp.MustCompile(`bgctl: access to prod ends in (10m|9m 5\ds), at .*To go on: bgctl extend ` + ev.ID)
	require.Eventually(t, func() bool { return warning.MatchString(screen.String()) }, patience, 10*time.Millisecond, "%s", screen)
	assert.False(t, time.Now().Before(ev.WarnAt), "it comes ten minutes before the end")
	_, err = io.WriteString(tty, "\x04")
	require.NoError(t, err)
	require.NoError(t, <-left, "%s", screen)

	var told []breakglass.LogEntry
	require.Eventually(t, func() bool {
		told = ofType(w.http.feed(t, "0"), breakglass.EntryExpiring)
		return len(told) > 0 && w.hook.attempts() > 0
	}, patience, 10*time.Millisecond)
	require.Len(t, told, 1)
	assert.Equal(t, ev.ID, told[0].EventID)
	assert.Equal(t, ev.ExpiresAt, told[0].ExpiresAt)
	assert.False(t, told[0].Timestamp.Before(ev.WarnAt))
	missing, _ := w.hook.missing(told)
	assert.Empty(t, missing)
	assert.Equal(t, 1, w.hook.attempts(), "the sink wants nothing else")
}

// extended gives the event more time, such that its last ten minutes begin in a
// few seconds.
func (w *chainWorld) extended(t *testing.T, ev breakglass.View) breakglass.View {
	t.Helper()
	by := time.Since(ev.CreatedAt).Truncate(time.Second) + 5*time.Second
	later := decode[breakglass.View](t, answer{body: []byte(w.engineer.ok(t, "extend", "prod", "--duration", by.String(),
		"--justification", "Restoring takes longer, 400 GB are left", "-o", "json"))})
	assert.Equal(t, ev.ID, later.ID)
	assert.Equal(t, ev.ExpiresAt.Add(by), later.ExpiresAt)
	assert.Equal(t, later.ExpiresAt.Add(-10*time.Minute), later.WarnAt)
	code, _, errs := w.engineer.run(t, "extend", "prod", "--justification", "Restoring takes longer, 300 GB are left")
	assert.Equal(t, 3, code)
	assert.Contains(t, errs, "was extended 1 times")
	return later
}

// why checks the story of a session.
func (w *chainWorld) why(t *testing.T, session string, says ...string) {
	t.Helper()
	out := w.auditor.ok(t, "why", session)
	for _, pattern := range says {
		assert.Regexp(t, `(?m)`+pattern, out)
	}
}

// The whole chain through the real programs, with the AWS CLI at the end of it.
func TestTheOverrideChainFromARefusalToTheReason(t *testing.T) {
	w := newChainWorld(t)
	w.refused(t, `Standing policy +No access rule`, `Access request +You have no approved request`, `Break-glass +You have no active event`,
		`bgctl request prod`, `bgctl invoke prod`)

	asked := decode[breakglass.RequestView](t, answer{body: []byte(w.engineer.ok(t, "request", "prod", "--justification", "Migrating the orders database",
		"--ticket", "OPS-31", "--duration", "15s", "-o", "json"))})
	w.refused(t, `Access request +Request `+asked.ID+` has 0 of 1 approvals`)
	code, _, errs := w.engineer.run(t, "approve", asked.ID)
	assert.Equal(t, 3, code, "nobody approves their own: %s", errs)
	approved := decode[breakglass.RequestView](t, answer{body: []byte(w.approver.ok(t, "approve", asked.ID, "--comment", "As agreed", "-o", "json"))})
	assert.Equal(t, breakglass.RequestApproved, approved.Status)
	byRequest := w.used(t, asked.ID)
	w.aws.assumed(t, byRequest, approved.ExpiresAt)
	<-time.After(time.Until(approved.ExpiresAt))
	w.refused(t, `Access request +Request `+asked.ID+` expired`)

	ev := decode[breakglass.View](t, answer{body: []byte(w.engineer.ok(t, "invoke", "prod", "--reason", "incident", "--justification", justification,
		"--duration", "10m", "-o", "json"))})
	byEvent := w.used(t, ev.ID)
	w.aws.assumed(t, byEvent, ev.ExpiresAt)
	ev = w.extended(t, ev)
	w.warned(t, ev)
	assert.Equal(t, byEvent, w.used(t, ev.ID), "an extended event keeps its identity")
	w.engineer.ok(t, "close", "prod", "--reason", "The database is back")
	w.refused(t, `Break-glass +Event `+ev.ID+` was closed by `+user(0), `bgctl invoke prod`)

	w.why(t, byRequest, `^What +access request `+asked.ID+` on prod$`, `^Who +user-0$`, `^Why +Migrating the orders database$`, `^Ticket +OPS-31$`,
		`^Allowed by +rule leads of approvals.yaml, SHA-256 [0-9a-f]{64}$`, `^Approved by +1 of 1: user-1 \(As agreed\)$`,
		`user-0 got credentials \w+ .*as session `+byRequest, `^State +expired `)
	w.why(t, byEvent, `^What +break-glass event `+ev.ID+` on prod$`, `^Why +incident: `+justification+`$`,
		`user-0 extended it by .*: Restoring takes longer, 400 GB are left`, `user-0 got credentials \w+ .*as session `+byEvent,
		`user-0 closed it: The database is back\.$`)
	w.trailExplains(t)
}

// trailExplains checks the trail, and that every session is in it once.
func (w *chainWorld) trailExplains(t *testing.T) {
	t.Helper()
	w.auditor.ok(t, "verify")
	trail := w.http.feed(t, "0")
	issued := ofType(trail, breakglass.EntryCredentialsIssued)
	calls := w.aws.seen()
	require.Len(t, issued, len(calls), "each AssumeRole has an entry")
	keys := map[string]bool{}
	for i, e := range issued {
		assert.Equal(t, calls[i].Get("RoleSessionName"), e.Detail[breakglass.DetailRoleSessionName])
		assert.Equal(t, calls[i].Get("SourceIdentity"), e.Detail[breakglass.DetailSourceIdentity])
		assert.False(t, keys[e.Detail[breakglass.DetailAccessKeyID]], "one entry for each key")
		keys[e.Detail[breakglass.DetailAccessKeyID]] = true
	}
	var types []breakglass.EntryType // of changes; refusals in quick succession are counted
	for _, e := range trail {
		switch e.Event {
		case breakglass.EntryCredentialsIssued, breakglass.EntryCredentialsDenied, breakglass.EntryDenied:
		default:
			types = append(types, e.Event)
		}
	}
	assert.Equal(t, []breakglass.EntryType{
		breakglass.EntryRequestCreated, breakglass.EntryRequestApproved, breakglass.EntryRequestExpired,
		breakglass.EntryInvoked, breakglass.EntryExtended, breakglass.EntryExpiring, breakglass.EntryClosed,
	}, types)
	refused := ofType(trail, breakglass.EntryCredentialsDenied)
	require.NotEmpty(t, refused)
	assert.Equal(t, "access_denied", refused[0].Reason)
	assert.Equal(t, `policy: absent; request: absent "leads"; breakglass: absent "open"`, refused[0].Detail[breakglass.DetailLinks])
}
