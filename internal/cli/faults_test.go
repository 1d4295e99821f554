package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// These tests play a server that misbehaves, which the real one never does.

type result struct {
	stdout, stderr string
	code           int
}

// bgctl runs the real program with a home directory of its own.
func bgctl(t *testing.T, home string, env []string, args ...string) result {
	t.Helper()
	cmd := bgctlCommand(t, home, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func bgctlCommand(t *testing.T, home string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // clean-ups run commands too
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, testenv.Build(t, "./cmd/bgctl"), args...)
	cmd.Env = append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=UTC"}, env...)
	return cmd
}

func fakeServer(t *testing.T, h http.HandlerFunc) (env []string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return []string{"BGCTL_SERVER=" + s.URL, "BGCTL_TOKEN=tok-secret-4711"}
}

func respond(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestExitCodesFollowTheAnswer(t *testing.T) {
	problem := func(status int, code, more string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-Id", "req-00004711")
			respond(w, status, "application/problem+json", fmt.Sprintf(`{"status":%d,"code":%q,"detail":"The words."%s}`, status, code, more))
		}
	}
	text := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { respond(w, status, contentType, body) }
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   int
		says   string
	}{
		"malformed":         {problem(400, "malformed", ""), 2, "The words."},
		"unauthenticated":   {problem(401, "unauthenticated", ""), 3, "BGCTL_TOKEN"},
		"forbidden":         {problem(403, "forbidden", ""), 3, "bgctl whoami"},
		"policy":            {problem(403, "policy_denied", `,"rule":"night","condition":"time","allowed":{"window":"22:00 to 06:00","next_window":"2099-01-01T22:00:00Z"}`), 3, "2099-01-01 22:00:00 UTC"},
		"not found":         {problem(404, "event_not_found", ""), 6, "bgctl list"},
		"conflict":          {problem(409, "invalid_transition", ""), 4, "The words."},
		"already requested": {problem(409, "already_requested", `,"access_request_id":"0123456789abcdef"`), 4, "bgctl cancel 0123456789abcdef"},
		"request over":      {problem(409, "invalid_transition", `,"access_request_id":"0123456789abcdef"`), 4, "bgctl requests 0123456789abcdef"},
		"no such request":   {problem(404, "request_not_found", ""), 6, "bgctl requests"},
		"request refused":   {problem(403, "request_not_allowed", `,"rule":"prod-owners"`), 3, "prod-owners"},
		"extension refused": {problem(403, "extension_not_allowed", `,"rule":"oncall"`), 3, "bgctl request"},
		"no access": {problem(403, "access_denied", `,"links":[{"link":"policy","outcome":"absent","message":"No rule.","next":"who may: sam"},
			{"link":"request","outcome":"pending","message":"It waits."},{"link":"breakglass","outcome":"absent","message":"No event.","next":"bgctl invoke prod"}]`), 3,
			"  Access request   It waits.\n  Break-glass      No event.\n  What now         who may: sam\n                   bgctl invoke prod\n"},
		"rate limited":        {problem(429, "rate_limited", `,"limit":"cooldown","retry_after_seconds":720,"rule":"prod"`), 5, "try again in 12m, at 20"},
		"unavailable":         {problem(503, "unavailable", `,"retry_after_seconds":60`), 7, "req-00004711"},
		"credentials refused": {problem(502, "credentials_unavailable", ""), 1, "req-00004711"},
		"internal":            {problem(500, "internal", ""), 1, "req-00004711"},
		"unknown code, 409":   {problem(409, "quite_new", ""), 4, "The words."},
		"unknown code, 418":   {problem(418, "teapot", ""), 1, "The words."},
		"bad fields":          {problem(422, "invalid_request", `,"errors":[{"field":"reason_code","message":"is odd"}]`), 2, "is odd"},
		"page of a proxy":     {text(502, "text/html", "<h1>Bad Gateway</h1>"), 7, "proxy"},
		"html, 404":           {text(404, "text/html", "<h1>Not found</h1>"), 1, "address of the server"},
		"html, 200":           {text(200, "text/html", "<h1>Sign in</h1>"), 1, "not JSON"},
		"truncated":           {text(200, "application/json", `{"name":`), 1, "broken"},
		"empty":               {text(200, "application/json", ``), 1, "broken"},
		"wrong type":          {text(200, "application/json", `{"name":7}`), 1, "broken"},
		"null":                {text(200, "application/json", `null`), 1, "names nobody"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		}, 1, "redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered(t, c.answer, c.code, c.says)
		})
	}
}

// answered checks what bgctl makes of an answer, for a person and for a program.
func answered(t *testing.T, answer http.HandlerFunc, code int, says string) {
	t.Helper()
	env := fakeServer(t, answer)
	got := bgctl(t, t.TempDir(), env, "whoami")
	assert.Equal(t, code, got.code, got.stderr)
	assert.Empty(t, got.stdout)
	assert.Contains(t, got.stderr, says)
	assert.NotContains(t, got.stderr, "tok-secret-4711")

	got = bgctl(t, t.TempDir(), env, "whoami", "-o", "json")
	assert.Equal(t, code, got.code)
	assert.Empty(t, got.stdout)
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.stderr), &doc), got.stderr)
	assert.NotEmpty(t, doc["code"])
}

func TestARedirectNeverReceivesTheToken(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached.Add(1) }))
	t.Cleanup(thief.Close)
	env := fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	for _, args := range [][]string{
		{"whoami"}, {"list"}, {"check", "0123456789abcdef"}, {"close", "0123456789abcdef", "--reason", "done"}, {"credentials", "0123456789abcdef"}, {"credentials", "prod"}, {"request", "prod", "--justification", "Migrating the orders database"},
		{"approve", "0123456789abcdef"}, {"why", "0123456789abcdef"}, {"extend", "0123456789abcdef", "--justification", "It takes longer than thought"},
		{"invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711"}, {"events"}, {"verify"}, {"version"},
	} {
		got := bgctl(t, t.TempDir(), env, args...)
		if args[0] != "version" {
			assert.Equal(t, 1, got.code, "%s: %s", args, got.stderr)
		}
	}
	assert.Zero(t, reached.Load())
}

const hostileText = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u202c \u009b31m line\nbreak \r\x08\x7f \u2028 \U000e0041"

// hostileServer puts text that steers terminals into every field.
func hostileServer(t *testing.T) []string {
	bad, err := json.Marshal(hostileText)
	require.NoError(t, err)
	event := fmt.Sprintf(`{"event_id":"0123456789abcdef","invoker":%[1]s,"requested_by":%[1]s,"profile":%[1]s,"reason_code":%[1]s,
		"justification":%[1]s,"ticket":%[1]s,"duration_seconds":3600,"status":"active","created_at":"2026-11-23T02:00:00Z",
		"updated_at":"2026-11-23T02:00:00Z","expires_at":"2099-11-23T03:00:00Z","closed_at":"2026-11-23T02:00:00Z","closed_by":%[1]s,
		"closed_reason":%[1]s,"request_id":%[1]s,"policy_rule":%[1]s,"escalated":true,"remaining_seconds":3600}`, bad)
	request := fmt.Sprintf(`{"request_id":"0123456789abcdef","requester":%[1]s,"profile":%[1]s,"justification":%[1]s,"ticket":%[1]s,"duration_seconds":3600,
		"status":"approved","created_at":"2026-11-23T02:00:00Z","updated_at":"2026-11-23T02:00:00Z","expires_at":"2099-11-23T03:00:00Z","approval_rule":%[1]s,
		"approvals":[{"by":%[1]s,"at":"2026-11-23T02:00:00Z","comment":%[1]s}],"approved_at":"2026-11-23T02:00:00Z","ended_at":"2026-11-23T02:00:00Z",
		"ended_by":%[1]s,"ended_reason":%[1]s,"correlation_id":%[1]s,"remaining_seconds":3600}`, bad)
	return fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
		body := event
		switch {
		case r.URL.Path == "/v1/credentials":
			respond(w, 403, "application/problem+json", fmt.Sprintf(`{"code":"access_denied","detail":%[1]s,"links":[{"link":"policy","outcome":"absent",
				"message":%[1]s,"next":%[1]s},{"link":%[1]s,"outcome":%[1]s,"rule":%[1]s,"event_id":%[1]s,"request_id":%[1]s,"message":%[1]s,"next":%[1]s}]}`, bad))
			return
		case strings.HasPrefix(r.URL.Path, "/v1/why/"):
			body = hostileStory(r.URL.Path, event, request, string(bad))
		case r.URL.Path == "/v1/requests" && r.Method == http.MethodGet:
			body = fmt.Sprintf(`{"items":[%s]}`, request)
		case strings.HasSuffix(r.URL.Path, "/eeeeeeeeeeeeeeee/approve"):
			respond(w, 409, "application/problem+json", fmt.Sprintf(`{"code":"already_requested","detail":%[1]s,"access_request_id":%[1]s,"rule":%[1]s}`, bad))
			return
		case strings.HasPrefix(r.URL.Path, "/v1/requests"):
			body = request
		case strings.HasSuffix(r.URL.Path, "/credentials"):
			body = fmt.Sprintf(`{"access_key_id":%[1]s,"secret_access_key":%[1]s,"session_token":%[1]s,"expiration":"2099-01-01T00:00:00Z",
				"profile":%[1]s,"region":%[1]s,"role_arn":%[1]s,"event_id":"0123456789abcdef","issuer":%[1]s}`, bad)
		case r.URL.Path == "/v1/breakglass" && r.Method == http.MethodGet:
			body = fmt.Sprintf(`{"items":[%s],"next_cursor":%s}`, event, `""`)
		case r.URL.Path == "/v1/events" && r.URL.Query().Get("after") == "":
			body = fmt.Sprintf(`{"items":[{"seq":1,"timestamp":"2026-11-23T02:00:00Z","event":%[1]s,"event_id":%[1]s,"actor":%[1]s,
				"invoker":%[1]s,"profile":%[1]s,"justification":%[1]s,"reason":%[1]s,"detail":{"message":%[1]s},"prev_hash":%[1]s,"hash":%[1]s}],
				"next_cursor":"1"}`, bad)
		case r.URL.Path == "/v1/events":
			body = `{"items":[],"next_cursor":"1"}`
		case r.URL.Path == "/v1/profiles":
			body = fmt.Sprintf(`{"items":[{"profile":%[1]s,"region":%[1]s,"rule":%[1]s,"reason_codes":[%[1]s]}]}`, bad)
		case r.URL.Path == "/v1/whoami":
			body = fmt.Sprintf(`{"name":%[1]s,"groups":[%[1]s],"roles":[%[1]s]}`, bad)
		case r.URL.Path == "/version":
			body = fmt.Sprintf(`{"version":%[1]s,"commit":%[1]s,"go":%[1]s}`, bad)
		case r.URL.Path == "/v1/breakglass/ffffffffffffffff":
			w.Header().Set("X-Request-Id", "\u009b31m\u202e")
			respond(w, 403, "application/problem+json", fmt.Sprintf(`{"code":"policy_denied","detail":%[1]s,"rule":%[1]s,"condition":%[1]s,
				"allowed":{"reason_codes":[%[1]s],"window":%[1]s,"profiles":[%[1]s]},"errors":[{"field":%[1]s,"message":%[1]s}]}`, bad))
			return
		case r.URL.Path == "/v1/breakglass/eeeeeeeeeeeeeeee":
			respond(w, 409, "application/problem+json", fmt.Sprintf(`{"code":%[1]s,"detail":%[1]s,"event_id":%[1]s}`, bad))
			return
		case r.URL.Path == "/v1/breakglass/dddddddddddddddd":
			w.Header().Set("Location", "/\u009b31m\u202e")
			respond(w, 302, "text/\u009b31m", hostileText)
			return
		}
		respond(w, 200, "application/json", body)
	})
}

// hostileStory has an entry of each type, and one of a type that nobody knows.
func hostileStory(path, event, request, bad string) string {
	var entries []string
	for _, typ := range append(breakglass.EntryTypes(), "quite.new") {
		entries = append(entries, fmt.Sprintf(`{"seq":1,"timestamp":"2026-11-23T02:00:00Z","event":%[2]q,"actor":%[1]s,"invoker":%[1]s,"profile":%[1]s,
			"reason_code":%[1]s,"justification":%[1]s,"closed_reason":%[1]s,"reason":%[1]s,"expires_at":"2099-11-23T03:00:00Z","detail":{"message":%[1]s,"call":%[1]s,
			"access_key_id":%[1]s,"role_session_name":%[1]s,"source_identity":%[1]s,"granted_by":%[1]s,"policy_rule":%[1]s,"policy_sha256":%[1]s,
			"comment":%[1]s,"approvals":%[1]s,"suppressed":%[1]s}}`, bad, typ))
	}
	about := map[byte]string{'1': `"event":` + event + `,`, '2': `"request":` + request + `,`}[path[len(path)-1]]
	return fmt.Sprintf(`{"kind":"event","id":%s,%s"entries":[%s],"truncated":true}`, bad, about, strings.Join(entries, ","))
}

func TestTextOfOthersNeverSteersTheTerminal(t *testing.T) {
	t.Parallel()
	env := hostileServer(t)
	for _, args := range [][]string{
		{"list"}, {"check", "0123456789abcdef"}, {"events"}, {"verify"}, {"profiles"}, {"whoami"}, {"version"}, {"env", "0123456789abcdef"},
		{"env", "0123456789abcdef", "--shell", "fish"}, {"env", "0123456789abcdef", "--shell", "powershell"},
		{"credentials", "0123456789abcdef"}, {"close", "0123456789abcdef", "--reason", "done"}, {"check", "ffffffffffffffff"},
		{"check", "eeeeeeeeeeeeeeee"}, {"check", "dddddddddddddddd"}, {"__complete", "invoke", ""}, {"__complete", "check", ""},
		{"invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711"},
		{"invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711", "--dry-run"},
		{"check", hostileText}, {hostileText}, {"list", "--" + hostileText}, {"exec", "0123456789abcdef", "--", hostileText},
		{"credentials", "prod"}, {"why", "0000000000000000"}, {"why", "0000000000000001"}, {"why", "0000000000000002"}, {"why", hostileText},
		{"requests"}, {"requests", "0123456789abcdef"}, {"requests", hostileText}, {"approve", "0123456789abcdef"}, {"approve", "eeeeeeeeeeeeeeee"},
		{"deny", "0123456789abcdef", "--reason", "no"}, {"cancel", "0123456789abcdef"}, {"request", "prod", "--justification", "Migrating the orders database"},
		{"request", "prod", "--justification", "Migrating the orders database", "--wait"}, {"extend", "0123456789abcdef", "--justification", "It takes longer than thought"},
		{"__complete", "approve", ""}, {"__complete", "cancel", ""}, {"__complete", "exec", ""},
		{"whoami", "--server", hostileText}, {"verify", "--file", hostileText}, {"verify", "--head", hostileText},
	} {
		for _, output := range []string{"table", "json"} {
			all := append([]string{}, args...)
			if args[0] != "__complete" && args[0] != "exec" && args[0] != hostileText {
				all = append(all, "-o", output)
			}
			for i := range all {
				all[i] = strings.ReplaceAll(all[i], "\x00", "")
			}
			got := bgctl(t, t.TempDir(), env, all...)
			for _, text := range []string{got.stdout, got.stderr} {
				text = strings.ReplaceAll(text, "\n", "")
				if args[0] == "__complete" {
					text = strings.ReplaceAll(text, "\t", "")
				}
				assert.False(t, strings.ContainsFunc(text, func(r rune) bool {
					return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) || r >= 0xe0000 && r < 0xe0080
				}), "%q: %q", all, text)
			}
		}
	}
}

func TestHostileValuesNeverBecomeShellCommands(t *testing.T) {
	t.Parallel()
	home, err := os.MkdirTemp("", "bgctl") // without characters that a shell minds
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	evil := `';touch${IFS}` + home + `/owned;echo${IFS}'$(touch${IFS}` + home + "/owned2)`touch${IFS}" + home + "/owned3`\\\"\\"
	bad, err := json.Marshal(evil)
	require.NoError(t, err)
	env := fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
		body := `{"event_id":"0123456789abcdef","status":"active","expires_at":"2099-11-23T03:00:00Z"}`
		if strings.HasSuffix(r.URL.Path, "/credentials") {
			body = fmt.Sprintf(`{"access_key_id":%[1]s,"secret_access_key":%[1]s,"session_token":%[1]s,"expiration":"2099-01-01T00:00:00Z",
				"profile":%[1]s,"region":%[1]s,"role_arn":%[1]s,"event_id":"0123456789abcdef","issuer":"x"}`, bad)
		}
		respond(w, 200, "application/json", body)
	})
	got := bgctl(t, home, env, "env", "0123456789abcdef")
	require.Zero(t, got.code, got.stderr)
	out, err := exec.Command("sh", "-c", got.stdout+"\nprintf %s \"$AWS_ACCESS_KEY_ID\"").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, evil, string(out), "the value must arrive as it was")
	owned, err := filepath.Glob(filepath.Join(home, "owned*"))
	require.NoError(t, err)
	assert.Empty(t, owned)
}

func TestASlowAnswerEndsWithinThePatienceOfTab(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	env := fakeServer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hang) })
	start := time.Now()
	got := bgctl(t, t.TempDir(), env, "__complete", "invoke", "")
	assert.Zero(t, got.code)
	assert.Less(t, time.Since(start), 4*time.Second)
}

func TestCtrlCEndsAWaitingCall(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{}, 1)
	env := fakeServer(t, func(_ http.ResponseWriter, r *http.Request) {
		waiting <- struct{}{}
		<-r.Context().Done()
	})
	cmd := bgctlCommand(t, t.TempDir(), env, "whoami")
	require.NoError(t, cmd.Start())
	<-waiting
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait()
	assert.Equal(t, 130, cmd.ProcessState.ExitCode())
}
