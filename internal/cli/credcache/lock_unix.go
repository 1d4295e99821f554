//go:build unix

package credcache

import (
	"os"
	"syscall"
)

// tryLock locks the open file. The lock ends with the file or the process.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
