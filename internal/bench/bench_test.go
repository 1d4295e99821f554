package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// The environment of scripts/bench.sh.
const (
	envRun   = "BREAKGLASS_BENCH"       // 1: measure
	envTable = "BREAKGLASS_BENCH_TABLE" // file that the table is written to beside the log
)

// TestBench measures everything and prints one table. A figure that misses its
// target doesn't fail the run, and neither may it be hidden: it is marked.
func TestBench(t *testing.T) {
	if os.Getenv(envRun) != "1" {
		t.Skip("measures for minutes: run scripts/bench.sh, or set " + envRun + "=1")
	}
	before := loadAverage()
	var table table
	for _, part := range []struct {
		name    string
		measure func(t *testing.T) []row
	}{
		{"invoke", measureInvocations},
		{"credentials", measureCredentials},
		{"poll", measurePolls},
		{"history", measureHistory},
		{"webhook", measureWebhook},
		{"cli", measureCLI},
		{"memory", measureMemory},
		{"dynamodb", measureDynamoDB},
	} {
		t.Run(part.name, func(t *testing.T) {
			rows := part.measure(t)
			for _, r := range rows {
				t.Log(r)
			}
			table.rows = append(table.rows, rows...)
		})
	}
	table.head = fmt.Sprintf("breakglass, %s %s/%s, %d cores; load average of the machine %s before, %s after",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), before, loadAverage())
	t.Logf("\n%s", &table)
	if path := os.Getenv(envTable); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(table.String()), 0o600))
	}
}

// loadAverage is that of the last minute, as the kernel says it.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// cache is a folder on the disk of the checkout: a temporary folder may be one
// in memory, where a commit costs nothing.
func cache(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(testenv.Root(t), ".cache", "bench")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// scratch is a folder in the cache that goes with the test.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(cache(t), "run-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
