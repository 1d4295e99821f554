//go:build unix

package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

const (
	invocation    = "Primary DB down, INC-4711"
	justification = "Migrating the orders database"
)

// chainServer is a server on which sam and lee approve requests (both for prod,
// one of them for staging), and an event can be extended once. The token of NAME is NAME-token.
func chainServer(t *testing.T) *devServer {
	t.Helper()
	dir := t.TempDir()
	var tokens strings.Builder
	names := map[string]string{"alice": "oncall", "bob": "oncall", "sam": "owners", "lee": "owners"}
	for name, group := range names {
		sum := sha256.Sum256([]byte(name + "-token"))
		_, _ = fmt.Fprintf(&tokens, "    - {name: %s, sha256: %q, groups: [%s]}\n", name, hex.EncodeToString(sum[:]), group)
	}
	for name, text := range map[string]string{
		"config.yaml": "listen: 127.0.0.1:0\n" + sqliteLine + "auth:\n  tokens:\n" + tokens.String() + `
profiles:
  prod: {role_arn: "arn:aws:iam::123456789012:role/Admin", region: us-east-1}
  staging: {role_arn: "arn:aws:iam::123456789012:role/Admin", region: us-east-1}
policy_file: policy.yaml
approvals_file: approvals.yaml
sts: {issuer: dev}
`,
		"policy.yaml": "version: \"1\"\nrules: [{name: oncall, groups: [oncall], max_extensions: 1}]\n",
		"approvals.yaml": `version: "1"
rules:
  - {name: both, profiles: [prod], approvers: {groups: [owners]}, approvals: 2}
  - {name: one, profiles: [staging], approvers: {groups: [owners]}}
`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	d, err := startServer(serverIn(t, testenv.Build(t, "./cmd/breakglassd"), dir))
	require.NoError(t, err)
	t.Cleanup(d.stop)
	d.tokens = map[string]string{}
	for name := range names {
		d.tokens[name] = name + "-token"
	}
	return d
}

// invoked is an event of alice on prod, of that length.
func invoked(t *testing.T, d *devServer, home, duration string) (id string) {
	t.Helper()
	got := bgctl(t, home, loggedIn(d, "alice"), "invoke", "prod", "--reason", "incident", "--justification", invocation, "--duration", duration, "-o", "json")
	require.Zero(t, got.code, got.stderr)
	return regexp.MustCompile(`"event_id": "([0-9a-f]{16})"`).FindStringSubmatch(got.stdout)[1]
}

func TestAPersonIsToldByWhichMeansTheyHaveAccess(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	id := invoked(t, d, home, "2h")
	said := "Access to prod is granted by event " + id
	for _, args := range [][]string{{"exec", "prod", "--", "true"}, {"env", "prod"}, {"credentials", "prod", "--no-cache"}} {
		p := atTerminal(t, bgctlCommand(t, home, append(loggedIn(d, "alice"), "NO_COLOR=1"), args...), 200)
		require.Zero(t, p.leaves())
		assert.Contains(t, p.screen(), said, args)
		assert.Regexp(t, `, (2h|1h 59m) left\.`, p.screen())
		assert.NotContains(t, bgctl(t, home, loggedIn(d, "alice"), args...).stderr, said, "no terminal is there")
	}
}

func TestTheWarningDoesNotDisturbTheCommandsOutput(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	id := invoked(t, d, home, "5m")
	for _, static := range []bool{false, true} {
		args := []string{"exec", "prod", "--", "sh", "-c", "echo out; sleep 1"}
		if static {
			args = append([]string{"exec", "--static"}, args[1:]...)
		}
		got := bgctl(t, home, loggedIn(d, "alice"), args...)
		assert.Equal(t, "out\n", got.stdout)
		assert.Regexp(t, `(?m)^bgctl: access to prod ends in (5m|4m .*s), at .* UTC\. To go on: bgctl extend `+id+` --justification "…"$`, got.stderr)
		assert.Equal(t, 1, strings.Count(got.stderr, "ends in"))
	}
	assert.NotContains(t, bgctl(t, home, loggedIn(d, "alice"), "exec", "prod", "-o", "json", "--", "sleep", "1").stderr, "ends in")
}

// A command that has put the terminal into raw mode gets whole lines all the same.
func TestTheWarningIsOneLineOnARawTerminal(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	invoked(t, d, home, "5m")
	cmd := bgctlCommand(t, home, append(loggedIn(d, "alice"), "NO_COLOR=1", "BGCTL="+testenv.Build(t, "./cmd/bgctl")))
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	cmd.Path, cmd.Args = sh, []string{"sh", "-c", `stty raw -echo; exec "$BGCTL" exec prod --no-cache -- sh -c 'printf edge; sleep 2; printf edge'`}
	p := atTerminal(t, cmd, 80)
	require.Zero(t, p.leaves())
	assert.Regexp(t, `\r\nbgctl: access to prod ends in [^\r\n]*\r\n`, p.screen())
}

func TestAnExtensionIsAskedForAndMovesTheEnd(t *testing.T) {
	t.Parallel()
	d := chainServer(t)
	home := t.TempDir()
	id := invoked(t, d, home, "5m")
	require.Zero(t, bgctl(t, home, loggedIn(d, "alice"), "credentials", "prod").code)
	p := atTerminal(t, bgctlCommand(t, home, append(loggedIn(d, "alice"), "NO_COLOR=1"), "extend", "prod", "--duration", "1h"), 80)
	p.sees(`Why does it take longer\?`)
	p.types("Restoring takes longer, 400 GB are left\n")
	assert.Zero(t, p.leaves())
	assert.Regexp(t, `Event +`+id, p.screen())
	assert.Regexp(t, `active, 1h [45]m.* left`, p.screen())
	assert.Regexp(t, `Extended +once`, p.screen())
	d.stop()
	got := bgctl(t, home, loggedIn(d, "alice"), "exec", "prod", "--", "sleep", "4")
	require.Zero(t, got.code, got.stderr)
	assert.NotContains(t, got.stderr, "ends in", "the credentials at hand know the new end without asking")
}
