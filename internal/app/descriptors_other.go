//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package app

import "math"

func descriptors() int { return math.MaxInt32 }
