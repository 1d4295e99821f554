package cli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"breakglass/internal/mfa/mfatest"
	"breakglass/internal/testenv"
)

// TestScripts runs the real bgctl against a real breakglassd, one for each
// script, in development mode; or, where a script has a config.yaml, with that
// configuration, in which the token of NAME is NAME-token. Files of a script are
// there before its server starts. The scripts have these commands of their own:
//
//	as NAME                 the following calls use NAME's token
//	exits CODE PROGRAM...   runs the program and wants this exit code
//	capture VAR REGEXP      puts the first group of the match in stdout into VAR
//	stopserver              stops the server
//	totp VAR SECRET N       puts the Nth of the codes that are good now into VAR
//	mode FILE PERM          checks the permissions of a file, in octal
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server for each script")
	}
	bin := filepath.Dir(testenv.Build(t, "./cmd/bgctl"))
	server := testenv.Build(t, "./cmd/breakglassd")
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			return setUpScript(t, env, server, bin)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"totp": totp,
			"as":   as, "exits": exits, "capture": capture, "stopserver": stopServer, "mode": mode,
		},
		RequireUniqueNames: true,
	})
}

type serverKey struct{}

func setUpScript(t testing.TB, env *testscript.Env, server, bin string) error {
	d, err := startServer(serverIn(t, server, env.WorkDir))
	if err != nil {
		return err
	}
	env.Defer(d.stop)
	env.Values[serverKey{}] = d
	env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("TZ", "UTC")
	env.Setenv("BGCTL_SERVER", d.url)
	for name, token := range d.tokens {
		env.Setenv("TOKEN_"+name, token)
	}
	return os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o700)
}

// devServer is a breakglassd --dev in a process of its own.
type devServer struct {
	url    string
	tokens map[string]string
	cmd    *exec.Cmd
}

// startServer starts breakglassd and waits until it listens.
func startServer(cmd *exec.Cmd) (*devServer, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &devServer{cmd: cmd}
	log := bufio.NewReader(stderr)
	timeout := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()
	var lines strings.Builder
	for d.url == "" {
		line, err := log.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the server did not start: %w\n%s", err, lines.String())
		}
		lines.WriteString(line)
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
			d.url = "http://" + entry.Addr
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	data, err := os.ReadFile(filepath.Join(cmd.Dir, "data", "dev-tokens.json"))
	if errors.Is(err, fs.ErrNotExist) {
		d.tokens = map[string]string{"alice": "alice-token", "bob": "bob-token", "sam": "sam-token"}
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	return d, json.Unmarshal(data, &d.tokens)
}

func (d *devServer) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	timeout := time.AfterFunc(10*time.Second, func() { _ = d.cmd.Process.Kill() })
	defer timeout.Stop()
	_ = d.cmd.Wait()
}

// devServerFor starts a server for a test that isn't a script.
func devServerFor(t *testing.T) *devServer {
	t.Helper()
	d, err := startServer(serverIn(t, testenv.Build(t, "./cmd/breakglassd"), t.TempDir()))
	require.NoError(t, err)
	t.Cleanup(d.stop)
	return d
}

func as(ts *testscript.TestScript, _ bool, args []string) {
	token := ts.Getenv("TOKEN_" + args[0])
	if token == "" {
		ts.Fatalf("there is no %s", args[0])
	}
	ts.Setenv("BGCTL_TOKEN", token)
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("stdout has no match for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// totp is the authenticator. Codes are numbered 1 and 2, in the order in which
// they can be used: both stay good for the next seconds, also when a new step
// begins meanwhile.
func totp(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	step := time.Now().Add(10 * time.Second).Truncate(30 * time.Second)
	code, err := mfatest.CodeOf(args[1], step.Add(time.Duration(n-2)*30*time.Second))
	ts.Check(err)
	ts.Setenv(args[0], code)
}

func stopServer(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value(serverKey{}).(*devServer).stop()
}

func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}
