package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// provenFor is how long a commit proves that the store takes more.
	provenFor = 30 * time.Second
	// probeEvery bounds how often a failing store is tried.
	probeEvery = time.Second
	// probeBytes is more than any one transaction needs, so that a disk on
	// which the probe fits has room for a real one.
	probeBytes = 64 << 10
)

// health is what the latest commit says about the store.
type health struct {
	mu    sync.Mutex
	err   error     // nil: the latest commit succeeded
	at    time.Time // of the latest commit
	tried time.Time // of the latest probe
}

func (h *health) succeeded(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.at = nil, now
}

func (h *health) failed(now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.at = err, now
}

// probe reports whether it is time to try, and the state if it isn't.
func (h *health) probe(now time.Time) (try bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	quiet := provenFor
	if h.err != nil {
		quiet = probeEvery
	}
	// A clock that was set back must not silence the probe, hence the lower bounds.
	if since := now.Sub(h.at); since >= 0 && since < quiet {
		return false, h.err
	}
	if since := now.Sub(h.tried); since >= 0 && since < probeEvery {
		return false, h.err
	}
	h.tried = now
	return true, h.err
}

// Ping reports whether the store can commit now. While transactions succeed
// that costs nothing. After half a minute without one, and about once a second
// while they fail, it commits a write of its own, large enough to need room on
// the disk; so a store that nobody asks any more because it reported itself not
// ready finds out when there is space again.
func (s *Store) Ping(ctx context.Context) error {
	s.mu.RLock()
	closed := s.closed
	s.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if err := s.sameFile(); err != nil {
		return err
	}
	try, err := s.health.probe(s.opts.Now())
	if try {
		err = s.apply(ctx, func(c *conn) error {
			_, err := c.exec("INSERT INTO probe (data) VALUES (randomblob(?))", int64(probeBytes))
			return err
		})
		if err == nil {
			err = s.apply(ctx, func(c *conn) error { _, err := c.exec("DELETE FROM probe"); return err })
		}
	}
	if err != nil {
		return fmt.Errorf("the latest write failed: %w", explainWrite(err))
	}
	return nil
}

// requestFault tells errors that lie in what was written from those of the
// disk or the file.
func requestFault(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	return false
}

// errDiskFull and its like say in words what SQLite says in codes.
var (
	errDiskFull = errors.New("the disk is full")
	errReadOnly = errors.New("the database can't be written to")
)

func explainWrite(err error) error {
	var words error
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		words = errDiskFull
	case sqlite3.SQLITE_READONLY:
		words = errReadOnly
	}
	if words == nil || errors.Is(err, words) {
		return err
	}
	return fmt.Errorf("%w: %w", words, err)
}
