package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

const sqlDue = `SELECT d.next_attempt, d.attempts, d.last_error, d.event, e.body, e.hash
	FROM deliveries AS d INDEXED BY deliveries_due CROSS JOIN entries AS e ON e.seq = d.seq
	WHERE d.sink = ? AND d.dead = 0 ORDER BY d.next_attempt, d.seq LIMIT ?`

// DueDeliveries returns the deliveries to the sink that are due at now, by
// (next attempt, seq), at most limit of them. next is when the first of the
// others that wait for this sink is due; zero when there is none.
//
// A new delivery is due at once, whatever the clock says: its next attempt is
// the beginning of Unix time.
func (s *Store) DueDeliveries(ctx context.Context, sink string, now time.Time, limit int) (due []breakglass.Delivery, next time.Time, err error) {
	if limit < 1 {
		return nil, time.Time{}, errLimit
	}
	due, next, err = s.due(ctx, sink, now, limit)
	if err != nil {
		return nil, time.Time{}, s.readError("deliveries", err)
	}
	return due, next, nil
}

func (s *Store) due(ctx context.Context, sink string, now time.Time, limit int) (due []breakglass.Delivery, next time.Time, err error) {
	rows, err := s.read.query(ctx, sqlDue, sink, limit+1)
	if err != nil {
		return nil, next, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		d := breakglass.Delivery{Sink: sink}
		var at int64
		var snapshot, body, hash string
		if err := rows.Scan(&at, &d.Attempts, &d.LastError, &snapshot, &body, &hash); err != nil {
			return nil, next, err
		}
		d.NextAttempt = fromMicros(at)
		if d.NextAttempt.After(now) || len(due) == limit {
			return due, d.NextAttempt, nil
		}
		if d.Entry, err = decodeEntry(body, hash); err != nil {
			return nil, next, err
		}
		if snapshot != "" {
			if err := json.Unmarshal([]byte(snapshot), &d.Event); err != nil {
				return nil, next, fmt.Errorf("the event of delivery %d is damaged: %w", d.Entry.Seq, err)
			}
		}
		due = append(due, d)
	}
	return due, next, rows.Err()
}

// ClaimDelivery has nothing to do: the lock on the file makes this process the
// only one that sends.
func (s *Store) ClaimDelivery(context.Context, breakglass.Delivery, time.Time, time.Time) error {
	return nil
}

// SettleDelivery records the outcome of an attempt. A delivery that isn't there
// any more was settled before: then there is nothing to do when it was
// delivered, and breakglass.ErrNotFound otherwise.
func (s *Store) SettleDelivery(ctx context.Context, d breakglass.Delivery, o breakglass.DeliveryOutcome) error {
	missing := false
	err := s.apply(ctx, func(c *conn) error {
		n, err := settle(c, d.Entry.Seq, d.Sink, o)
		missing = n == 0
		return err
	})
	if err == nil && missing && !o.Delivered {
		return breakglass.ErrNotFound
	}
	return err
}

func settle(c *conn, seq int64, sink string, o breakglass.DeliveryOutcome) (int64, error) {
	if o.Delivered {
		return c.exec(`DELETE FROM deliveries WHERE seq = ? AND sink = ?`, seq, sink)
	}
	var dead int64
	if o.Dead {
		dead = 1
	}
	return c.exec(`UPDATE deliveries SET next_attempt = ?, attempts = ?, dead = ?, last_error = ? WHERE seq = ? AND sink = ?`,
		max(0, micros(o.NextAttempt)), int64(o.Attempts), dead, o.LastError, seq, sink)
}

// Only the indexes are read, so this stays cheap while a sink is down.
const sqlCounts = `SELECT c.sink, c.dead, c.n, e.recorded_at FROM (
		SELECT sink, 0 AS dead, count(*) AS n, min(seq) AS first
			FROM deliveries INDEXED BY deliveries_due WHERE dead = 0 GROUP BY sink
		UNION ALL
		SELECT sink, 1, count(*), min(seq)
			FROM deliveries INDEXED BY deliveries_dead WHERE dead = 1 GROUP BY sink
	) AS c CROSS JOIN entries AS e ON e.seq = c.first`

// DeliveryCounts returns how many deliveries each sink has waiting; a sink
// without any is left out.
func (s *Store) DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error) {
	counts, err := s.counts(ctx)
	if err != nil {
		return nil, s.readError("deliveries", err)
	}
	return counts, nil
}

func (s *Store) counts(ctx context.Context) (_ map[string]breakglass.DeliveryCount, err error) {
	rows, err := s.read.query(ctx, sqlCounts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts := map[string]breakglass.DeliveryCount{}
	for rows.Next() {
		var sink string
		var dead bool
		var n, oldest int64
		if err := rows.Scan(&sink, &dead, &n, &oldest); err != nil {
			return nil, err
		}
		c := counts[sink]
		if dead {
			c.Dead = n
		} else {
			c.Pending, c.Oldest = n, fromMicros(oldest)
		}
		counts[sink] = c
	}
	return counts, rows.Err()
}

// RetryDead makes the dead deliveries of the sink ("" for all) due again, with
// all their attempts, and returns how many there were. The head of the trail
// doesn't move, so a dispatcher that waits for it must be woken otherwise.
func (s *Store) RetryDead(ctx context.Context, sink string) (int, error) {
	const step = 500
	for total := 0; ; {
		var n int64
		err := s.apply(ctx, func(c *conn) (err error) {
			n, err = retryDead(c, sink, step)
			return err
		})
		total += int(n)
		if err != nil || n < step {
			return total, err
		}
	}
}

func retryDead(c *conn, sink string, limit int64) (int64, error) {
	const change = `UPDATE deliveries SET dead = 0, attempts = 0, next_attempt = 0 WHERE (seq, sink) IN (
		SELECT seq, sink FROM deliveries INDEXED BY deliveries_dead WHERE dead = 1 `
	if sink == "" {
		return c.exec(change+`LIMIT ?)`, limit)
	}
	return c.exec(change+`AND sink = ? LIMIT ?)`, sink, limit)
}
