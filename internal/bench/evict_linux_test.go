package bench

import (
	"os"
	"syscall"
)

// evict drops a file from the memory of the operating system, as happens to
// what nobody reads for long.
func evict(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // everything is written by then
	if err := f.Sync(); err != nil { // only what is on disk can be dropped
		return err
	}
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
