// Package filelock keeps two runs of bgctl from changing the same file at the
// same time. A lock ends with the process that holds it.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrBusy says that another process holds the lock.
var ErrBusy = errors.New("another bgctl is at work on it")

const look = 20 * time.Millisecond

// Lock takes the lock that path names, a file made for the purpose, and waits
// for it up to patience.
func Lock(ctx context.Context, path string, patience time.Duration) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for tryLock(f) != nil {
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("%s: %w", path, ErrBusy)
		case <-time.After(look):
		}
	}
	return func() { _ = f.Close() }, nil // which unlocks
}
