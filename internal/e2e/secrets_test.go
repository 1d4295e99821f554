package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// secrets are values that must not appear where they don't belong, by what
// they are.
type secrets map[string]string

// absent checks that none of the secrets is in a text, in plain or in a common
// encoding.
func (s secrets) absent(t *testing.T, place, text string) {
	t.Helper()
	for what, secret := range s {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), url.QueryEscape(secret)} {
			if i := strings.Index(text, form); i >= 0 {
				assert.Fail(t, what+" appears in "+place, "…%s…", text[max(0, i-80):min(len(text), i+len(form)+20)])
				break
			}
		}
	}
}

// keysOf remembers the secret part of credentials.
func (s secrets) keysOf(t *testing.T, by string, secret, session string) {
	t.Helper()
	require.Greater(t, len(secret), 20)
	require.Greater(t, len(session), 20)
	s["the secret key by "+by], s["the session token by "+by] = secret, session
}

// faultyCalls are requests that are refused, each in another way; wherever a
// caller can put a secret by mistake, there is one.
func faultyCalls(id, wrong string) []struct {
	as, method, path, body string
	header                 []string
} {
	return []struct {
		as, method, path, body string
		header                 []string
	}{
		{method: "GET", path: "/v1/whoami", header: []string{"Authorization", "Bearer " + wrong}},
		{method: "GET", path: "/v1/whoami", header: []string{"Authorization", "Basic " + wrong}},
		{method: "GET", path: "/v1/whoami", header: []string{"Authorization", wrong}},
		{method: "GET", path: "/v1/whoami?access_token=" + wrong, as: user(0)},
		{method: "GET", path: "/v1/breakglass/" + wrong, as: user(0)},
		{method: "GET", path: "/" + wrong, as: user(0)},
		{method: "GET", path: "/v1/events?after=" + wrong, as: "sam"},
		{method: "GET", path: "/v1/breakglass?cursor=" + wrong, as: "sam"},
		{method: "GET", path: "/v1/events", as: user(0)},
		{method: wrong[:8], path: "/v1/events", as: "sam"},
		{method: "POST", path: "/v1/breakglass", as: user(0), body: `{"justification":` + wrong},
		{method: "POST", path: "/v1/breakglass", as: user(0), body: invocation("prod", 3600)},
		{method: "POST", path: "/v1/breakglass", as: user(0), body: invocation("staging", 99999)},
		{method: "POST", path: "/v1/breakglass", as: user(0), body: strings.Repeat("x", 1<<17)},
		{method: "POST", path: "/v1/breakglass", as: user(0), body: invocation("staging", 60), header: []string{"Content-Type", wrong}},
		{method: "POST", path: "/v1/breakglass", as: user(0), body: invocation("staging", 60), header: []string{"Idempotency-Key", `"` + wrong}},
		{method: "POST", path: "/v1/breakglass/" + id + "/credentials", as: user(1)},
		{method: "POST", path: "/v1/breakglass/" + id + "/credentials", as: "sam"},
		{method: "POST", path: "/v1/breakglass/" + id + "/close", as: user(0), body: "{}"},
	}
}

func TestPromise12SecretsStaySecret(t *testing.T) {
	const wrong = "wrong-secret-canary-0123456789-abcdef"
	s := secrets{
		"the key of the webhook": hookKey, "the secret of the webhook": hookSecret(), "a secret put in a wrong place": wrong,
		"a password in a url": "canary-of-a-password", "a secret path of a url": "canary-of-a-path",
		"the token of user-0": token(user(0)), "the token of user-1": token(user(1)), "the token of sam": token("sam"),
	}
	// One sink works, one refuses, one can't be reached: all that can be said
	// about them is logged.
	good := newReceiver(t, nil)
	bad := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		http.Error(w, req.Header.Get("Webhook-Signature")+hookSecret(), http.StatusInternalServerError)
	})
	gone := newReceiver(t, nil)
	gone.Close()
	private := func(r *receiver, name string) string {
		target := strings.Replace(r.URL, "http://", "http://somebody:canary-of-a-password@", 1) + "/canary-of-a-path?q=canary-of-a-path"
		return strings.Replace(r.sink(name), r.URL, target, 1)
	}
	st := site{dir: t.TempDir()}
	mirror := filepath.Join(st.dir, "audit.jsonl")
	st.more = fmt.Sprintf("audit: {stdout: true, file: %q}\nnotify:\n  sinks:\n%s%s%s    - {name: log, type: log}\n", mirror,
		good.sink("good"), private(bad, "bad"), private(gone, "gone"))
	p := st.start(t, hookEnv+"="+hookSecret())

	// What people do, by HTTP and by bgctl.
	ev := decode[breakglass.View](t, p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600)))
	var keys struct {
		Secret  string `json:"secret_access_key"`
		Session string `json:"session_token"`
	}
	a := p.http.must(t, 200, user(0), http.MethodPost, "/v1/breakglass/"+ev.ID+"/credentials", "")
	require.NoError(t, json.Unmarshal(a.body, &keys))
	s.keysOf(t, "HTTP", keys.Secret, keys.Session)
	ctl := newCtl(t, p.http, user(0))
	ctl.leaksNothing(t, s, ev.ID)

	for i, call := range faultyCalls(ev.ID, wrong) {
		a, err := p.http.do(t.Context(), call.as, call.method, call.path, call.body, call.header...)
		require.NoError(t, err)
		require.GreaterOrEqual(t, a.status, 400, "%s %s is fine after all", call.method, call.path)
		s.absent(t, fmt.Sprintf("the answer to faulty call %d, %s %s", i, call.method, call.path), fmt.Sprint(a.header)+string(a.body))
	}

	// What is left of that, while the server runs and after.
	entries := p.http.feed(t, "0")
	require.Eventually(t, func() bool {
		missing, _ := good.missing(entries)
		return len(missing) == 0 && p.http.metric(t, `breakglass_notification_attempts_total{result="failed",sink="bad"}`) > 0 &&
			p.http.metric(t, `breakglass_notification_attempts_total{result="failed",sink="gone"}`) > 0
	}, patience, 10*time.Millisecond)
	for _, path := range []string{"/v1/events?limit=1000", "/v1/breakglass", "/metrics", "/readyz", "/version", "/v1/breakglass/" + ev.ID} {
		s.absent(t, path, string(p.http.must(t, 200, "sam", http.MethodGet, path, "").body))
	}
	if runtime.GOOS == "linux" {
		s.absentFromFile(t, fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
	}
	s.absentFromFiles(t, st.dir)
	require.Zero(t, p.terminate(t))
	s.absentFromFiles(t, st.dir)
	assert.NotEmpty(t, p.out.String())
	s.absent(t, "standard output", p.out.String())
	assert.Contains(t, p.logs.String(), `"level":"DEBUG"`)
	s.absent(t, "the log", p.logs.String())
}

func (s secrets) absentFromFile(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	s.absent(t, path, string(b))
}

// absentFromFiles looks at the bytes of every file in dir: database, its log,
// mirror, configuration, but for those named.
func (s secrets) absentFromFiles(t *testing.T, dir string, but ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		if slices.Contains(but, filepath.Base(path)) || filepath.Base(path) == "config.yaml" {
			continue // the password of a url is there, and the hashes of tokens
		}
		s.absentFromFile(t, path)
	}
}

// leaksNothing uses the event with bgctl in every way, and checks what others
// can see of that.
func (b ctl) leaksNothing(t *testing.T, s secrets, id string) {
	t.Helper()
	code, out, errs := b.run(t, "credentials", "prod")
	require.Zero(t, code, "%s", errs)
	var doc struct{ SecretAccessKey, SessionToken string }
	require.NoError(t, json.Unmarshal([]byte(out), &doc))
	s.keysOf(t, "bgctl", doc.SecretAccessKey, doc.SessionToken)
	s.absent(t, "standard error of bgctl credentials", errs)

	for _, args := range [][]string{{"list"}, {"check", id}, {"check", id, "-o", "json"}, {"whoami"}, {"profiles"}, {"close", "unknown", "--reason", "over"}} {
		_, out, errs := b.run(t, args...)
		s.absent(t, "bgctl "+args[0], out+errs)
	}
	if runtime.GOOS != "linux" {
		return // what follows looks into /proc
	}
	const look = `cat /proc/$$/cmdline /proc/$PPID/cmdline; echo; echo ENV; cat /proc/$$/environ`
	code, out, errs = b.run(t, "exec", "prod", "--", "/bin/sh", "-c", look)
	require.Zero(t, code, "%s", errs)
	require.Contains(t, out, "AWS_CONTAINER_CREDENTIALS_FULL_URI=")
	s.absent(t, "what is seen of bgctl exec", out+errs)

	code, out, errs = b.run(t, "exec", "prod", "--static", "--", "/bin/sh", "-c", look)
	require.Zero(t, code, "%s", errs)
	cmdlines, env, _ := strings.Cut(out, "ENV")
	require.Contains(t, env, "AWS_SESSION_TOKEN="+doc.SessionToken, "asked for in so many words")
	s.absent(t, "the command lines of bgctl exec --static", cmdlines+errs)
	assert.NotContains(t, env, token(b.as), "the token is not for the command")
}

// A secret in a broken configuration is not repeated by what says that it is
// broken.
func TestPromise12ABrokenConfigurationIsReportedWithoutItsSecrets(t *testing.T) {
	const canary = "canary-in-a-wrong-place-0123456789"
	hook := newReceiver(t, nil)
	for name, tc := range map[string]struct{ more, env string }{
		"secret instead of its variable": {more: "notify: {sinks: [{name: a, type: webhook, url: \"https://hook.example.com\", secret_env: whsec_" + canary + "}]}\n"},
		"secret of a wrong form":         {more: "notify:\n  sinks:\n" + hook.sink("a"), env: hookEnv + "=" + canary},
		"secret that isn't base64":       {more: "notify:\n  sinks:\n" + hook.sink("a"), env: hookEnv + "=whsec_" + canary + "!"},
		"secret in a url":                {more: "notify: {sinks: [{name: a, type: webhook, url: \"http://u:" + canary + "@hook.example.com/" + canary + "\", secret_env: X}]}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := site{dir: t.TempDir(), more: tc.more}.spawn(t, tc.env)
			assert.Equal(t, 1, p.wait(t))
			assert.NotEmpty(t, p.logs.String())
			secrets{"the secret": canary}.absent(t, "what is wrong", p.logs.String()+p.out.String())
		})
	}
}
