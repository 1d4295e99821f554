package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// run runs a program that must succeed.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
}

// mount mounts a file system of its own for the test, which only root on Linux
// may do, and not in every container; else it ends the test as testenv.Require
// does.
func mount(t testing.TB, args ...string) (dir string) {
	t.Helper()
	testenv.Require(t, runtime.GOOS == "linux" && os.Geteuid() == 0, "needs root on Linux: it mounts a file system")
	dir = t.TempDir()
	out, err := exec.Command("mount", append(args, dir)...).CombinedOutput()
	testenv.Require(t, err == nil, fmt.Sprintf("needs to mount a file system: %v: %s", err, out))
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

// newTmpfs is a file system in memory that is soon full.
func newTmpfs(t testing.TB, size string) (dir string) {
	t.Helper()
	return mount(t, "-t", "tmpfs", "-o", "size="+size, "none")
}

// newExt4 is an ext4 in a file of its own.
func newExt4(t testing.TB, size int64) (dir, image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "ext4.img")
	f, err := os.Create(image)
	require.NoError(t, err)
	require.NoError(t, errors.Join(f.Truncate(size), f.Close()))
	out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput()
	testenv.Require(t, err == nil, fmt.Sprintf("needs mkfs.ext4: %v: %s", err, out))
	return mount(t, "-o", "loop", image), image
}

// fill writes to a file in dir until nothing fits any more, and returns its path.
func fill(t testing.TB, dir string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	require.NoError(t, err)
	defer func() { _ = f.Close() }() // whatever it holds is of no use
	for _, size := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = io.CopyN(f, zeros{}, int64(size))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	return ballast
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
