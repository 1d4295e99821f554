package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// tx is the view and the write buffer of one run of one transaction.
type tx struct {
	w      *writer
	keys   *breakglass.Keys
	writes []write
	known  known
	over   bool  // fn has returned
	broken error // a look-up failed: nothing in this group can be trusted
}

var _ breakglass.Tx = (*tx)(nil)

// write is one buffered write; exactly one of the fields is set.
type write struct {
	event      *breakglass.Event
	counts     bool // of event or request: nothing but its sessions is new
	request    *breakglass.AccessRequest
	idem       *breakglass.Idempotent
	factor     *breakglass.Factor
	dropFactor string // whose second factor goes
	entry      *entryWrite
}

type entryWrite struct {
	entry    breakglass.LogEntry
	sinks    []string
	snapshot string // the event as JSON, or empty
}

func outside(what string) error {
	return fmt.Errorf("%s is outside the keys of its transaction", what)
}

// ready refuses to serve a function that kept its tx.
func (t *tx) ready() error {
	if t.over {
		return errors.New("the transaction is over")
	}
	return nil
}

func (t *tx) lookup(what string, allowed bool) error {
	if err := t.ready(); err != nil {
		return err
	}
	if !allowed {
		return outside(what)
	}
	return nil
}

// fetch returns the event that a prepared statement finds, or nil.
func (t *tx) fetch(st *stmt, args ...driver.Value) (*breakglass.Event, error) {
	var ev breakglass.Event
	var scanErr error
	found, err := st.first(func(v []driver.Value) { ev, scanErr = scanEvent(scanRow(v)) }, args...)
	if err = errors.Join(err, scanErr); err != nil {
		t.broken = err
		return nil, err
	}
	if !found {
		return nil, nil
	}
	return &ev, nil
}

// find returns the event whose row number a prepared statement finds, or nil.
func (t *tx) find(st *stmt, args ...driver.Value) (*breakglass.Event, error) {
	var pk driver.Value
	found, err := st.first(func(v []driver.Value) { pk = v[0] }, args...)
	if err != nil {
		t.broken = err
		return nil, err
	}
	if !found {
		return nil, nil
	}
	return t.fetch(t.w.c.eventByPK, pk)
}

func (t *tx) Event(id string) (breakglass.Event, error) {
	if err := t.lookup("event "+id, id == t.keys.EventID && id != ""); err != nil {
		return breakglass.Event{}, err
	}
	ev, err := t.fetch(t.w.c.event, id)
	if err != nil {
		return breakglass.Event{}, err
	}
	if ev == nil {
		return breakglass.Event{}, breakglass.ErrNotFound
	}
	t.known.event = ev
	return *ev, nil
}

// pair reports whether the look-ups of this invoker on this profile were announced.
func (t *tx) pair(invoker, profile string) bool {
	return invoker != "" && profile != "" && invoker == t.keys.Invoker && profile == t.keys.Profile
}

func (t *tx) FindActiveByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	if err := t.lookup("the active event of "+invoker+" on "+profile, t.pair(invoker, profile)); err != nil {
		return nil, err
	}
	return t.find(t.w.c.active, invoker, profile)
}

func (t *tx) GetLastByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	if err := t.lookup("the last event of "+invoker+" on "+profile, t.pair(invoker, profile)); err != nil {
		return nil, err
	}
	return t.find(t.w.c.last, invoker, profile)
}

func (t *tx) CountByInvokerSince(invoker string, since time.Time, atMost int) (breakglass.Tally, error) {
	if err := t.lookup("the history of "+invoker, invoker != "" && invoker == t.keys.Invoker); err != nil {
		return breakglass.Tally{}, err
	}
	return t.count(t.w.c.byInvoker, invoker, since, atMost)
}

func (t *tx) CountByProfileSince(profile string, since time.Time, atMost int) (breakglass.Tally, error) {
	if err := t.lookup("the history of "+profile, profile != "" && profile == t.keys.Profile); err != nil {
		return breakglass.Tally{}, err
	}
	return t.count(t.w.c.byProfile, profile, since, atMost)
}

func (t *tx) count(st *stmt, key string, since time.Time, atMost int) (breakglass.Tally, error) {
	var n, oldest int64
	if atMost <= 0 {
		return breakglass.Tally{}, nil // a negative LIMIT would mean none
	}
	_, err := st.first(func(v []driver.Value) { n, _ = v[0].(int64); oldest, _ = v[1].(int64) }, key, micros(since), int64(atMost))
	if err != nil {
		t.broken = err
		return breakglass.Tally{}, err
	}
	if n == 0 {
		return breakglass.Tally{}, nil
	}
	return breakglass.Tally{Count: int(n), Oldest: fromMicros(oldest)}, nil
}

func (t *tx) FindIdempotent(caller, key string) (*breakglass.Idempotent, error) {
	if err := t.lookup("idempotency key of "+caller, t.idempotent(caller, key)); err != nil {
		return nil, err
	}
	r := breakglass.Idempotent{Caller: caller, Key: key}
	found, err := t.w.c.findIdem.first(func(v []driver.Value) {
		r.Fingerprint, _ = v[0].(string)
		r.EventID, _ = v[1].(string)
		created, _ := v[2].(int64)
		r.CreatedAt = fromMicros(created)
	}, caller, key)
	if err != nil {
		t.broken = err
		return nil, err
	}
	if !found {
		return nil, nil
	}
	return &r, nil
}

func (t *tx) idempotent(caller, key string) bool {
	return caller != "" && key != "" && caller == t.keys.Caller && key == t.keys.Idempotency
}

func (t *tx) LatestEntryTime() (time.Time, error) { return t.w.head.latest, t.ready() }

func (t *tx) PutEvent(e breakglass.Event) error {
	announced := e.ID != "" && (e.ID == t.keys.EventID || t.pair(e.Invoker, e.Profile))
	if err := t.lookup("event "+e.ID, announced); err != nil {
		return err
	}
	t.writes = append(t.writes, write{event: &e, counts: t.known.onlyCounts(e)})
	return nil
}

func (t *tx) PutIdempotent(r breakglass.Idempotent) error {
	if err := t.lookup("idempotency key of "+r.Caller, t.idempotent(r.Caller, r.Key)); err != nil {
		return err
	}
	t.writes = append(t.writes, write{idem: &r})
	return nil
}

// Append takes copies of what the function may still change.
func (t *tx) Append(entry breakglass.LogEntry, ev *breakglass.Event, sinks []string) error {
	if err := t.ready(); err != nil {
		return err
	}
	w := &entryWrite{entry: entry, sinks: append([]string(nil), sinks...)}
	w.entry.Detail = maps.Clone(entry.Detail)
	if ev != nil && len(sinks) > 0 {
		snapshot, err := json.Marshal(exact(*ev))
		if err != nil {
			return fmt.Errorf("event %s as JSON: %w", ev.ID, err)
		}
		w.snapshot = string(snapshot)
	}
	t.writes = append(t.writes, write{entry: w})
	return nil
}

// apply writes inside the transaction in progress.
func (wr *write) apply(w *writer) error {
	switch {
	case wr.event != nil && wr.counts:
		return w.c.countEvent.exec(int64(wr.event.Sessions), wr.event.ID)
	case wr.event != nil:
		return putEvent(w.c.putEvent, wr.event)
	case wr.request != nil && wr.counts:
		return w.c.countRequest.exec(int64(wr.request.Sessions), wr.request.ID)
	case wr.request != nil:
		return putAccessRequest(w.c.putRequest, wr.request)
	case wr.idem != nil:
		return w.c.putIdem.exec(wr.idem.Caller, wr.idem.Key, wr.idem.Fingerprint, wr.idem.EventID, micros(wr.idem.CreatedAt))
	case wr.factor != nil:
		return putFactor(w.c, wr.factor)
	case wr.dropFactor != "":
		return dropFactor(w.c, wr.dropFactor)
	default:
		return wr.entry.apply(w)
	}
}

// apply seals the entry: only here is its place in the trail known.
func (ew *entryWrite) apply(w *writer) error {
	e := &ew.entry
	e.Seq = w.head.seq + 1
	audit.Seal(e, w.head.hash)
	w.body = audit.AppendCanonical(w.body[:0], *e)
	at := micros(e.Timestamp)
	high := at
	if w.head.seq > 0 {
		high = max(at, w.head.highWater)
	}
	err := w.c.putEntry.exec(e.Seq, string(e.Event), e.Invoker, e.Profile, at, high, string(w.body), e.Hash)
	if err != nil {
		return err
	}
	due := int64(1) // both are long past: due at once, the urgent ones first
	if e.Event.Urgent() {
		due = 0
	}
	for _, sink := range ew.sinks {
		if err := w.c.putDelivery.exec(e.Seq, sink, due, ew.snapshot); err != nil {
			return err
		}
	}
	w.head = head{seq: e.Seq, hash: e.Hash, latest: fromMicros(high), highWater: high}
	return nil
}
