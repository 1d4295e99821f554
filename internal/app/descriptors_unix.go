//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package app

import (
	"math"
	"syscall"
)

// descriptors is how many files this process may have open. Go has raised the
// soft limit to the hard one before main.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // the least that systems give
	}
	return int(min(limit.Cur, math.MaxInt32)) //nolint:unconvert // its type differs between systems
}
