package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
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
	for _, name := range []string{"config.yaml", "policy.yaml", "ratelimit.yaml", "access.yaml", "approvals.yaml"} {
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
	assert.NotContains(t, stdout, "no problems")
}

func TestANewTokenIsPrintedOnceAndItsEntryIsAccepted(t *testing.T) {
	code, token, entry := command("token", "new", "--name", "Carol@Example.com", "--groups", "oncall,dba", "--label", "laptop",
		"--expires", "2999-06-30", "--not-before", "2020-01-01T00:00:00Z", "--allowed-from", "10.0.0.0/8,192.0.2.7")
	require.Zero(t, code, entry)
	assert.Regexp(t, `^bgt_[A-Za-z0-9_-]{43}\n$`, token, "the token alone, so that it can go to a file")
	assert.NotContains(t, entry, strings.TrimSpace(token))
	line := regexp.MustCompile(`(?m)^ +- \{.*\}$`).FindString(entry)
	require.NotEmpty(t, line, entry)

	file, _ := install(t)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(data), "  tokens:\n", "  tokens:\n"+line+"\n", 1)), 0o600))
	cfg, err := config.Load(file)
	require.NoError(t, err)
	static, err := authn.New(cfg.Auth.Tokens, cfg.RoleMembers())
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil) // from 192.0.2.1
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	_, err = static.Authenticate(r)
	require.Error(t, err, "not from here")
	r.RemoteAddr = "10.1.2.3:4711"
	p, err := static.Authenticate(r)
	require.NoError(t, err)
	assert.Equal(t, "carol@example.com", p.Name)
	assert.Equal(t, []string{"dba", "oncall"}, p.Groups)

	for _, args := range [][]string{{}, {"--name", ":system"}, {"--name", "x", "--expires", "2020-01-01"}, {"--name", "x", "--expires", "soon"}, {"--name", "x", "--allowed-from", "home"}} {
		code, stdout, stderr := command(append([]string{"token", "new"}, args...)...)
		assert.Equal(t, 2, code, args)
		assert.Empty(t, stdout, "no token without an entry")
		assert.NotEmpty(t, stderr)
	}
	_, _, stderr := command("token", "new", "--allowed-from", "home", "--groups", "x,")
	assert.Contains(t, stderr, "--name must not be empty")
	assert.Contains(t, stderr, `--allowed-from "home" must be`)
	assert.Contains(t, stderr, "--groups must not be empty")
}

func TestCheckWarnsOfTokensThatEnd(t *testing.T) {
	file, _ := install(t)
	t.Setenv("SIEM_HOOK_SECRET", "whsec_"+strings.Repeat("QUJD", 10))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	soon := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	text := strings.Replace(string(data), "label: pager", "label: pager\n      expires: "+soon, 1)
	text = strings.Replace(text, "- {name: dashboard, ", "- {name: dashboard, expires: 2020-01-01, ", 1)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	code, stdout, stderr := command("check", "--config", file)
	assert.Zero(t, code, stderr)
	assert.Regexp(t, `config\.yaml:\d+: warning: auth\.tokens\[3\]: is a token of "incident-bot" \("pager"\) that expires at `+soon, stdout)
	assert.Regexp(t, `config\.yaml:\d+: warning: auth\.tokens\[4\]: is a token of "dashboard" that expired at 2020-01-01T00:00:00Z`, stdout)
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
	assert.Regexp(t, `(?m)^siem +0 +1 `, stdout)
	assert.Regexp(t, `(?m)^secops +1 +0 `, stdout)
	code, _, stderr = command("deliveries", "retry", "--config", file)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "in use by process", "the server has to be stopped first")

	require.NoError(t, st.Close())
	code, stdout, stderr = command("deliveries", "retry", "--config", file, "--sink", "siem")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "1 deliveries are due again")
	for _, cmd := range []string{"retry", "drop"} {
		code, _, stderr = command("deliveries", cmd, "--config", file, "--sink", "nope")
		assert.Equal(t, 1, code, cmd)
		assert.Contains(t, stderr, `there is no sink "nope"`)
	}
	code, stdout, _ = command("deliveries", "retry", "--config", file, "--sink", "journal")
	assert.Zero(t, code, "it is configured, and has none")
	assert.Contains(t, stdout, "0 deliveries are due again")

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

func TestDropForgetsTheDeliveriesOfRemovedSinksAlone(t *testing.T) {
	file, cfg := install(t)
	st, err := sqlite.Open(t.Context(), cfg.Store.SQLite.Path, sqlite.Options{})
	require.NoError(t, err)
	for range 3 {
		entry := breakglass.LogEntry{Timestamp: time.Now().UTC().Truncate(time.Microsecond), Event: breakglass.EntryDenied, Actor: "alice", Reason: "forbidden"}
		require.NoError(t, st.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
			return tx.Append(entry, nil, []string{"siem", "old"})
		}))
	}
	due, _, err := st.DueDeliveries(t.Context(), "old", time.Now(), 1)
	require.NoError(t, err)
	require.NoError(t, st.SettleDelivery(t.Context(), due[0], breakglass.DeliveryOutcome{Dead: true, Attempts: 10, LastError: "410"}))
	require.NoError(t, st.Close())

	code, _, stderr := command("deliveries", "drop", "--config", file, "--sink", "siem")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "still to be sent")
	code, _, stderr = command("deliveries", "drop", "--config", file)
	assert.Equal(t, 2, code, stderr)
	code, stdout, stderr := command("deliveries", "drop", "--config", file, "--sink", "old")
	require.Zero(t, code, stderr)
	assert.Equal(t, "3 deliveries dropped\n", stdout)
	assert.Contains(t, stderr, `"sink":"old","count":3`, "the log says so")

	st, err = sqlite.Open(t.Context(), cfg.Store.SQLite.Path, sqlite.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	counts, err := st.DeliveryCounts(t.Context())
	require.NoError(t, err)
	assert.Len(t, counts, 1)
	assert.EqualValues(t, 3, counts["siem"].Pending)
	head, err := st.Head(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, head, "the trail stays")
}

func TestTheVersionIsThereAsAFlagToo(t *testing.T) {
	code, flag, _ := command("--version")
	assert.Zero(t, code)
	_, sub, _ := command("version")
	assert.Equal(t, sub, flag)
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
