package sqlite

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// head is the end of the audit trail.
type head struct {
	seq       int64
	hash      string
	latest    time.Time // the latest timestamp of any entry; zero when there is none
	highWater int64     // the same in microseconds
}

// connect opens the connection, brings the schema up to date and reads the head.
func (w *writer) connect() (err error) {
	if w.c, err = dial(w.s.path, w.s.opts.pragmas()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.disconnect())
		}
	}()
	if err := migrate(w.c, w.steps); err != nil {
		return err
	}
	if err := w.c.prepareAll(); err != nil {
		return err
	}
	return w.loadHead()
}

// reconnect opens the same file again, and no other: the readers still have the
// first one open.
func (w *writer) reconnect() error {
	if err := w.s.sameFile(); err != nil {
		return err
	}
	return w.connect()
}

func (w *writer) disconnect() error {
	if w.c == nil {
		return nil
	}
	err := w.c.close()
	w.c = nil
	return err
}

// sameFile notices that the database file was removed or replaced under the
// server, which SQLite itself doesn't.
func (s *Store) sameFile() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("the database file is gone: %w", err)
	}
	if !os.SameFile(info, s.opened) {
		return fmt.Errorf("%s was replaced while the server runs; restart it", s.path)
	}
	return nil
}

// loadHead reads the end of the trail and checks that it fits together, so that
// nothing is ever chained to a damaged or edited end.
func (w *writer) loadHead() error {
	h := head{hash: audit.GenesisHash}
	var body string
	var entry breakglass.LogEntry
	err := w.c.one(`SELECT seq, high_water, body, hash FROM entries ORDER BY seq DESC LIMIT 1`, func(v []driver.Value) {
		h.seq, _ = v[0].(int64)
		h.highWater, _ = v[1].(int64)
		body, _ = v[2].(string)
		h.hash, _ = v[3].(string)
	})
	if err != nil {
		return err
	}
	if h.seq != 0 || body != "" {
		if entry, err = decodeEntry(body, h.hash); err != nil {
			return err
		}
		if entry.Seq != h.seq || audit.Hash(entry) != h.hash {
			return fmt.Errorf("the newest entry of the audit trail (%d) doesn't match its hash: the database was changed "+
				"by something else; restore a backup, or keep it as evidence and start with a new file", h.seq)
		}
		h.latest = fromMicros(h.highWater)
	}
	w.head = h
	if h.seq > w.s.head.Load() { // a commit that reported a failure may have happened
		w.s.publish(h)
	}
	return nil
}
