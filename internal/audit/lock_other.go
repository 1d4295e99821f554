//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package audit

import "os"

// lockFile does nothing where there is no flock: only bgctl is built for such systems.
func lockFile(*os.File) error { return nil }
