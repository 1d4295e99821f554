package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/config"
	"breakglass/internal/testenv/teststore"
)

// devConfig is that of development mode, over the store that is being tested.
func devConfig(t *testing.T) config.Config {
	t.Helper()
	dir := t.TempDir()
	c, err := DevConfig("127.0.0.1:0", dir)
	require.NoError(t, err)
	c.Store = teststore.Config(t, dir)
	return c
}

func TestDevelopmentModeStaysOnLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:8080", ":8080", "192.0.2.1:80", "example.com:80", "nonsense"} {
		_, err := DevConfig(addr, t.TempDir())
		require.Error(t, err, addr)
	}
}

func TestDevelopmentTokensAreKeptAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := DevConfig("127.0.0.1:0", dir)
	require.NoError(t, err)
	again, err := DevConfig("127.0.0.1:0", dir)
	require.NoError(t, err)
	assert.Equal(t, first.Auth.Tokens, again.Auth.Tokens, "bgctl stays logged in over a restart")
	for name, mode := range map[string]fs.FileMode{".": 0o700, DevTokensFile: 0o600, "policy.yaml": 0o600, "access.yaml": 0o600, "approvals.yaml": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, DevTokensFile), []byte("not JSON"), 0o600))
	_, err = DevConfig("127.0.0.1:0", dir)
	require.ErrorContains(t, err, "remove it to get new tokens")
}

func TestEditedDevelopmentRulesAreKept(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"policy.yaml", "access.yaml", "approvals.yaml"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
		_, err := DevConfig("127.0.0.1:0", dir)
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "mine", string(data))
	}
}

func TestAFailedStartLeavesNothingOpen(t *testing.T) {
	c := devConfig(t)
	broken := c
	broken.Audit.File = filepath.Join(t.TempDir(), "no", "such", "folder", "audit.jsonl")
	_, err := New(t.Context(), broken, Options{})
	require.ErrorContains(t, err, "audit")

	busy, err := New(t.Context(), c, Options{})
	require.NoError(t, err, "the database's lock was given back")
	require.NoError(t, busy.Start())
	taken := c
	taken.Store = teststore.Config(t, t.TempDir())
	taken.Listen = busy.Addr().String()
	second, err := New(t.Context(), taken, Options{})
	require.NoError(t, err)
	require.ErrorContains(t, second.Start(), "address already in use: something else listens on "+taken.Listen)
	if c.Store.Driver == config.DriverSQLite { // a table is for any number of servers
		third, err := New(t.Context(), c, Options{})
		require.ErrorContains(t, err, "is in use by process")
		require.Nil(t, third)
	}
	require.NoError(t, busy.Stop(context.Background()))
}

func TestEveryMetricHasHelpAndIsServed(t *testing.T) {
	a, err := New(t.Context(), devConfig(t), Options{})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	defer func() { require.NoError(t, a.Stop(context.Background())) }()
	families, err := a.metrics.registry.Gather()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
		assert.NotEmpty(t, f.GetHelp(), f.GetName())
	}
	for _, want := range []string{"breakglass_build_info", "breakglass_active_events", "breakglass_audit_head", "breakglass_rules_current"} {
		assert.Contains(t, names, want)
	}
	res, err := http.Get("http://" + a.Addr().String() + "/metrics")
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }() // only read
	assert.Equal(t, http.StatusOK, res.StatusCode)
}

func TestCheckReportsTheProblemsOfEveryFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"config.yaml", "policy.yaml", "ratelimit.yaml", "access.yaml", "approvals.yaml"} {
		data, err := os.ReadFile(filepath.Join("../../examples", name))
		require.NoError(t, err)
		data = bytes.ReplaceAll(data, []byte("/var/lib/breakglass/"), []byte(dir+"/"))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	path := filepath.Join(dir, "config.yaml")
	t.Setenv("SIEM_HOOK_SECRET", "whsec_"+strings.Repeat("QUJD", 10))
	warnings, err := Check(path)
	require.NoError(t, err, "the examples fit together")
	require.Empty(t, warnings)
	for _, name := range []string{"policy.yaml", "ratelimit.yaml", "access.yaml", "approvals.yaml"} {
		rules := filepath.Join(dir, name)
		data, err := os.ReadFile(rules)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(rules, []byte(strings.Replace(string(data), "rules:", "rulez:", 1)), 0o600))
	}
	t.Setenv("SIEM_HOOK_SECRET", "")
	_, err = Check(path)
	require.ErrorContains(t, err, "sinks[1].secret_env")
	require.ErrorContains(t, err, "policy.yaml:")
	require.ErrorContains(t, err, "ratelimit.yaml:")
	require.ErrorContains(t, err, "access.yaml:")
	require.ErrorContains(t, err, "approvals.yaml:")
	require.ErrorContains(t, err, "rulez")
	_, err = Check("../../deploy/compose/config.yaml")
	require.NoError(t, err)
}

func TestCheckReadsTheKeysThatSignSessions(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	data, err := os.ReadFile("../../deploy/compose/config.yaml")
	require.NoError(t, err)
	write := func(keys string) {
		aws := keys + "  aws: {server_names: [a], regions: [us-east-1], rules: [{account: \"123456789012\", user: alice, name: alice}]}\n"
		text := strings.Replace(string(data), "auth:\n", "auth:\n"+aws, 1)
		require.NotEqual(t, string(data), text)
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	}
	for _, name := range []string{"policy.yaml", "ratelimit.yaml"} {
		rules, err := os.ReadFile(filepath.Join("../../deploy/compose", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), rules, 0o600))
	}
	write("")
	warnings, err := Check(config)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(warnings, "\n"), "auth.session_keys: is empty: logins end when the server restarts")
	write("  session_keys: [{env: BREAKGLASS_TEST_SESSION_KEY}]\n")
	_, err = Check(config)
	require.ErrorContains(t, err, "auth.session_keys[0]: the environment variable BREAKGLASS_TEST_SESSION_KEY isn't set")
	t.Setenv("BREAKGLASS_TEST_SESSION_KEY", "short-secret")
	_, err = Check(config)
	require.ErrorContains(t, err, "at least 32 characters")
	assert.NotContains(t, err.Error(), "short-secret")
	t.Setenv("BREAKGLASS_TEST_SESSION_KEY", "a-key-of-this-test-0123456789-abcdefghijkl")
	warnings, err = Check(config)
	require.NoError(t, err)
	assert.NotContains(t, strings.Join(warnings, "\n"), "session_keys")
}

func TestWhoIsDeniedInTheConfigurationIsNotLetIn(t *testing.T) {
	dir := t.TempDir()
	c, err := DevConfig("127.0.0.1:0", dir)
	require.NoError(t, err)
	tokens := map[string]string{}
	data, err := os.ReadFile(filepath.Join(dir, DevTokensFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &tokens))
	c.Auth.Denied = []string{"ALICE"}
	a, err := New(t.Context(), c, Options{})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	defer func() { require.NoError(t, a.Stop(context.Background())) }()
	for name, status := range map[string]int{"alice": http.StatusUnauthorized, "sam": http.StatusOK} {
		require.NotEmpty(t, tokens[name])
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr().String()+"/v1/whoami", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+tokens[name])
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		assert.Equal(t, status, resp.StatusCode, name)
	}
}
