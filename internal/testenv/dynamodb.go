package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// dynoxideVersion is the emulator that scripts/dynamodb.sh builds.
const dynoxideVersion = "3.2.0"

// dynoxide is the emulator's program, or what is wrong.
func dynoxide() (path, problem string) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "needs a cache folder for the DynamoDB emulator: " + err.Error()
	}
	path = filepath.Join(cache, "breakglass", "dynoxide-"+dynoxideVersion, "bin", "dynoxide")
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return "", "needs the DynamoDB emulator (dynoxide " + dynoxideVersion + "), which is not built; `make dynamodb` does that"
	}
	return path, ""
}

// watched runs a program that ends when the standard input does: that happens
// even when the test's process is killed, so no emulator is left behind.
const watched = `exec 3<&0; "$0" "$@" & program=$!; { cat <&3; kill -9 $program; } >/dev/null 2>&1 & wait $program`

// emulator is a running DynamoDB emulator.
type emulator struct {
	endpoint string
	cmd      *exec.Cmd
	stdin    io.Closer    // held open for as long as the emulator is to run
	log      bytes.Buffer // read after exited is closed
	exited   chan struct{}
}

// startDynamoDB starts an emulator that ends with this process, however that ends.
func startDynamoDB(path string, args ...string) (*emulator, error) {
	// The port is free now; should somebody else take it before the emulator
	// does, another one is tried.
	var failure error
	for range 5 {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		e := &emulator{endpoint: "http://127.0.0.1:" + port, exited: make(chan struct{})}
		e.cmd = exec.Command("sh", append([]string{"-c", watched, path, "serve", "--host", "127.0.0.1", "--port", port, "--log", "quiet"}, args...)...)
		e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
		if e.stdin, failure = e.cmd.StdinPipe(); failure != nil {
			return nil, failure
		}
		if failure = e.cmd.Start(); failure != nil {
			return nil, failure
		}
		go func() { _ = e.cmd.Wait(); close(e.exited) }() // the log tells what went wrong
		if failure = e.waitUntilAnswers(); failure == nil {
			return e, nil
		}
		e.stop()
	}
	return nil, failure
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

func (e *emulator) waitUntilAnswers() error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		select {
		case <-e.exited:
			return fmt.Errorf("the DynamoDB emulator ended:\n%s", e.log.String())
		case <-time.After(5 * time.Millisecond):
		}
		if e.answers() {
			return nil
		}
	}
	return errors.New("the DynamoDB emulator does not answer")
}

func (e *emulator) answers() bool {
	res, err := http.Get(e.endpoint)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(res.Body)
	return errors.Join(err, res.Body.Close()) == nil && strings.HasPrefix(string(body), "healthy: dynamodb.")
}

func (e *emulator) stop() {
	_ = e.stdin.Close() // it may be gone already
	<-e.exited
}

// DynamoDB starts a DynamoDB emulator with an empty state of its own and
// returns its endpoint. It ends with the test, also when the test's process is
// killed. Any access key is accepted.
func DynamoDB(t testing.TB) string {
	t.Helper()
	return ownDynamoDB(t)
}

// DynamoDBIn is DynamoDB with its state in a file, which stays.
func DynamoDBIn(t testing.TB, file string) string {
	t.Helper()
	return ownDynamoDB(t, "--db-path", file)
}

func ownDynamoDB(t testing.TB, args ...string) string {
	t.Helper()
	path, problem := dynoxide()
	Require(t, problem == "", problem)
	e, err := startDynamoDB(path, args...)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(e.stop)
	return e.endpoint
}

var shared struct {
	once sync.Once
	e    *emulator
	err  error
}

// SharedDynamoDB is an emulator that all tests of this process share; each
// makes tables of its own there.
func SharedDynamoDB(t testing.TB) string {
	t.Helper()
	path, problem := dynoxide()
	Require(t, problem == "", problem)
	shared.once.Do(func() { shared.e, shared.err = startDynamoDB(path) })
	if shared.err != nil {
		t.Fatalf("testenv: %v", shared.err)
	}
	return shared.e.endpoint
}

// AWSEnv is the environment of a process that shall find nothing of AWS but an
// emulator: any keys, and no look at the instance metadata service.
func AWSEnv() []string {
	return []string{"AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=testing", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull}
}
