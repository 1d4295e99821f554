//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// acquire takes the lock file, which stays behind when it is released: removing
// it would let two servers lock two files of the same name. The lock itself
// ends with the process, however that ends.
func acquire(path string) (*os.File, error) {
	f, err := openPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := "another process"
		if pid := readPID(f); pid != "" {
			holder = "process " + pid
		}
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by %s: only one server may run on a database file; stop it first",
				strings.TrimSuffix(path, ".lock"), holder)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Who holds the lock is a help for the message above and nothing more, so
	// a full disk must not stop a server from starting to read.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func readPID(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid := string(bytes.TrimSpace(b[:n]))
	if _, err := strconv.Atoi(pid); err != nil {
		return ""
	}
	return pid
}
