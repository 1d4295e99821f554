package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"breakglass/internal/breakglass"
	"breakglass/internal/store/transfer"
)

// Restore fills an empty database with what Dump of any engine has written; it
// creates the file when there is none. Everything is one transaction, which
// commits once the whole export is verified: a failure leaves an empty
// database.
func Restore(ctx context.Context, path string, in io.Reader) (_ transfer.Header, err error) {
	r, err := transfer.NewReader(in)
	if err != nil {
		return transfer.Header{}, err
	}
	if path, err = prepare(path); err != nil {
		return r.Header(), err
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return r.Header(), err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := ensureFile(path); err != nil {
		return r.Header(), err
	}
	c, err := dial(path, writePragmas())
	if err != nil {
		return r.Header(), explain(path, err)
	}
	defer func() { err = errors.Join(err, c.close()) }() // checkpoints the log, too
	if err := migrate(c, migrations()); err != nil {
		return r.Header(), explain(path, err)
	}
	if err := c.prepareAll(); err != nil {
		return r.Header(), explain(path, err)
	}
	if err := c.begin.exec(); err != nil {
		return r.Header(), explain(path, err)
	}
	s := restore{ctx: ctx, c: c}
	if err = s.run(r); err == nil {
		err = c.commit.exec()
	}
	if err != nil {
		_ = c.rollback.exec() // closing the connection does the same
		return r.Header(), fmt.Errorf("nothing was imported: %w", explainWrite(err))
	}
	return r.Header(), nil
}

type restore struct {
	ctx  context.Context
	c    *conn
	high int64 // latest timestamp of any entry so far, in microseconds

	putEvent, putRequest, putDelivery *stmt
}

func (s *restore) run(r *transfer.Reader) (err error) {
	var there int64
	err = s.c.one(`SELECT EXISTS (SELECT 1 FROM events) + EXISTS (SELECT 1 FROM entries) + EXISTS (SELECT 1 FROM idempotency)
		+ EXISTS (SELECT 1 FROM factors) + EXISTS (SELECT 1 FROM access_requests)`,
		func(v []driver.Value) { there, _ = v[0].(int64) })
	if err != nil {
		return err
	}
	if there > 0 {
		return errors.New("the database already holds events or audit entries; an import needs an empty one")
	}
	// Without the hot path's ON CONFLICT: nothing must come twice.
	insertEvent, _, _ := strings.Cut(sqlPutEvent, "ON CONFLICT")
	insertRequest, _, _ := strings.Cut(sqlPutAccessRequest, "ON CONFLICT")
	for _, p := range []struct {
		to   **stmt
		text string
	}{
		{&s.putEvent, insertEvent},
		{&s.putRequest, insertRequest},
		{&s.putDelivery, `INSERT INTO deliveries (seq, sink, next_attempt, attempts, dead, last_error, event) VALUES (?, ?, ?, ?, ?, ?, ?)`},
	} {
		if *p.to, err = s.c.prepare(p.text); err != nil {
			return err
		}
		s.c.open = append(s.c.open, *p.to)
	}
	return r.Each(s.entry, s.idempotent, s.factor)
}

func (s *restore) entry(e transfer.Entry) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	at := micros(e.Log.Timestamp)
	if s.high = max(s.high, at); e.Log.Seq == 1 {
		s.high = at
	}
	err := s.c.putEntry.exec(e.Log.Seq, string(e.Log.Event), e.Log.Invoker, e.Log.Profile, at, s.high, string(e.Body), e.Hash)
	if err == nil && e.Event != nil {
		err = putEvent(s.putEvent, e.Event)
	}
	if err == nil && e.Request != nil {
		err = putAccessRequest(s.putRequest, e.Request)
	}
	for _, d := range e.Deliveries {
		if err != nil {
			break
		}
		err = s.putDelivery.exec(e.Log.Seq, d.Sink, micros(d.NextAttempt), int64(d.Attempts), flag(d.Dead), d.LastError, e.Snapshot)
	}
	if err != nil {
		return fmt.Errorf("audit entry %d: %w", e.Log.Seq, err)
	}
	return nil
}

func (s *restore) idempotent(r breakglass.Idempotent) error {
	return s.c.putIdem.exec(r.Caller, r.Key, r.Fingerprint, r.EventID, micros(r.CreatedAt))
}

func (s *restore) factor(f breakglass.Factor) error { return putFactor(s.c, &f) }
