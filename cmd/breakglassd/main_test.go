package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/store/sqlite"
)

// command runs the program in this process.
func command(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongUseSaysWhatToDoAndExitsWith2(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing at all":            {},
		"an unknown flag":           {"--prod"},
		"an argument":               {"serve"},
		"both modes":                {"--dev", "--config", "x.yaml"},
		"listen with a file":        {"--config", "x.yaml", "--listen", "127.0.0.1:1"},
		"check without a file":      {"check"},
		"backup without a place":    {"backup", "--config", "x.yaml"},
		"deliveries without a file": {"deliveries", "list"},
		"export without a file":     {"export"},
		"import without a file":     {"import", "--input", "x.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := command(args...)
			assert.Equal(t, 2, code)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, "breakglassd: ")
		})
	}
	code, _, stderr := command("--dev", "--listen", "0.0.0.0:0", "--data-dir", t.TempDir())
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "loopback")
	code, _, stderr = command("--config", filepath.Join(t.TempDir(), "missing.yaml"))
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "missing.yaml")
}

func TestEveryCommandHasHelp(t *testing.T) {
	for _, sub := range newRoot(nil).Commands() {
		code, stdout, _ := command(sub.Name(), "--help")
		assert.Zero(t, code)
		assert.Contains(t, stdout, "Usage:", sub.Name())
	}
}

// install copies the example configuration to a folder of its own.
func install(t *testing.T) (file string, cfg config.Config) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.yaml", "policy.yaml", "ratelimit.yaml"} {
		data, err := os.ReadFile(filepath.Join("../../examples", name))
		require.NoError(t, err)
		data = bytes.ReplaceAll(data, []byte("/var/lib/breakglass/"), []byte(dir+"/")) // where the unit's service may write
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	file = filepath.Join(dir, "config.yaml")
	cfg, err := config.Load(file)
	require.NoError(t, err)
	return file, cfg
}

func TestCheckAcceptsTheExamplesAndNamesProblems(t *testing.T) {
	file, cfg := install(t)
	t.Setenv("SIEM_HOOK_SECRET", "whsec_"+strings.Repeat("QUJD", 10))
	code, stdout, _ := command("check", "--config", file)
	assert.Zero(t, code)
	assert.Contains(t, stdout, "no problems")
	require.NoError(t, os.WriteFile(cfg.PolicyFile, []byte("version: \"1\"\nrules:\n  - name: x\n    usres: [a]\n"), 0o600))
	code, stdout, stderr := command("check", "--config", file)
	assert.Equal(t, 1, code)
	assert.Contains(t, stdout, "policy.yaml:4:")
	assert.Contains(t, stdout, `did you mean "users"`)
	assert.Contains(t, stderr, "problems")
}

func TestBackupAndDeliveriesWorkBesideARunningServer(t *testing.T) {
	file, cfg := install(t)
	st, err := sqlite.Open(t.Context(), cfg.Store.SQLite.Path, sqlite.Options{})
	require.NoError(t, err)
	entry := breakglass.LogEntry{Timestamp: time.Now().UTC().Truncate(time.Microsecond), Event: breakglass.EntryDenied, Actor: "alice", Reason: "forbidden"}
	require.NoError(t, st.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
		return tx.Append(entry, nil, []string{"siem", "secops"})
	}))
	due, _, err := st.DueDeliveries(t.Context(), "siem", time.Now(), 1)
	require.NoError(t, err)
	require.NoError(t, st.SettleDelivery(t.Context(), due[0], breakglass.DeliveryOutcome{Dead: true, Attempts: 10, LastError: "410"}))

	copied := filepath.Join(t.TempDir(), "copy.db")
	code, stdout, stderr := command("backup", "--config", file, copied)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "copy.db written")
	code, _, stderr = command("backup", "--config", file, copied)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "exists")

	code, stdout, stderr = command("deliveries", "list", "--config", file)
	require.Zero(t, code, stderr)
	assert.Regexp(t, `"siem"\s+0\s+1`, stdout)
	assert.Regexp(t, `"secops"\s+1\s+0`, stdout)
	code, _, stderr = command("deliveries", "retry", "--config", file)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "in use by process", "the server has to be stopped first")

	require.NoError(t, st.Close())
	code, stdout, stderr = command("deliveries", "retry", "--config", file, "--sink", "siem")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "1 deliveries are due again")

	restored, err := sqlite.Open(t.Context(), copied, sqlite.Options{})
	require.NoError(t, err)
	head, err := restored.Head(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, head, "the copy holds what was committed")
	require.NoError(t, restored.Close())
}

func TestBackupAndDeliveriesWorkFromTheFolderOfTheConfiguration(t *testing.T) {
	file, cfg := install(t)
	st, err := sqlite.Open(t.Context(), cfg.Store.SQLite.Path, sqlite.Options{})
	require.NoError(t, err)
	require.NoError(t, st.Close())
	t.Chdir(filepath.Dir(file))
	code, stdout, stderr := command("backup", "--config", "config.yaml", "copy.db")
	require.Zero(t, code, stderr)
	assert.Equal(t, "copy.db written\n", stdout)
	assert.FileExists(t, "copy.db")
	code, stdout, stderr = command("deliveries", "list", "--config", "config.yaml")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "SINK")
	code, stdout, stderr = command("deliveries", "retry", "--config", "config.yaml")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "0 deliveries are due again")
}

func TestHealthcheckFollowsReadiness(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	code, _, _ := command("healthcheck", "--url", server.URL)
	assert.Zero(t, code)
	status = http.StatusServiceUnavailable
	code, _, stderr := command("healthcheck", "--url", server.URL)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "not ready")
}
