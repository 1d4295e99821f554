// Package version says which build this is.
package version

import "runtime"

// Set by the linker.
var (
	Version = "dev"
	Commit  = "unknown"
)

// Go is the version of the toolchain that built the program.
func Go() string { return runtime.Version() }
