package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// smallDisk mounts a file system of its own, which only root may. What needs no
// disk of its own is in fault_test.go.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options)
	testenv.Require(t, err == nil, fmt.Sprintf("needs root on Linux to mount a small disk: %v", err))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func TestAFullDiskFailsCleanlyAndRecovers(t *testing.T) {
	dir := smallDisk(t, "size=4m")
	path := filepath.Join(dir, "a.db")
	s, now := openWithClock(t, path)
	granted, errs := grantMany(t, s, "a", 1)
	require.Empty(t, errs)

	filler := filepath.Join(dir, "filler")
	fill := func() {
		f, err := os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		require.NoError(t, err)
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, f.Close())
	}
	fill()
	more, errs := grantMany(t, s, "b", 500)
	require.Len(t, errs, 16)
	for _, err := range errs {
		require.True(t, errors.Is(err, errDiskFull) || code(err) == 10 /* SQLITE_IOERR */, err)
	}
	granted = append(granted, more...)
	requireAll(t, s, granted) // reading goes on
	require.Error(t, s.Ping(t.Context()), "not ready")
	now.advance(2 * probeEvery)
	require.Error(t, s.Ping(t.Context()), "the probe finds it still full")

	require.NoError(t, os.Remove(filler))
	now.advance(2 * probeEvery)
	require.NoError(t, s.Ping(t.Context()), "the probe finds room again")
	more, errs = grantMany(t, s, "c", 3)
	require.Empty(t, errs)
	granted = append(granted, more...)
	requireAll(t, s, granted)

	// Killed while the disk is full: everything acknowledged is there.
	fill()
	more, errs = grantMany(t, s, "d", 500)
	require.Len(t, errs, 16)
	granted = append(granted, more...)
	crashed := filepath.Join(t.TempDir(), "crashed.db")
	copyAsIs(t, path, crashed)
	c := openTest(t, crashed)
	for _, ev := range granted {
		_, err := c.Event(t.Context(), ev.ID)
		require.NoError(t, err)
	}
	requireWhole(t, c)
	require.NoError(t, os.Remove(filler))
}

func TestAReadOnlyDiskIsRefusedInWords(t *testing.T) {
	dir := smallDisk(t, "size=4m")
	path := filepath.Join(dir, "a.db")
	s := openTest(t, path)
	require.NoError(t, grant(t, s, event("alice", "prod")))
	require.NoError(t, s.Close())
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err := Open(t.Context(), path, Options{})
	require.ErrorContains(t, err, "read-only file system")
	_, err = Open(t.Context(), filepath.Join(dir, "new.db"), Options{})
	require.ErrorContains(t, err, "read-only file system")
}
