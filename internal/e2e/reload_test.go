package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allowing is a policy that lets one person invoke everything.
func allowing(name string) string {
	return "version: \"1\"\nrules:\n  - {name: only, users: [" + name + "]}\n"
}

// broken are contents of a rules file that can't be in force.
func broken() map[string]string {
	return map[string]string{
		"empty":         "",
		"not YAML":      "version: [",
		"unknown field": "version: \"1\"\nrules:\n  - {name: open, users: [\"*\"], colour: red}\n",
		"old version":   "version: \"0\"\nrules: []\n",
		"not text":      "\x00\x01\x02",
	}
}

// replace puts a file in another's place at once, as tools do that deploy.
func replace(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	require.NoError(t, os.WriteFile(next, []byte(content), 0o600))
	require.NoError(t, os.Rename(next, path))
}

// taken waits until the server has read a rules file anew, and found it to be
// as current says.
func (p *process) taken(t *testing.T, file string, current float64, change func()) {
	t.Helper()
	result := "ok"
	if current == 0 {
		result = "failed"
	}
	series := `breakglass_rules_reloads_total{file="` + file + `",result="` + result + `"}`
	before := p.http.metric(t, series)
	change()
	p.poll(t, "aware of the change", func() bool { return p.http.metric(t, series) > before })
	assert.InDelta(t, current, p.http.metric(t, `breakglass_rules_current{file="`+file+`"}`), 0)
}

// grants checks who may break the glass now.
func (p *process) grants(t *testing.T, yes, no, profile string) {
	t.Helper()
	p.http.must(t, 201, yes, http.MethodPost, "/v1/breakglass", invocation(profile, 3600))
	refused := p.http.must(t, 403, no, http.MethodPost, "/v1/breakglass", invocation(profile, 3600))
	assert.Equal(t, "policy_denied", refused.code())
}

func TestPromise11ABrokenPolicyLeavesTheLastGoodOneInForce(t *testing.T) {
	s := site{dir: t.TempDir()}
	require.NoError(t, os.WriteFile(s.policy(), []byte(allowing(user(0))), 0o600))
	p := s.start(t)
	p.grants(t, user(0), user(1), "prod")

	for name, content := range broken() {
		p.taken(t, "policy", 0, func() {
			replace(t, s.policy(), content)
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP)) // or a second passes each time
		})
		ready := p.http.must(t, 200, "nobody", http.MethodGet, "/readyz", "")
		assert.Contains(t, string(ready.body), "the file on disk is broken", name)
		assert.NotContains(t, string(ready.body), s.dir, "paths are for the log")
	}
	p.taken(t, "policy", 0, func() { require.NoError(t, os.Remove(s.policy())) })
	assert.Contains(t, p.logs.String(), "the last good ones stay in force")
	assert.Contains(t, p.logs.String(), s.policy()+":3:")
	p.grants(t, user(0), user(1), "staging")

	p.taken(t, "policy", 1, func() { replace(t, s.policy(), allowing(user(1))) })
	p.grants(t, user(1), user(0), "db")
	assert.NotContains(t, string(p.http.must(t, 200, "nobody", http.MethodGet, "/readyz", "").body), "broken")

	// SIGHUP does at once what otherwise takes a second, and says so.
	p.taken(t, "policy", 1, func() {
		replace(t, s.policy(), allowing(user(2)))
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	})
	p.grants(t, user(2), user(1), "edge")
	p.poll(t, "reloading", func() bool { return strings.Contains(p.logs.String(), "reload requested") })
	assert.Zero(t, p.terminate(t))
}

func TestPromise11WithoutReadableRulesNothingIsGranted(t *testing.T) {
	for _, file := range []string{"policy", "rate_limits"} {
		t.Run(file, func(t *testing.T) {
			s := site{dir: t.TempDir(), limits: history}
			path := s.policy()
			if file == "policy" {
				require.NoError(t, os.WriteFile(path, []byte(broken()["unknown field"]), 0o600))
			} else {
				path = filepath.Join(s.dir, "ratelimit.yaml")
				s.limits = broken()["unknown field"]
			}
			p := s.spawn(t)
			p.listening(t)
			for range 3 {
				a := p.http.must(t, 503, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
				assert.Equal(t, "unavailable", a.code())
				assert.NotEmpty(t, a.header.Get("Retry-After"))
				assert.NotContains(t, string(a.body), s.dir, "paths are for the log")
			}
			assert.Equal(t, 503, p.status(t, "/readyz"))
			assert.Equal(t, 200, p.status(t, "/healthz"))
			assert.Empty(t, p.http.allEvents(t))
			assert.Contains(t, p.logs.String(), "nothing is granted")

			good := openPolicy
			if file == "rate_limits" {
				good = history
			}
			p.taken(t, file, 1, func() { replace(t, path, good) })
			p.ready(t)
			p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
		})
	}
}

func TestANewRateLimitIsInForceWhileTheServerRuns(t *testing.T) {
	s := site{dir: t.TempDir(), limits: "version: \"1\"\nrules:\n  - {name: all, max_per_user: 1, quota_window: 1h}\n"}
	p := s.start(t)
	p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
	p.http.must(t, 429, user(0), http.MethodPost, "/v1/breakglass", invocation("staging", 3600))
	p.taken(t, "rate_limits", 1, func() {
		replace(t, filepath.Join(s.dir, "ratelimit.yaml"), "version: \"1\"\nrules:\n  - {name: all, max_per_user: 2, quota_window: 1h}\n")
	})
	p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("staging", 3600))
	p.http.must(t, 429, user(0), http.MethodPost, "/v1/breakglass", invocation("db", 3600))
}
