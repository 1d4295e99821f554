package bench

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

const cliRuns = 300

// measureCLI compares the wall time of bgctl with that of a program that does
// nothing, built in the same way. The server is stopped before the warm calls:
// what they print comes from the cache.
func measureCLI(t *testing.T) []row {
	t.Setenv("CGO_ENABLED", "0") // as `make build` does
	bgctl, nothing := testenv.Build(t, "./cmd/bgctl"), buildNothing(t)
	home := t.TempDir()
	s := site{dir: scratch(t), users: 1, profiles: 1}.start(t)
	env := []string{"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"BGCTL_SERVER=http://" + s.addr, "BGCTL_TOKEN=" + token(user(0))}
	dial(t, s.addr).must(t, http.StatusCreated, invocation(user(0), profile(0)))
	cmd := exec.Command(bgctl, "credentials", profile(0))
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "SecretAccessKey")
	s.stop()

	version := row{what: "bgctl --version", target: 2}
	credentials := row{what: "bgctl credentials PROFILE, cached", target: 3}
	var base, v, c []float64
	for range cliRuns {
		b := wall(t, env, nothing)
		base = append(base, b)
		v = append(v, wall(t, env, bgctl, "--version"))
		c = append(c, wall(t, env, bgctl, "credentials", profile(0)))
	}
	// Single runs of milliseconds vary more than programs do: compare medians
	// of groups.
	const group = cliRuns / 10
	for i := 0; i < cliRuns; i += group {
		b := median(base[i : i+group])
		version.ratios = append(version.ratios, median(v[i:i+group])/b)
		credentials.ratios = append(credentials.ratios, median(c[i:i+group])/b)
	}
	version.yardstick = short(seconds(median(base))) + ", empty Go program"
	credentials.yardstick = version.yardstick
	version.measured, credentials.measured = short(seconds(median(v))), short(seconds(median(c)))
	return []row{version, credentials}
}

// wall is how long a program runs that must succeed, in seconds.
func wall(t testing.TB, env []string, name string, args ...string) float64 {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = env
	begun := time.Now()
	err := cmd.Run()
	took := time.Since(begun)
	require.NoError(t, err, name)
	return took.Seconds()
}

// buildNothing builds a program that ends at once.
func buildNothing(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600))
	bin := filepath.Join(dir, "nothing")
	out, err := exec.Command("go", "build", "-o", bin, source).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}
