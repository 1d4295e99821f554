package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// Event implements breakglass.Store.
func (s *Store) Event(ctx context.Context, id string) (breakglass.Event, error) {
	events, err := s.events(ctx, sqlEvent, id)
	if err != nil {
		return breakglass.Event{}, err
	}
	if len(events) == 0 {
		return breakglass.Event{}, breakglass.ErrNotFound
	}
	return events[0], nil
}

// Events implements breakglass.Store.
func (s *Store) Events(ctx context.Context, q breakglass.EventQuery) ([]breakglass.Event, error) {
	if q.Limit < 1 {
		return nil, errLimit
	}
	text, args := eventsSQL(q)
	return s.events(ctx, text, args...)
}

func (s *Store) events(ctx context.Context, text string, args ...any) ([]breakglass.Event, error) {
	events, err := s.scanEvents(ctx, text, args)
	if err != nil {
		return nil, s.readError("events", err)
	}
	return events, nil
}

func (s *Store) scanEvents(ctx context.Context, text string, args []any) (_ []breakglass.Event, err error) {
	rows, err := s.read.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var events []breakglass.Event
	for rows.Next() {
		ev, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		events = append(events, ev)
	}
	return events, rows.Err()
}

// eventsSQL is the listing as SQL. A derived status is a union of what is
// stored as such and, for expired, of what is stored as active and has lapsed:
// each part comes from an index in the order of the listing, and SQLite merges
// them. One OR over both would read and sort everything.
func eventsSQL(q breakglass.EventQuery) (string, []any) {
	var b listingBuilder
	switch q.Status {
	case breakglass.StatusActive:
		b.events(q, breakglass.StatusActive, "expires_at > ?")
	case breakglass.StatusExpired:
		b.events(q, breakglass.StatusExpired, "")
		b.text.WriteString(" UNION ALL ")
		b.events(q, breakglass.StatusActive, "expires_at <= ?")
	default:
		b.events(q, q.Status, "")
	}
	return b.end(q.Limit)
}

type listingBuilder struct {
	text strings.Builder
	args []any
}

// events is one SELECT over events stored with the given status ("" for any).
func (b *listingBuilder) events(q breakglass.EventQuery, stored breakglass.Status, lapse string) {
	b.text.WriteString("SELECT " + eventColumns + " FROM events INDEXED BY " + eventsIndex(q, stored) + " WHERE TRUE")
	b.when(q.Invoker != "", "invoker = ?", q.Invoker)
	b.when(q.Profile != "", "profile = ?", q.Profile)
	b.when(q.ReasonCode != "", "reason_code = ?", string(q.ReasonCode))
	b.when(stored != "", "status = ?", string(stored))
	b.when(lapse != "", lapse, micros(q.Now))
	b.when(!q.Since.IsZero(), "created_at >= ?", micros(q.Since))
	b.before(upperEnd(q))
}

// before ends the listing before that place; without an id, before that instant.
func (b *listingBuilder) before(end *breakglass.Position) {
	switch {
	case end == nil:
	case end.ID == "":
		b.when(true, "created_at < ?", micros(end.CreatedAt))
	default:
		b.when(true, "(created_at, id) < (?, ?)", micros(end.CreatedAt), end.ID)
	}
}

func (b *listingBuilder) end(limit int) (string, []any) {
	b.text.WriteString(" ORDER BY created_at DESC, id DESC LIMIT ?")
	return b.text.String(), append(b.args, limit)
}

func (b *listingBuilder) when(applies bool, condition string, args ...any) {
	if applies {
		b.text.WriteString(" AND " + condition)
		b.args = append(b.args, args...)
	}
}

// upperEnd is the nearer of cursor and Until: one bound that the index serves,
// instead of two of which one would be checked row by row.
func upperEnd(q breakglass.EventQuery) *breakglass.Position {
	end := q.Before
	if !q.Until.IsZero() && (end == nil || !end.CreatedAt.Before(q.Until)) {
		end = &breakglass.Position{CreatedAt: q.Until}
	}
	return end
}

// eventsIndex chooses the index; every one of them has the listing's order.
// Few events are stored as active at any time (the sweeper sees to it), so that
// comes first; then what tells most.
func eventsIndex(q breakglass.EventQuery, stored breakglass.Status) string {
	switch {
	case stored == breakglass.StatusActive:
		return "events_status"
	case q.Invoker != "" && q.Profile != "":
		return "events_invoker_profile"
	case q.Invoker != "":
		return "events_invoker"
	case q.Profile != "":
		return "events_profile"
	case stored != "":
		return "events_status"
	case q.ReasonCode != "":
		return "events_reason"
	}
	return "events_created"
}

// PurgeIdempotent implements breakglass.Store. It deletes in steps, so that
// invocations don't wait for a long purge.
func (s *Store) PurgeIdempotent(ctx context.Context, before time.Time) error {
	const step = 500
	for {
		var n int64
		err := s.apply(ctx, func(c *conn) (err error) {
			n, err = c.exec(`DELETE FROM idempotency WHERE (caller, key) IN (
				SELECT caller, key FROM idempotency INDEXED BY idempotency_created
				WHERE created_at < ? ORDER BY created_at LIMIT ?)`, micros(before), int64(step))
			return err
		})
		if err != nil || n < step {
			return err
		}
	}
}

var _ scanner = (*sql.Rows)(nil)
