package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"breakglass/internal/breakglass"
	"breakglass/internal/store/transfer"
)

// Dump writes everything in the database as of one instant, also while a
// server runs: a read transaction sees nothing of what is committed after it
// has begun.
func (b *Beside) Dump(ctx context.Context, out io.Writer) (transfer.Header, error) {
	tx, err := b.s.read.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return transfer.Header{}, b.s.readError("the database", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	d := dump{ctx: ctx, tx: tx}
	if err := d.run(out); err != nil {
		return d.header, fmt.Errorf("export %s: %w", b.s.path, err)
	}
	return d.header, nil
}

type dump struct {
	ctx    context.Context
	tx     *sql.Tx
	header transfer.Header
	out    *transfer.Writer
}

func (d *dump) run(out io.Writer) (err error) {
	if err := d.ours(); err != nil {
		return err
	}
	d.header.Source = "sqlite"
	h, c := &d.header.Head, &d.header.Counts
	err = d.tx.QueryRowContext(d.ctx, `SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM entries),
		(SELECT count(*) FROM deliveries), (SELECT count(*) FROM idempotency), (SELECT count(*) FROM factors),
		(SELECT count(*) FROM access_requests)`).
		Scan(&c.Events, &c.Entries, &c.Deliveries, &c.Idempotency, &c.Factors, &c.Requests)
	if err != nil {
		return err
	}
	err = d.tx.QueryRowContext(d.ctx, `SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1`).Scan(&h.Seq, &h.Hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if h.Seq != c.Entries {
		return fmt.Errorf("the audit trail has %d entries, but the newest has the number %d: some are missing; keep the file as evidence", c.Entries, h.Seq)
	}
	if d.out, err = transfer.NewWriter(out, d.header); err != nil {
		return err
	}
	for after, more := int64(0), true; more; {
		if after, more, err = d.page(after); err != nil {
			return err
		}
	}
	if err := d.idempotency(); err != nil {
		return err
	}
	if err := d.factors(); err != nil {
		return err
	}
	return d.out.Close()
}

// ours refuses databases that this program has to bring up to date first.
func (d *dump) ours() error {
	var app int64
	var version string
	err := d.tx.QueryRowContext(d.ctx, `SELECT application_id FROM pragma_application_id`).Scan(&app)
	if err == nil && app != applicationID {
		return errors.New("this is not a database of breakglassd")
	}
	if err == nil {
		err = d.tx.QueryRowContext(d.ctx, `SELECT value FROM meta WHERE key = 'schema_version'`).Scan(&version)
	}
	if known := fmt.Sprint(len(migrations())); err == nil && version != known {
		return fmt.Errorf("the database has schema version %s, and this program exports version %s: start the server on it once", version, known)
	}
	return err
}

// pageEntries is how many entries are in memory at a time.
const pageEntries = 500

// page writes the entries that come next.
func (d *dump) page(after int64) (last int64, more bool, err error) {
	entries, err := d.entries(after)
	if err != nil || len(entries) == 0 {
		return after, false, err
	}
	last = entries[len(entries)-1].Log.Seq
	if err := d.deliveries(entries, after, last); err != nil {
		return last, false, err
	}
	for _, e := range entries {
		switch e.Log.Event {
		case breakglass.EntryInvoked:
			e.Event, err = d.event(e.Log.EventID)
		case breakglass.EntryRequestCreated:
			e.Request, err = d.request(e.Log.Detail[breakglass.DetailAccessRequestID])
		}
		if err != nil {
			return last, false, err
		}
		if err := d.out.Entry(*e); err != nil {
			return last, false, err
		}
	}
	return last, true, nil
}

func (d *dump) entries(after int64) (_ []*transfer.Entry, err error) {
	rows, err := d.tx.QueryContext(d.ctx, `SELECT seq, body, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?`, after, pageEntries)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var entries []*transfer.Entry
	for rows.Next() {
		e := &transfer.Entry{}
		var seq int64
		if err := rows.Scan(&seq, &e.Body, &e.Hash); err != nil {
			return nil, err
		}
		if e.Log, err = decodeEntry(string(e.Body), e.Hash); err != nil {
			return nil, damaged(seq, err)
		}
		e.Log.Seq = seq
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// deliveries adds what the sinks have not taken to the entries in (after, last].
func (d *dump) deliveries(entries []*transfer.Entry, after, last int64) (err error) {
	rows, err := d.tx.QueryContext(d.ctx, `SELECT seq, sink, next_attempt, attempts, dead, last_error, event FROM deliveries
		WHERE seq > ? AND seq <= ? ORDER BY seq, sink`, after, last)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for i := 0; rows.Next(); {
		var seq, due int64
		var dead bool
		var snapshot string
		v := transfer.Delivery{}
		if err := rows.Scan(&seq, &v.Sink, &due, &v.Attempts, &dead, &v.LastError, &snapshot); err != nil {
			return err
		}
		v.NextAttempt, v.Dead = fromMicros(due), dead
		for i < len(entries)-1 && entries[i].Log.Seq < seq {
			i++
		}
		e := entries[i]
		if e.Log.Seq != seq || len(e.Deliveries) > 0 && e.Snapshot != snapshot {
			return fmt.Errorf("the delivery of entry %d to %q is damaged", seq, v.Sink)
		}
		e.Deliveries, e.Snapshot = append(e.Deliveries, v), snapshot
	}
	return rows.Err()
}

func (d *dump) event(id string) (*breakglass.Event, error) {
	ev, err := scanEvent(d.tx.QueryRowContext(d.ctx, sqlEvent, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // the entry's check says so
	}
	return &ev, err
}

func (d *dump) request(id string) (*breakglass.AccessRequest, error) {
	r, err := scanAccessRequest(d.tx.QueryRowContext(d.ctx, sqlAccessRequest, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // the entry's check says so
	}
	return &r, err
}

func (d *dump) idempotency() (err error) {
	rows, err := d.tx.QueryContext(d.ctx, `SELECT caller, key, fingerprint, event_id, created_at FROM idempotency ORDER BY caller, key`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r breakglass.Idempotent
		var created int64
		if err := rows.Scan(&r.Caller, &r.Key, &r.Fingerprint, &r.EventID, &created); err != nil {
			return err
		}
		r.CreatedAt = fromMicros(created)
		if err := d.out.Idempotent(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (d *dump) factors() (err error) {
	rows, err := d.tx.QueryContext(d.ctx, `SELECT `+factorColumns+` FROM factors ORDER BY name`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		f, err := scanFactor(rows)
		if err != nil {
			return err
		}
		if err := d.out.Factor(f); err != nil {
			return err
		}
	}
	return rows.Err()
}
