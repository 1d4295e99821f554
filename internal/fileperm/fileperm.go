// Package fileperm looks at who else may touch a file that the server trusts.
package fileperm

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

const (
	writableByOthers = 0o022
	readableByAll    = 0o004
)

// Trusted returns an error when more than its owner may write the file: who
// can write a policy grants access.
func Trusted(path string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	if !meaningful() || mode&writableByOthers == 0 {
		return nil
	}
	return fmt.Errorf("%s can be written by others than its owner (mode %04o), who could grant themselves access; chmod go-w it", path, mode)
}

// Exposed reports whether every user of the machine may read the file. A file
// that isn't there is not exposed.
func Exposed(path string) bool {
	info, err := os.Stat(path)
	return meaningful() && err == nil && info.Mode().Perm()&readableByAll != 0
}

// meaningful is false where Go makes the mode up.
func meaningful() bool { return runtime.GOOS != "windows" && runtime.GOOS != "plan9" }
