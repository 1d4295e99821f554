// Package reload keeps what was read from a file in force: a changed file is
// taken up while the server runs, a broken one leaves the last good one.
package reload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"breakglass/internal/fileperm"
)

// Interval is how often Run looks at the file. Reading beats a notification
// from the kernel: it sees the swapped links of a Kubernetes ConfigMap, a
// replaced folder and a network file system alike, and costs microseconds.
const Interval = time.Second

// maxSize bounds what is read; the parsers refuse less.
const maxSize = 4 << 20

// Change tells of one reading of the file that differed from the one before.
type Change struct {
	Old, New string // SHA-256 in force before and after; empty: none
	Err      error  // why the file on disk is not in force
}

// File is a T read from a file, or from several that belong together. It is
// safe for concurrent use.
type File[T any] struct {
	path   string   // names it in messages
	paths  []string // that are read
	parse  func(data [][]byte) (T, error)
	notify func(Change)

	loading sync.Mutex // one reading at a time

	mu     sync.RWMutex
	value  T
	status Status
	seen   string // what was read last: a digest, or an error's text
	coming string // what Run saw last; guarded by loading
}

// Status says what is in force.
type Status struct {
	Path     string
	SHA256   string // of what is in force; empty: nothing is
	LoadedAt time.Time
	Err      error // why the file on disk is not in force; nil: it is
}

// Open reads the file for the first time. When that fails the File is usable
// all the same: it has no value until somebody mends the file. notify is told
// of every change, the first reading included, but not of the same failure
// twice.
func Open[T any](path string, parse func(name string, data []byte) (T, error), notify func(Change)) *File[T] {
	one := func(data [][]byte) (T, error) { return parse(path, data[0]) }
	return OpenSet([]string{path}, one, notify)
}

// OpenSet is Open for files that are only good together, such as a certificate
// and its key. parse gets their contents in the order of paths.
func OpenSet[T any](paths []string, parse func(data [][]byte) (T, error), notify func(Change)) *File[T] {
	f := &File[T]{path: paths[0], paths: paths, parse: parse, notify: notify, status: Status{Path: paths[0]}}
	f.Reload()
	return f
}

// Current returns the value in force; an error only when there never was one.
func (f *File[T]) Current() (T, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.status.SHA256 == "" {
		return f.value, fmt.Errorf("%s was never readable: %w", f.path, f.status.Err)
	}
	return f.value, nil
}

// Status returns what is in force and what is wrong with the file on disk.
func (f *File[T]) Status() Status {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.status
}

// Run reads the file again whenever it has changed, until ctx ends. A change
// counts when two looks agree on it: a file that is caught half-written can be
// valid and yet grant more than the whole one, for want of its last line.
func (f *File[T]) Run(ctx context.Context) {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.reload(true)
		}
	}
}

// Reload reads the file now.
func (f *File[T]) Reload() { f.reload(false) }

func (f *File[T]) reload(settled bool) {
	f.loading.Lock()
	defer f.loading.Unlock()
	data, digest, err := readSet(f.paths)
	seen := digest
	if err != nil {
		seen = "error: " + err.Error()
	}
	again := seen == f.coming
	f.coming = seen
	if seen == f.seen || settled && !again {
		return
	}
	f.seen = seen
	var value T
	if err == nil {
		value, err = f.parse(data)
	}
	f.mu.Lock()
	change := Change{Old: f.status.SHA256, New: f.status.SHA256, Err: err}
	if f.status.Err = err; err == nil {
		f.value, f.status.SHA256, f.status.LoadedAt = value, digest, time.Now()
		change.New = digest
	}
	f.mu.Unlock()
	f.notify(change)
}

// readSet reads the files. The digest of one is its SHA-256; that of several is
// the SHA-256 of theirs.
func readSet(paths []string) (data [][]byte, digest string, err error) {
	var sums []byte
	for _, path := range paths {
		content, err := Read(path)
		if err != nil {
			return nil, "", err
		}
		sum := sha256.Sum256(content)
		data, sums = append(data, content), append(sums, sum[:]...)
	}
	if len(paths) > 1 {
		sum := sha256.Sum256(sums)
		sums = sum[:]
	}
	return data, hex.EncodeToString(sums), nil
}

// Read reads a file whole. It refuses one that others than its owner may write,
// and one that is too large for a file of rules.
func Read(path string) (data []byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path) // opening a pipe would block for ever
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err = file.Stat(); err != nil { // of what is read, whatever the name stood for before
		return nil, err
	}
	if err := fileperm.Trusted(path, info); err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSize)
	}
	return data, err
}
