//go:build unix

package cli_test

import (
	"os/exec"
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
	d := devServerFor(t)
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
	got := bgctl(t, home, loggedIn(d, "alice"), "exec", "prod", "--", "sleep", "1")
	assert.NotContains(t, got.stderr, "ends in", "the credentials at hand know the new end")
}
