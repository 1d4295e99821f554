//go:build unix

package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/cli/show"
)

// person is somebody at a terminal in which a program runs.
type person struct {
	t    *testing.T
	tty  *os.File
	cmd  *exec.Cmd
	mu   sync.Mutex
	seen strings.Builder
	done chan struct{}
}

// atTerminal starts the program in a pseudo-terminal of that width.
func atTerminal(t *testing.T, cmd *exec.Cmd, columns uint16) *person {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	// Standard error is the controlling terminal: tests may give another input.
	tty, err := pty.StartWithAttrs(cmd, &pty.Winsize{Rows: 40, Cols: columns}, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2})
	require.NoError(t, err)
	p := &person{t: t, tty: tty, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			p.mu.Lock()
			p.seen.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = tty.Close() })
	return p
}

func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func (p *person) sees(pattern string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	if !assert.Eventually(p.t, func() bool { return re.MatchString(p.screen()) }, 20*time.Second, 10*time.Millisecond) {
		p.t.Fatalf("never saw %q on:\n%s", pattern, p.screen())
	}
}

func (p *person) types(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.tty, text)
	require.NoError(p.t, err)
}

// leaves waits for the end of the program and returns its exit code.
func (p *person) leaves() int {
	p.t.Helper()
	_ = p.cmd.Wait()
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

func loggedIn(d *devServer, name string) []string {
	return []string{"BGCTL_SERVER=" + d.url, "BGCTL_TOKEN=" + d.tokens[name]}
}

func TestAPersonIsAskedForWhatIsMissing(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	p := atTerminal(t, bgctlCommand(t, t.TempDir(), loggedIn(d, "alice"), "invoke"), 80)
	p.sees(`Which profile\?`)
	p.sees(`1  prod`)
	p.types("9\n")
	p.sees(`number from 1 to 2`)
	p.types("1\n")
	p.sees(`Why\?`)
	p.sees(`5  other`)
	p.types("incident\n")
	p.sees(`20 to 1000\s+characters`)
	p.types("Primary DB\n")
	p.sees(`has 10\. Go on: what you type next is added\s+to it`)
	p.sees(`10 more >`)
	p.types("is down, INC-4711\n")
	p.sees(`Expires`)
	p.sees(`bgctl exec prod -- COMMAND`)
	assert.Zero(t, p.leaves())
	got := bgctl(t, t.TempDir(), loggedIn(d, "alice"), "check", "prod", "-o", "json")
	assert.Contains(t, got.stdout, `"justification": "Primary DB is down, INC-4711"`, "what was typed is kept")
}

func TestNobodyIsAskedForAnInvocationThatAnEventStandsInTheWayOf(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	require.Zero(t, bgctl(t, home, loggedIn(d, "alice"), "invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711").code)
	p := atTerminal(t, bgctlCommand(t, home, loggedIn(d, "alice"), "invoke", "prod"), 80)
	assert.Equal(t, 4, p.leaves())
	assert.Contains(t, p.screen(), "already have an active event on prod")
	assert.NotContains(t, p.screen(), "Why?")
}

func TestAPersonCanChangeTheirMind(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	for name, c := range map[string]struct {
		keys string
		code int
	}{"Ctrl-C": {"\x03", 130}, "Ctrl-D": {"\x04", 2}} {
		p := atTerminal(t, bgctlCommand(t, t.TempDir(), loggedIn(d, "alice"), "invoke", "prod"), 80)
		p.sees(`Why\?`)
		p.sees(`> `)
		p.types(c.keys)
		assert.Equal(t, c.code, p.leaves(), "%s: %s", name, p.screen())
	}
	assert.Contains(t, bgctl(t, t.TempDir(), loggedIn(d, "alice"), "list").stderr, "No events")
}

func TestProgramsAreNeverAsked(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	// Standard error is a terminal, standard input isn't.
	cmd := bgctlCommand(t, home, loggedIn(d, "alice"), "invoke", "prod")
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	t.Cleanup(func() { _ = null.Close() })
	cmd.Stdin = null
	p := atTerminal(t, cmd, 80)
	assert.Equal(t, 2, p.leaves())
	assert.Contains(t, p.screen(), "Missing: --reason")
	// A terminal, but JSON is wanted.
	p = atTerminal(t, bgctlCommand(t, home, loggedIn(d, "alice"), "invoke", "prod", "-o", "json"), 80)
	assert.Equal(t, 2, p.leaves())
}

func TestATokenIsTypedUnseen(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	p := atTerminal(t, bgctlCommand(t, home, nil, "login", "--server", d.url), 80)
	p.sees(`not shown\): `)
	p.types(d.tokens["alice"] + "\n")
	p.sees(`Logged in to .* as alice`)
	assert.Zero(t, p.leaves())
	assert.NotContains(t, p.screen(), d.tokens["alice"])
	assert.Contains(t, bgctl(t, home, nil, "whoami").stdout, "alice")

	p = atTerminal(t, bgctlCommand(t, home, nil, "login", "--server", d.url), 80)
	p.sees(`not shown\): `)
	p.types("\x03")
	assert.Equal(t, 130, p.leaves())
}

func TestColourIsForTerminalsOnlyAndCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	env := loggedIn(d, "alice")
	run := func(more ...string) string {
		p := atTerminal(t, bgctlCommand(t, t.TempDir(), append(env, more...), "profiles"), 80)
		require.Zero(t, p.leaves())
		return p.screen()
	}
	assert.Contains(t, run(), "\x1b[1m")
	assert.NotContains(t, run("NO_COLOR=1"), "\x1b")
	assert.Contains(t, run("NO_COLOR="), "\x1b[1m", "empty means not set")
	assert.NotContains(t, bgctl(t, t.TempDir(), env, "profiles").stdout, "\x1b")
	p := atTerminal(t, bgctlCommand(t, t.TempDir(), env, "profiles", "-o", "json"), 80)
	require.Zero(t, p.leaves())
	assert.NotContains(t, p.screen(), "\x1b")
}

func TestTablesFitTheTerminal(t *testing.T) {
	t.Parallel()
	event := func(i int, who, why string) string {
		return fmt.Sprintf(`{"event_id":"%016x","invoker":%q,"profile":"prod-eu-central-1-database","reason_code":"incident","status":"active",
			"justification":%q,"created_at":"2026-11-23T02:00:00Z","expires_at":"2099-11-23T03:00:00Z","remaining_seconds":3600}`, i, who, why)
	}
	env := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 200, "application/json", `{"items":[`+event(1, "alice@example.com", strings.Repeat("Primary database is down. ", 20))+","+
			event(2, "bob@example.com", strings.Repeat("主データベースが停止した。", 20))+","+event(3, "sam@example.com", strings.Repeat("🔥👩‍🚒", 50))+`]}`)
	})
	for _, columns := range []uint16{30, 60, 80, 120, 250} {
		p := atTerminal(t, bgctlCommand(t, t.TempDir(), append(env, "NO_COLOR=1"), "list"), columns)
		require.Zero(t, p.leaves())
		lines := strings.Split(strings.TrimRight(strings.ReplaceAll(p.screen(), "\r\n", "\n"), "\n"), "\n")
		if columns >= 120 {
			assert.Len(t, lines, 4)
		}
		if columns >= 60 {
			for _, title := range []string{"EVENT", "PROFILE", "INVOKER", "REASON", "STATUS", "INVOKED", "JUSTIFI"} {
				assert.Contains(t, p.screen(), title, "no column is lost at %d", columns)
			}
		}
		for _, line := range lines {
			assert.LessOrEqual(t, show.Width(line), int(columns), line)
		}
		if columns >= 120 {
			assert.Contains(t, p.screen(), "0000000000000001  ")
		}
	}
	assert.NotContains(t, bgctl(t, t.TempDir(), env, "list").stdout, "…", "a pipe has no width")
}

func TestWatchCountsDown(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	require.Zero(t, bgctl(t, home, loggedIn(d, "alice"), "invoke", "prod", "--reason", "incident", "--justification",
		"Primary DB down, INC-4711", "--duration", "3s").code)
	p := atTerminal(t, bgctlCommand(t, home, loggedIn(d, "alice"), "check", "prod", "--watch"), 80)
	p.sees(`0:00:0[123].* left on prod`)
	p.sees(`expired`)
	assert.Zero(t, p.leaves())
}

func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	require.Zero(t, bgctl(t, home, loggedIn(d, "alice"), "invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711").code)
	self, err := os.Executable()
	require.NoError(t, err)
	p := atTerminal(t, bgctlCommand(t, home, append(loggedIn(d, "alice"), countInterrupts+"=1"), "exec", "prod", "--", self), 80)
	p.sees(`ready`)
	p.types("\x03")
	p.sees(`interrupt`)
	assert.Equal(t, 7, p.leaves(), "bgctl stays until the command is done")
	assert.Contains(t, p.screen(), "in all 1", "the terminal sends it to both; passing it on would be twice")
}

// countInterrupts, when set, makes the test program a command that counts how
// often it is interrupted. A shell would take two signals shortly after one
// another for one.
const countInterrupts = "BGCTL_TEST_COUNT_INTERRUPTS"

func TestMain(m *testing.M) {
	if os.Getenv(countInterrupts) == "" {
		os.Exit(m.Run())
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt)
	fmt.Println("ready")
	<-signals
	fmt.Println("interrupt")
	n, quiet := 1, time.NewTimer(700*time.Millisecond)
	for {
		select {
		case <-signals:
			n++
		case <-quiet.C:
			fmt.Println("in all", n)
			os.Exit(7)
		}
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	home := t.TempDir()
	require.Zero(t, bgctl(t, home, loggedIn(d, "alice"), "invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711").code)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGQUIT} {
		ready := filepath.Join(t.TempDir(), "ready")
		script := fmt.Sprintf(`trap 'exit 42' INT TERM HUP USR1 QUIT; echo > %s; i=0; while [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done`, ready)
		cmd := bgctlCommand(t, home, loggedIn(d, "alice"), "exec", "prod", "--", "sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { _, err := os.Stat(ready); return err == nil }, 20*time.Second, 10*time.Millisecond)
		require.NoError(t, cmd.Process.Signal(sig))
		_ = cmd.Wait()
		assert.Equal(t, 42, cmd.ProcessState.ExitCode(), "%s", sig)
	}
}

func TestErrorsFitTheTerminalAndKeepTheirCommandsTellable(t *testing.T) {
	t.Parallel()
	env := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 409, "application/problem+json", `{"code":"already_active","event_id":"0123456789abcdef","expires_at":"2099-01-01T00:00:00Z",
			"detail":"alice already has an active event on prod: 0123456789abcdef, until 2099-01-01T00:00:00Z. Use it, or close it first."}`)
	})
	p := atTerminal(t, bgctlCommand(t, t.TempDir(), append(env, "NO_COLOR=1"), "invoke", "prod", "--reason", "incident", "--justification",
		"Primary DB down, INC-4711"), 60)
	assert.Equal(t, 4, p.leaves())
	assert.Contains(t, p.screen(), "`bgctl exec 0123456789abcdef -- COMMAND` uses it")
	for line := range strings.Lines(p.screen()) {
		assert.LessOrEqual(t, show.Width(strings.TrimRight(line, "\r\n")), 60, line)
	}
}
