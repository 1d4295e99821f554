package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// visibleWithin is how long the entry of a delivery is waited for: a query may
// see one item of a transaction a moment before the others.
const visibleWithin = time.Second

// fillIn reads the entries that deliveries announce. A delivery without a
// legible entry becomes a dead letter, and the others are returned: one damaged
// item must not silence a sink.
func (s *Store) fillIn(ctx context.Context, due []breakglass.Delivery) ([]breakglass.Delivery, error) {
	found, err := s.announced(ctx, due)
	if err != nil {
		return nil, err
	}
	good := due[:0]
	for _, d := range due {
		filled, err := announces(d, found[entryKey(d.Entry.Seq)])
		if err == nil {
			good = append(good, filled)
			continue
		}
		s.opts.Log.Error("a notification can't be sent: kept as a dead letter", "sink", d.Sink, "entry_seq", d.Entry.Seq, "error", err)
		dead := d
		dead.Dead, dead.NextAttempt, dead.LastError = true, fromMicros(0), "the store: "+err.Error()
		if err := s.move(ctx, d, dead); err != nil && !errors.Is(err, breakglass.ErrNotFound) {
			s.opts.Log.Error("a notification that can't be sent could not be made a dead letter", "sink", d.Sink, "entry_seq", d.Entry.Seq, "error", err)
		}
	}
	return good, nil
}

// announced gets the entries, and waits for those that aren't there.
func (s *Store) announced(ctx context.Context, due []breakglass.Delivery) (map[key]item, error) {
	missing := make([]key, len(due))
	for i, d := range due {
		missing[i] = entryKey(d.Entry.Seq)
	}
	found := make(map[key]item, len(due))
	patient, cancel := context.WithTimeout(ctx, visibleWithin)
	defer cancel()
	for wait := (backoff{}); len(missing) > 0; {
		some, err := s.getAll(ctx, missing)
		if err != nil {
			return nil, err
		}
		var left []key
		for _, k := range missing {
			if it := some[k]; it != nil {
				found[k] = it
			} else {
				left = append(left, k)
			}
		}
		if missing = left; len(missing) > 0 && !wait.sleep(patient) {
			break
		}
	}
	return found, ctx.Err()
}

// announces is the delivery with what is to be sent.
func announces(d breakglass.Delivery, it item) (breakglass.Delivery, error) {
	if it == nil {
		return d, errors.New("its audit entry is missing")
	}
	e, err := decodeEntry(it)
	if err != nil {
		return d, fmt.Errorf("its audit entry is damaged: %w", err)
	}
	if e.Seq != d.Entry.Seq {
		return d, fmt.Errorf("its audit entry is damaged: it is numbered %d", e.Seq)
	}
	d.Entry = e
	if snapshot := str(it["snapshot"]); snapshot != "" {
		if err := json.Unmarshal([]byte(snapshot), &d.Event); err != nil {
			return d, fmt.Errorf("the event in it is damaged: %w", err)
		}
	}
	return d, nil
}
