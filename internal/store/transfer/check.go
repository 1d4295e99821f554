package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// LineError names the first line at which an export is not what it must be.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// checker verifies records one after the other, on either side.
type checker struct {
	trail  *audit.Verifier
	counts Counts
	last   *idempotencyLine

	lastFactor string
	former     bool  // the lines are those of format 1
	lives      lives // nil: records aren't held against the trail
}

func newChecker() checker {
	return checker{trail: audit.NewVerifier(audit.Options{})}
}

// entry verifies a line that is to hold an audit entry.
func (c *checker) entry(line []byte) (Entry, error) {
	r, err := c.decodeEntry(line)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Body: r.Body, Hash: r.Hash, Event: r.Event, Request: r.Request, Deliveries: r.Deliveries, Snapshot: string(r.Snapshot)}
	if c.last != nil || c.counts.Factors > 0 {
		return e, errors.New("an audit entry stands after the idempotency records or the second factors")
	}
	if err := c.seal(&e); err != nil {
		return e, err
	}
	if err := checkEvent(e); err != nil {
		return e, err
	}
	if err := checkRequest(e); err != nil {
		return e, err
	}
	if c.lives != nil {
		if err := c.lives.entry(e); err != nil {
			return e, err
		}
	}
	c.counts.Entries++
	if e.Event != nil {
		c.counts.Events++
	}
	if e.Request != nil {
		c.counts.Requests++
	}
	return e, c.deliveries(e)
}

// decodeEntry reads a line of either format.
func (c *checker) decodeEntry(line []byte) (entryLine, error) {
	if !c.former {
		return decode[entryLine](line)
	}
	r, err := decode[formerEntryLine](line)
	out := entryLine{Kind: r.Kind, Hash: r.Hash, Deliveries: r.Deliveries, Snapshot: r.Snapshot, Body: r.Body}
	if r.Event != nil {
		out.Event = &r.Event.Event
	}
	return out, err
}

// deliveries verifies what the sinks of an entry have not taken.
func (c *checker) deliveries(e Entry) error {
	for i, d := range e.Deliveries {
		switch {
		case d.Sink == "" || i > 0 && d.Sink <= e.Deliveries[i-1].Sink:
			return errors.New("the deliveries are not in the order of their sinks")
		case !storable(d.NextAttempt) || d.Attempts < 0:
			return fmt.Errorf("the delivery to %q is damaged", d.Sink)
		}
		c.counts.Deliveries++
	}
	if e.Snapshot != "" {
		if len(e.Deliveries) == 0 {
			return errors.New("an event for deliveries stands here without any")
		}
		if _, err := decodeEvent([]byte(e.Snapshot)); err != nil {
			return fmt.Errorf("the event of the deliveries: %w", err)
		}
	}
	return nil
}

// seal verifies the entry's place in the trail and that its body is exactly
// what the hash covers.
func (c *checker) seal(e *Entry) error {
	if len(e.Body) < 2 || e.Body[0] != '{' {
		return errors.New("the entry's body is not an object")
	}
	served := append(bytes.Clone(e.Body[:len(e.Body)-1]), `,"hash":"`+e.Hash+`"}`...)
	if err := c.trail.AddJSON(served); err != nil {
		return err
	}
	if err := json.Unmarshal(e.Body, &e.Log); err != nil {
		return fmt.Errorf("the entry's body: %w", err)
	}
	if !bytes.Equal(audit.Canonical(e.Log), e.Body) {
		return fmt.Errorf("the body of entry %d is not in canonical form, or was written by a newer program", e.Log.Seq)
	}
	e.Log.Hash = e.Hash
	return nil
}

// checkEvent wants exactly one event with each entry that began one.
func checkEvent(e Entry) error {
	ev, seq := e.Event, e.Log.Seq
	began := e.Log.Event == breakglass.EntryInvoked
	switch {
	case !began && ev == nil:
		return nil
	case !began:
		return fmt.Errorf("event %q stands with entry %d, which didn't begin it", ev.ID, seq)
	case ev == nil:
		return fmt.Errorf("entry %d began event %q, but the event is missing", seq, e.Log.EventID)
	case ev.ID != e.Log.EventID || ev.Invoker != e.Log.Invoker || ev.Profile != e.Log.Profile:
		return fmt.Errorf("event %q is not the one that entry %d began", ev.ID, seq)
	}
	return validEvent(*ev)
}

func validEvent(e breakglass.Event) error {
	known := e.Status.IsValid()
	times := storable(e.CreatedAt) && storable(e.UpdatedAt) && storable(e.ExpiresAt) && (e.ClosedAt.IsZero() || storable(e.ClosedAt)) &&
		(e.WarnAt.IsZero() || storable(e.WarnAt))
	if !breakglass.IsID(e.ID) || e.Invoker == "" || e.Profile == "" || e.Sessions < 0 || e.Extensions < 0 || !known || !times {
		return fmt.Errorf("event %q is damaged", e.ID)
	}
	return nil
}

// decodeEvent reads an event as a delivery carries it.
func decodeEvent(raw []byte) (breakglass.Event, error) {
	var e breakglass.Event
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, err
	}
	return e, validEvent(e)
}

// storable reports whether every engine keeps the time exactly.
func storable(t time.Time) bool {
	return t.Location() == time.UTC && t.Equal(t.Truncate(time.Microsecond)) && t.Unix() >= 0 && t.Year() <= 9999
}

// idempotent verifies a line that is to hold an idempotency record.
func (c *checker) idempotent(line []byte) (breakglass.Idempotent, error) {
	r, err := decode[idempotencyLine](line)
	if err != nil {
		return breakglass.Idempotent{}, err
	}
	if c.counts.Factors > 0 {
		return breakglass.Idempotent{}, errors.New("an idempotency record stands after the second factors")
	}
	if c.last != nil && (r.Caller < c.last.Caller || r.Caller == c.last.Caller && r.Key <= c.last.Key) {
		return breakglass.Idempotent{}, errors.New("the idempotency records are not in the order of caller and key, or one is repeated")
	}
	if r.Caller == "" || r.Key == "" || !storable(r.CreatedAt) {
		return breakglass.Idempotent{}, errors.New("the idempotency record is damaged")
	}
	c.last = &r
	c.counts.Idempotency++
	return breakglass.Idempotent{Caller: r.Caller, Key: r.Key, Fingerprint: r.Fingerprint, EventID: r.EventID, CreatedAt: r.CreatedAt}, nil
}

// finish holds what came against what the header has announced.
func (c *checker) finish(h Header) error {
	if err := c.lives.rest(); err != nil {
		return err
	}
	if got := c.trail.Result().Head(); got != h.Head {
		return fmt.Errorf("the audit trail ends with entry %d instead of %s", got.Seq, h.Head)
	}
	if c.counts != h.Counts {
		return fmt.Errorf("there are %s, instead of %s", c.counts, h.Counts)
	}
	return nil
}
