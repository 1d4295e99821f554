package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuildMakesABinaryOnceAndRemovesThoseOfEndedProcesses(t *testing.T) {
	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	base := filepath.Join(Root(t), ".cache", "testbin")
	leftover := filepath.Join(base, strconv.Itoa(ended.Process.Pid))
	running := filepath.Join(base, strconv.Itoa(os.Getppid()))
	require.NoError(t, os.MkdirAll(leftover, 0o755))
	require.NoError(t, os.MkdirAll(running, 0o755))
	t.Cleanup(func() { _ = os.Remove(running) })

	path := Build(t, "./internal/testenv/testdata/hello")
	out, err := exec.Command(path).Output()
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(out))
	assert.NoDirExists(t, leftover)
	assert.DirExists(t, running, "a running process lost its binaries")

	before, err := os.Stat(path)
	require.NoError(t, err)
	again := Build(t, "./internal/testenv/testdata/hello")
	after, err := os.Stat(again)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
	assert.Equal(t, before.ModTime(), after.ModTime(), "built a second time")
}
