package bench

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

const (
	memoryIdle = 3 * time.Second
	memoryLoad = 6 * time.Second
)

// measureMemory reads the resident memory of a real server: at rest after its
// start, while 64 people invoke, check, fetch credentials, list, poll and close
// without a pause, and at most.
func measureMemory(t *testing.T) []row {
	t.Setenv("CGO_ENABLED", "0") // as `make build` does
	st := site{dir: scratch(t), users: 64, profiles: 50, sinks: "    - {name: journal, type: log}\n"}
	pid, addr := startProcess(t, st)
	rest := rested(t, pid)
	calls, busy := 0, 0
	var wg sync.WaitGroup
	end := time.Now().Add(memoryLoad)
	made := make([]int, st.users)
	errs := make([]error, st.users)
	for i := range st.users {
		c := dial(t, addr)
		wg.Go(func() { made[i], errs[i] = work(c, user(i), profile(i%st.profiles), end) })
	}
	for tick := time.NewTicker(100 * time.Millisecond); time.Now().Before(end); <-tick.C {
		busy = max(busy, memory(t, pid, "VmRSS"))
	}
	wg.Wait()
	for i := range errs {
		require.NoError(t, errs[i])
		calls += made[i]
	}
	return []row{
		{what: "resident memory of breakglassd, at rest", measured: mebibytes(rest)},
		{what: "  with 64 busy callers", measured: fmt.Sprintf("%s (%.0f calls/s)", mebibytes(busy), float64(calls)/memoryLoad.Seconds())},
		{what: "  at most", measured: mebibytes(memory(t, pid, "VmHWM"))},
	}
}

// rested is the memory after a while without calls.
func rested(t testing.TB, pid int) int {
	t.Helper()
	time.Sleep(memoryIdle) // nothing tells that a garbage collector will do no more
	return memory(t, pid, "VmRSS")
}

// work is what somebody does with a server until the end.
func work(c *conn, who, what string, end time.Time) (calls int, err error) {
	do := func(status int, method, path, body string) []byte {
		if err != nil {
			return nil
		}
		var got int
		var answer []byte
		if got, answer, err = c.do(request(method, path, token(who), body)); err == nil && got != status {
			err = fmt.Errorf("%s %s: %d %s", method, path, got, answer)
		}
		calls++
		return answer
	}
	for err == nil && time.Now().Before(end) {
		status, body, failed := c.do(invocation(who, what))
		if failed != nil || status != http.StatusCreated {
			return calls, fmt.Errorf("invoke: %d %s %w", status, body, failed)
		}
		calls++
		path := "/v1/breakglass/" + eventID(body)
		do(http.StatusOK, http.MethodGet, path, "")
		do(http.StatusOK, http.MethodPost, path+"/credentials", "")
		do(http.StatusOK, http.MethodGet, "/v1/breakglass?limit=20", "")
		do(http.StatusOK, http.MethodPost, path+"/close", `{"reason":"over"}`)
	}
	return calls, err
}

// memory is a figure of /proc/PID/status, in KiB.
func memory(t testing.TB, pid int, name string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("needs /proc: Linux alone has it")
	}
	for line := range strings.Lines(string(b)) {
		if key, value, _ := strings.Cut(line, ":"); key == name {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			require.NoError(t, err)
			return kib
		}
	}
	require.FailNow(t, "no "+name, "%s", b)
	return 0
}

func mebibytes(kib int) string { return fmt.Sprintf("%.0f MiB", float64(kib)/1024) }

// startProcess starts breakglassd and waits until it listens.
func startProcess(t testing.TB, s site) (pid int, addr string) {
	t.Helper()
	bin := testenv.Build(t, "./cmd/breakglassd")
	file := filepath.Join(s.dir, "addr")
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	require.NoError(t, err)
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(bin, "--config", s.write(t), "--addr-file", file)
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(file)
		addr = strings.TrimSpace(string(b))
		return err == nil && addr != ""
	}, 30*time.Second, 10*time.Millisecond, "it does not listen; see %s", log.Name())
	return cmd.Process.Pid, addr
}
