package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/config"
)

// running is a server of development mode whose rules a test edits.
type running struct {
	*App
	cfg    config.Config
	tokens map[string]string
	log    *logBuffer
}

func start(t *testing.T, change func(c *config.Config)) running {
	t.Helper()
	r := running{cfg: devConfig(t), tokens: map[string]string{}, log: &logBuffer{}}
	r.cfg.Roles.Admin.Users = []string{"sam"}
	change(&r.cfg)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(r.cfg.PolicyFile), DevTokensFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &r.tokens))
	r.App, err = New(t.Context(), r.cfg, Options{Log: r.log.logger()})
	require.NoError(t, err)
	require.NoError(t, r.Start())
	t.Cleanup(func() { require.NoError(t, r.Stop(context.Background())) })
	return r
}

func (r running) call(t *testing.T, who, method, path, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.Addr().String()+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+r.tokens[who])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }() // only read
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(data)
}

// put replaces a file as a person should: all of it at once.
func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

func (r running) reloadedFile(t *testing.T, name string) api.Reloaded {
	t.Helper()
	status, answer := r.call(t, "sam", http.MethodPost, "/v1/admin/reload", "")
	require.Equal(t, http.StatusOK, status, answer)
	var list struct{ Items []api.Reloaded }
	require.NoError(t, json.Unmarshal([]byte(answer), &list))
	for _, f := range list.Items {
		if f.File == name {
			return f
		}
	}
	return api.Reloaded{}
}

// inForce is what the metric says of a file.
func (r running) inForce(t *testing.T, file string) bool {
	t.Helper()
	status, text := r.call(t, "sam", http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusOK, status)
	_, after, found := strings.Cut(text, `breakglass_rules_current{file="`+file+`"} `)
	require.True(t, found, file)
	return after[0] == '1'
}

func (r running) credentials(t *testing.T, who, profile string) int {
	t.Helper()
	status, _ := r.call(t, who, http.MethodPost, "/v1/credentials", fmt.Sprintf(`{"profile":%q}`, profile))
	return status
}

func (r running) request(t *testing.T, who, profile string) int {
	t.Helper()
	status, _ := r.call(t, who, http.MethodPost, "/v1/requests", fmt.Sprintf(`{"profile":%q,"justification":"The weekly report needs its numbers"}`, profile))
	return status
}

const standing = "version: \"1\"\nrules:\n  - {name: a, effect: allow, profiles: [%s], users: [%s]}\n"

func TestStandingAccessFollowsItsFile(t *testing.T) {
	r := start(t, func(c *config.Config) { put(t, c.AccessFile, fmt.Sprintf(standing, "staging", "alice")) })
	assert.Equal(t, http.StatusOK, r.credentials(t, "alice", "staging"))
	assert.Equal(t, http.StatusForbidden, r.credentials(t, "bob", "staging"))
	assert.Equal(t, http.StatusForbidden, r.credentials(t, "alice", "prod"))

	put(t, r.cfg.AccessFile, fmt.Sprintf(standing, "prod", "bob"))
	require.True(t, r.reloadedFile(t, "access").OK)
	assert.True(t, r.inForce(t, "access"))
	assert.Equal(t, http.StatusForbidden, r.credentials(t, "alice", "staging"))
	assert.Equal(t, http.StatusOK, r.credentials(t, "bob", "prod"))

	put(t, r.cfg.AccessFile, strings.Replace(fmt.Sprintf(standing, "staging", "alice"), "effect", "efect", 1))
	broken := r.reloadedFile(t, "access")
	assert.False(t, broken.OK)
	assert.Contains(t, broken.Detail, "the file on disk is broken")
	assert.Equal(t, http.StatusOK, r.credentials(t, "bob", "prod"), "the last good one stays in force")
	assert.Equal(t, http.StatusForbidden, r.credentials(t, "alice", "staging"))
	assert.Contains(t, r.log.String(), "the last good ones stay in force")
	assert.Contains(t, r.log.String(), r.cfg.AccessFile+":3: rules[0]: unknown field")
	assert.False(t, r.inForce(t, "access"))
	check := checkOf(t, r.App, "access")
	assert.True(t, check.OK)
	assert.Contains(t, check.Detail, "the file on disk is broken")
	assert.NotContains(t, check.Detail, r.cfg.AccessFile, "paths are for the log")
}

func TestApprovalRulesFollowTheirFile(t *testing.T) {
	const asking = "version: \"1\"\nrules:\n  - {name: a, profiles: [prod], requesters: {users: [%s]}, approvers: {users: [sam]}}\n"
	r := start(t, func(c *config.Config) { put(t, c.ApprovalsFile, fmt.Sprintf(asking, "alice")) })
	assert.Equal(t, http.StatusCreated, r.request(t, "alice", "prod"))
	assert.Equal(t, http.StatusForbidden, r.request(t, "bob", "prod"))

	before := checkOf(t, r.App, "approvals")
	put(t, r.cfg.ApprovalsFile, fmt.Sprintf(asking, "bob"))
	require.Eventually(t, func() bool { return checkOf(t, r.App, "approvals") != before }, 10*time.Second, 50*time.Millisecond,
		"a change is taken up without anybody asking for it")
	assert.Equal(t, http.StatusCreated, r.request(t, "bob", "prod"))

	put(t, r.cfg.ApprovalsFile, "version: [")
	r.Reload(t.Context()) // as SIGHUP does
	assert.Contains(t, checkOf(t, r.App, "approvals").Detail, "the file on disk is broken")
	assert.False(t, r.inForce(t, "approvals"))
	assert.Equal(t, http.StatusConflict, r.request(t, "bob", "prod"), "the last good one stays in force")
}

// Whoever is sent elsewhere by /readyz could not break the glass here.
func TestBreakGlassWorksWithoutTheFilesOfTheMilderLinks(t *testing.T) {
	r := start(t, func(c *config.Config) {
		put(t, c.AccessFile, "rules: 7")
		put(t, c.ApprovalsFile, "rules: 7")
	})
	for name, words := range map[string]string{"access": "nobody has standing access", "approvals": "no access request is taken, approved or used"} {
		assert.Equal(t, api.Check{Name: name, OK: true, Detail: "was never readable: " + words + "; see the server's log"}, checkOf(t, r.App, name))
		assert.Contains(t, r.log.String(), "rules can't be read and there are none in force: "+words)
		reloaded := r.reloadedFile(t, name)
		assert.False(t, reloaded.OK)
		assert.Empty(t, reloaded.SHA256)
	}
	status, _ := r.call(t, "alice", http.MethodGet, "/readyz", "")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, http.StatusServiceUnavailable, r.credentials(t, "alice", "staging"), "it may be that a rule allows it")
	assert.Equal(t, http.StatusServiceUnavailable, r.request(t, "alice", "staging"))
	status, answer := r.call(t, "alice", http.MethodPost, "/v1/breakglass", `{"profile":"staging","reason_code":"incident","justification":"The database is down, INC-4711"}`)
	require.Equal(t, http.StatusCreated, status, answer)
	assert.Equal(t, http.StatusOK, r.credentials(t, "alice", "staging"))
}

func TestWithoutTheFilesThereAreOnlyEvents(t *testing.T) {
	r := start(t, func(c *config.Config) { c.AccessFile, c.ApprovalsFile = "", "" })
	for _, name := range []string{"access", "approvals", "rate_limits"} {
		assert.Equal(t, api.Check{Name: name, OK: true, Detail: "none are configured"}, checkOf(t, r.App, name))
		assert.Equal(t, api.Reloaded{}, r.reloadedFile(t, name))
	}
	assert.Equal(t, http.StatusForbidden, r.credentials(t, "alice", "staging"))
	assert.Equal(t, http.StatusForbidden, r.request(t, "alice", "staging"))
}

func TestDevelopmentModeShowsTheWholeChain(t *testing.T) {
	r := start(t, func(*config.Config) {})
	assert.Equal(t, http.StatusOK, r.credentials(t, "alice", "staging"), "standing access")
	assert.Equal(t, http.StatusForbidden, r.credentials(t, "alice", "prod"))
	status, answer := r.call(t, "alice", http.MethodPost, "/v1/requests", `{"profile":"prod","justification":"The weekly report needs its numbers"}`)
	require.Equal(t, http.StatusCreated, status, answer)
	var made struct {
		ID string `json:"request_id"`
	}
	require.NoError(t, json.NewDecoder(bytes.NewBufferString(answer)).Decode(&made))
	for who, want := range map[string]int{"alice": http.StatusForbidden, "sam": http.StatusOK} {
		status, answer = r.call(t, who, http.MethodPost, "/v1/requests/"+made.ID+"/approve", "{}")
		assert.Equal(t, want, status, "%s: %s", who, answer)
	}
	assert.Equal(t, http.StatusOK, r.credentials(t, "alice", "prod"), "an approved request")
}
