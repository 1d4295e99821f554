package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// errLimit is a mistake of the calling program: a listing without a bound.
var errLimit = errors.New("the limit of a listing must be at least 1")

// publish announces a new head: first the number, then the wake-up, so that
// whoever wakes up sees it.
func (s *Store) publish(h head) {
	s.latest.Store(h.highWater)
	s.head.Store(h.seq)
	next := make(chan struct{})
	close(*s.changed.Swap(&next))
}

// Head implements breakglass.Journal. It reads memory only.
func (s *Store) Head(context.Context) (int64, error) { return s.head.Load(), nil }

// LatestEntryTime implements breakglass.Store. It reads memory only.
func (s *Store) LatestEntryTime(context.Context) (time.Time, error) {
	if s.head.Load() == 0 {
		return time.Time{}, nil
	}
	return fromMicros(s.latest.Load()), nil
}

// Wait implements breakglass.Journal. It returns ErrClosed when the store is
// closed meanwhile.
func (s *Store) Wait(ctx context.Context, after int64) error {
	for {
		changed := s.changed.Load() // before the look at the head, so that no change falls between
		if s.head.Load() > after {
			return nil
		}
		select {
		case <-*changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			if s.head.Load() > after {
				return nil
			}
			return ErrClosed
		}
	}
}

const (
	// window is how many entries a search that no single index answers goes
	// through at a time.
	window = 20_000
	// searchTime ends such a search early; the reader continues from there.
	searchTime = 200 * time.Millisecond
)

// Entries implements breakglass.Journal. A search with several filters that
// finds little may return early with a through before the head; continuing
// after it finds the rest.
func (s *Store) Entries(ctx context.Context, q breakglass.EntryQuery) ([]breakglass.LogEntry, int64, error) {
	// Entries up to this head are committed and never change, so the reads
	// below agree with each other without a common snapshot.
	head := s.head.Load()
	if q.Limit < 1 {
		return nil, 0, errLimit
	}
	if q.After >= head {
		return nil, q.After, nil
	}
	end, err := s.searchEnd(ctx, q, head)
	if err != nil {
		return nil, 0, s.readError("the audit trail", err)
	}
	entries, through, err := s.search(ctx, q, end)
	if err != nil {
		return nil, 0, s.readError("the audit trail", err)
	}
	if through >= end && len(entries) < q.Limit {
		through = head // nothing behind the end is asked for
	}
	return entries, through, nil
}

// searchEnd is the seq up to which the query asks.
func (s *Store) searchEnd(ctx context.Context, q breakglass.EntryQuery, head int64) (int64, error) {
	if q.Until.IsZero() {
		return head, nil
	}
	until := micros(q.Until)
	if fromMicros(until).Before(q.Until) {
		until++
	}
	return s.before(ctx, max(q.After, 0), head, until)
}

func (s *Store) search(ctx context.Context, q breakglass.EntryQuery, last int64) (entries []breakglass.LogEntry, through int64, err error) {
	filters := entryFilters(q)
	after, step := max(q.After, 0), last
	if !q.Since.IsZero() {
		if after, err = s.before(ctx, after, last, micros(q.Since)); err != nil {
			return nil, 0, err
		}
	}
	if len(filters) > 1 {
		step = window
	}
	for start := s.opts.Now(); after < last; {
		end := min(last, after+step)
		found, err := s.page(ctx, filters, after, end, q.Limit-len(entries))
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, found...)
		if len(entries) == q.Limit {
			return entries, entries[q.Limit-1].Seq, nil
		}
		if after = end; s.opts.Now().Sub(start) > searchTime {
			break
		}
	}
	return entries, after, nil
}

// sqlBefore halves (low, high] until one seq is left.
const sqlBefore = `WITH RECURSIVE range (low, high) AS (
		SELECT ?, ?
		UNION ALL
		SELECT iif(e.high_water < ?, e.seq, low), iif(e.high_water < ?, high, e.seq)
			FROM range JOIN entries AS e ON e.seq = low + (high - low) / 2 WHERE low + 1 < high
	) SELECT high - 1 FROM range WHERE low + 1 >= high`

// before returns the seq before the first entry in (after, head] that can be as
// late as since: everything up to it is earlier. high_water never falls as seq
// rises, which makes it a bisection.
func (s *Store) before(ctx context.Context, after, head, since int64) (seq int64, err error) {
	rows, err := s.read.query(ctx, sqlBefore, after, head+1, since, since) // head+1 stands for "none"
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return 0, errors.Join(errors.New("the trail has a gap"), rows.Err())
	}
	return seq, rows.Scan(&seq)
}

type entryFilter struct {
	sql   string
	value any
}

// entryFilters lists the conditions, the one whose index is to be used first.
func entryFilters(q breakglass.EntryQuery) []entryFilter {
	var f []entryFilter
	if q.Invoker != "" {
		f = append(f, entryFilter{"invoker = ?", q.Invoker})
	}
	if q.Profile != "" {
		f = append(f, entryFilter{"profile = ?", q.Profile})
	}
	if q.Event != "" {
		f = append(f, entryFilter{"event = ?", string(q.Event)})
	}
	if !q.Since.IsZero() {
		f = append(f, entryFilter{"recorded_at >= ?", micros(q.Since)})
	}
	return f
}

// entrySQL is the text of a page. Only the first filter may choose an index:
// the unary plus keeps the planner from using the others.
func entrySQL(filters []entryFilter) string {
	text := `SELECT seq, body, hash FROM entries WHERE seq > ? AND seq <= ?`
	for i, f := range filters {
		if i == 0 {
			text += " AND " + f.sql
		} else {
			text += " AND +" + f.sql
		}
	}
	return text + ` ORDER BY seq LIMIT ?`
}

// damaged names an entry that can't even be read, so that whoever verifies the
// trail learns where it was tampered with.
func damaged(seq int64, err error) error {
	return &breakglass.Error{Code: breakglass.CodeUnavailable, Cause: err,
		Message: fmt.Sprintf("Audit entry %d is damaged: its row was changed in the database behind the server's back. "+
			"Keep the file as evidence; earlier entries, and later ones, can still be read (after=%d).", seq, seq)}
}

func (s *Store) page(ctx context.Context, filters []entryFilter, after, end int64, limit int) (_ []breakglass.LogEntry, err error) {
	args := []any{after, end}
	for _, f := range filters {
		args = append(args, f.value)
	}
	rows, err := s.read.query(ctx, entrySQL(filters), append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var entries []breakglass.LogEntry
	for rows.Next() {
		var seq int64
		var body, hash string
		if err := rows.Scan(&seq, &body, &hash); err != nil {
			return nil, err
		}
		e, err := decodeEntry(body, hash)
		if err != nil {
			return nil, damaged(seq, err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
