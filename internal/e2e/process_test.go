package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/config"
	"breakglass/internal/testenv"
	"breakglass/internal/testenv/teststore"
)

// patience is how long a test waits for what should happen at once: enough for
// a machine that is busy with something else.
const patience = 30 * time.Second

// profileNames are the profiles of the servers that writeConfig sets up.
var profileNames = []string{"prod", "staging", "db", "edge"}

// site is the folder of a real server: its configuration, its rules and, unless
// database or table say otherwise, its store.
type site struct {
	dir      string
	database string           // path of a SQLite file instead
	table    *config.DynamoDB // a table instead, such as one that is shared
	// more is added to the configuration.
	more string
	// limits is the rate-limit file's content; empty: none.
	limits string
}

func (s site) engine(t testing.TB) config.Store {
	t.Helper()
	switch {
	case s.table != nil:
		return config.Store{Driver: config.DriverDynamoDB, DynamoDB: *s.table}
	case s.database != "":
		return config.Store{Driver: config.DriverSQLite, SQLite: config.SQLite{Path: s.database}}
	}
	return teststore.Config(t, s.dir)
}

func (s site) policy() string { return filepath.Join(s.dir, "policy.yaml") }

// write lays the files out and returns the path of the configuration.
func (s site) write(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(teststore.YAML(s.engine(t)) + "policy_file: policy.yaml\nlog: {level: debug}\n")
	for _, line := range []string{"listen: 127.0.0.1:0\n", "sts: {issuer: dev}\n",
		fmt.Sprintf("limits: {requests_per_caller: %d, emergency_calls_per_caller: %[1]d}\n", fast)} {
		if name, _, _ := strings.Cut(line, " "); !strings.Contains(s.more, name) {
			b.WriteString(line)
		}
	}
	b.WriteString("auth:\n  tokens:\n")
	for _, p := range people(32) {
		fmt.Fprintf(&b, "    - {name: %s, sha256: %q, groups: [everybody]}\n", p.Name, p.SHA256)
	}
	b.WriteString("roles: {reviewer: {users: [sam]}, auditor: {users: [sam]}, delegate: {users: [bot]}}\nprofiles:\n")
	for _, name := range profileNames {
		fmt.Fprintf(&b, "  %s: {role_arn: \"arn:aws:iam::123456789012:role/BreakGlass\", region: us-east-1}\n", name)
	}
	if s.limits != "" {
		b.WriteString("rate_limit_file: ratelimit.yaml\n")
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "ratelimit.yaml"), []byte(s.limits), 0o600))
	}
	b.WriteString(s.more)
	if _, err := os.Stat(s.policy()); errors.Is(err, os.ErrNotExist) {
		require.NoError(t, os.WriteFile(s.policy(), []byte(openPolicy), 0o600))
	}
	path := filepath.Join(s.dir, "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// process is a running breakglassd of its own.
type process struct {
	http   caller
	cmd    *exec.Cmd
	logs   *logBuffer // standard error
	out    *logBuffer // standard output
	begun  time.Time
	addr   string        // file that the address appears in
	exited chan struct{} // closed when the process is gone
	killed bool          // by the test: what it logged tells nothing
}

// spawn starts the server and doesn't wait for it.
func (s site) spawn(t testing.TB, env ...string) *process {
	t.Helper()
	p := &process{logs: &logBuffer{}, out: &logBuffer{}, addr: filepath.Join(s.dir, "addr"), exited: make(chan struct{})}
	bin := testenv.Build(t, "./cmd/breakglassd")
	if err := os.Remove(p.addr); !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	p.cmd = exec.Command(bin, "--config", s.write(t), "--addr-file", p.addr)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr, p.cmd.Stdout = p.logs, p.out
	p.begun = time.Now()
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the state of the process says it
		close(p.exited)
	}()
	t.Cleanup(func() {
		boring := p.killed
		p.kill()
		if t.Failed() && !boring {
			t.Logf("the last lines of breakglassd %d:\n%s", p.cmd.Process.Pid, lastLines(p.logs.String(), 30))
		}
	})
	return p
}

// start starts the server and waits until it is ready.
func (s site) start(t testing.TB, env ...string) *process {
	t.Helper()
	p := s.spawn(t, env...)
	p.listening(t)
	p.ready(t)
	return p
}

// listening waits until the server has an address.
func (p *process) listening(t testing.TB) {
	t.Helper()
	p.poll(t, "listening", func() bool {
		b, err := os.ReadFile(p.addr)
		if err != nil {
			return false
		}
		p.http = newCaller("http://" + strings.TrimSpace(string(b)))
		return true
	})
}

// ready waits until the server is ready and returns how long that took since
// its start.
func (p *process) ready(t testing.TB) time.Duration {
	t.Helper()
	p.poll(t, "ready", func() bool { return p.status(t, "/readyz") == http.StatusOK })
	return time.Since(p.begun)
}

// status is the status of an open path; 0 when there is no answer.
func (p *process) status(t testing.TB, path string) int {
	a, err := p.http.do(t.Context(), "nobody", http.MethodGet, path, "")
	if err != nil {
		return 0
	}
	return a.status
}

// poll waits for a condition and fails at once when the server has ended.
func (p *process) poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		select {
		case <-p.exited:
			require.FailNow(t, "the server ended before it was "+what, "%s\n%s", p.cmd.ProcessState, lastLines(p.logs.String(), 30))
		case <-time.After(time.Millisecond):
		}
		require.True(t, time.Now().Before(deadline), "not %s within %s:\n%s", what, patience, lastLines(p.logs.String(), 30))
	}
}

// kill ends the server as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.exited
	if p.http.client != nil {
		p.http.client.CloseIdleConnections()
	}
}

// terminate asks the server to stop and returns its exit code.
func (p *process) terminate(t testing.TB) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.wait(t)
}

// wait returns the exit code of a server that ends by itself.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		require.FailNow(t, "the server does not end", "%s", lastLines(p.logs.String(), 30))
	}
	return p.cmd.ProcessState.ExitCode()
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
