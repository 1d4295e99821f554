//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package sqlite

import (
	"fmt"
	"os"
	"runtime"
)

// acquire refuses: without a lock a second server would break the audit trail.
func acquire(path string) (*os.File, error) {
	return nil, fmt.Errorf("lock %s: the SQLite store needs advisory file locks, which it doesn't know how to take on %s",
		path, runtime.GOOS)
}
