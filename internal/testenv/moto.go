package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// motoTimeout bounds the start of the emulator, which takes about a second on
// an idle machine.
const motoTimeout = 60 * time.Second

// motoMain runs moto_server and ends it when its standard input closes: that
// happens even when the test process is killed, so no emulator is left behind.
const motoMain = `
import os, sys, threading
def watch():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
from moto.server import main
main(["-H", "127.0.0.1", "-p", "0"])
`

var motoAddress = regexp.MustCompile(`Running on (http://127\.0\.0\.1:[0-9]+)`)

// Moto starts an AWS emulator (moto_server) and returns its endpoint, such as
// http://127.0.0.1:40001. Each call starts a process of its own with empty state;
// tests that can share one call Moto in their parent. It answers when Moto
// returns and ends with the test. Any access key is accepted; the account
// is 123456789012. Its log is shown when the test fails.
func Moto(t testing.TB) string {
	t.Helper()
	return runMoto(t, Python(t), motoMain)
}

// runMoto starts an emulator that ends with the test.
func runMoto(t testing.TB, python, program string) string {
	t.Helper()
	server, err := startMoto(python, program)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		server.stop()
		if t.Failed() {
			t.Logf("the last lines of moto:\n%s", server.log)
		}
	})
	return server.endpoint
}

// motoServer is one running emulator.
type motoServer struct {
	endpoint string
	log      *tail
	cmd      *exec.Cmd
	stdin    io.Closer     // held open for as long as the emulator is to run
	drained  chan struct{} // closed when its log has ended
}

// startMoto returns when the emulator answers. It ends with stop, or with this
// process, however that ends.
func startMoto(python, program string) (*motoServer, error) {
	cmd := exec.Command(python, "-u", "-c", program)
	cmd.Env = motoEnv(os.Environ())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting moto: %w", err)
	}
	s := &motoServer{log: &tail{}, cmd: cmd, stdin: stdin, drained: make(chan struct{})}
	address := make(chan string, 1)
	go func() {
		defer close(s.drained)
		watchMoto(stderr, s.log, address)
	}()
	if err := s.waitUntilListens(address); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w:\n%s", err, s.log)
	}
	return s, nil
}

func (s *motoServer) waitUntilListens(address <-chan string) error {
	select {
	case endpoint, ok := <-address:
		if !ok {
			return errors.New("moto ended before it listened")
		}
		s.endpoint = endpoint
		if err := waitUntilAnswers(endpoint); err != nil {
			return fmt.Errorf("moto does not answer: %w", err)
		}
		return nil
	case <-time.After(motoTimeout):
		return fmt.Errorf("moto did not listen within %s", motoTimeout)
	}
}

func (s *motoServer) stop() {
	_ = s.stdin.Close()
	_ = s.cmd.Process.Kill()
	<-s.drained
	_ = s.cmd.Wait()
}

// watchMoto sends the address that moto says it listens on, and closes the
// channel when moto ends.
func watchMoto(stderr io.Reader, log *tail, address chan<- string) {
	defer close(address)
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	found := false
	for lines.Scan() {
		log.add(lines.Text())
		if m := motoAddress.FindStringSubmatch(lines.Text()); m != nil && !found {
			found = true
			address <- m[1]
		}
	}
	_, _ = io.Copy(io.Discard, stderr) // a line that was too long must not block moto
}

func waitUntilAnswers(endpoint string) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.Now().Add(motoTimeout)
	for {
		resp, err := client.Get(endpoint + "/moto-api/data.json")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %s", resp.Status)
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// motoEnv keeps the developer's own AWS settings and proxies away from the
// emulator, which itself delivers SNS messages over HTTP to loopback.
func motoEnv(env []string) []string {
	kept := make([]string, 0, len(env)+3)
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		upper := strings.ToUpper(name)
		if strings.HasPrefix(upper, "AWS_") || strings.HasPrefix(upper, "MOTO_") || strings.HasSuffix(upper, "_PROXY") {
			continue
		}
		kept = append(kept, e)
	}
	return append(kept, "AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=testing", "AWS_EC2_METADATA_DISABLED=true")
}

// tail keeps the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (l *tail) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	if len(l.lines) > 50 {
		l.lines = l.lines[1:]
	}
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
