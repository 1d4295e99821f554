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
	usableByOthers   = 0o066
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

// Private returns an error when anybody but its owner may read or write the
// file: who reads a key can sign whatever it signs.
func Private(path string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	if !meaningful() || mode&usableByOthers == 0 {
		return nil
	}
	return fmt.Errorf("%s can be read or written by others than its owner (mode %04o), who could log in as anybody; make a new key, and chmod go= the file", path, mode)
}

// Exposed reports whether every user of the machine may read the file. A file
// that isn't there is not exposed.
func Exposed(path string) bool {
	info, err := os.Stat(path)
	return meaningful() && err == nil && info.Mode().Perm()&readableByAll != 0
}

// meaningful is false where Go makes the mode up.
func meaningful() bool { return runtime.GOOS != "windows" && runtime.GOOS != "plan9" }
