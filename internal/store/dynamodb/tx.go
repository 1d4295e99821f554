package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// tx is the view and the write buffer of one run of one function.
type tx struct {
	ctx    context.Context
	v      *view
	keys   *breakglass.Keys
	writes []write
	used   map[key]bool // guards that the decision rests on
	over   bool         // fn has returned
	broken error        // a look-up failed: nothing in this group can be trusted
	damage error        // something that this function needs is damaged
}

var _ breakglass.Tx = (*tx)(nil)

// write is one buffered write; exactly one of the pointers is set.
type write struct {
	event   *breakglass.Event
	request *breakglass.AccessRequest
	idem    *breakglass.Idempotent
	factor  *factorWrite
	entry   *entryWrite
}

type entryWrite struct {
	entry    breakglass.LogEntry
	sinks    []string
	snapshot string // the event as JSON, or empty
}

// call runs fn and turns a panic into an error: the committer serves everybody.
func (t *tx) call(fn func(tx breakglass.Tx) error) (err error) {
	defer func() {
		t.over = true
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

func outside(what string) error {
	return fmt.Errorf("%s is outside the keys of its transaction", what)
}

// lookup refuses what wasn't announced, and a function that kept its tx.
func (t *tx) lookup(what string, allowed bool) error {
	switch {
	case t.over:
		return errors.New("the transaction is over")
	case !allowed:
		return outside(what)
	}
	return nil
}

// use marks a guard as something that the decision rests on.
func use[G guarded](t *tx, g G) (G, error) {
	t.used[g.self().key] = true
	if err := sound(g); err != nil {
		t.damage = err
		return g, err
	}
	return g, nil
}

func (t *tx) Event(id string) (breakglass.Event, error) {
	if err := t.lookup("event "+id, id == t.keys.EventID && id != ""); err != nil {
		return breakglass.Event{}, err
	}
	ev, err := use(t, t.v.event(id))
	if err != nil {
		return breakglass.Event{}, err
	}
	if ev.rev == 0 && !ev.dirty {
		return breakglass.Event{}, breakglass.ErrNotFound
	}
	return ev.value, nil
}

// announced reports whether the look-ups of this invoker on this profile were announced.
func (t *tx) announced(invoker, profile string) bool {
	return invoker != "" && profile != "" && invoker == t.keys.Invoker && profile == t.keys.Profile
}

func (t *tx) FindActiveByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	if err := t.lookup("the active event of "+invoker+" on "+profile, t.announced(invoker, profile)); err != nil {
		return nil, err
	}
	p, err := use(t, t.v.pair(invoker, profile))
	if err != nil {
		return nil, err
	}
	return p.active.copy(), nil
}

func (t *tx) GetLastByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	if err := t.lookup("the last event of "+invoker+" on "+profile, t.announced(invoker, profile)); err != nil {
		return nil, err
	}
	p, err := use(t, t.v.pair(invoker, profile))
	if err != nil {
		return nil, err
	}
	return p.last.copy(), nil
}

// copy keeps callers away from the guard's own event.
func (r *revised) copy() *breakglass.Event {
	if r == nil {
		return nil
	}
	e := r.Event
	return &e
}

func (t *tx) CountByInvokerSince(invoker string, since time.Time, atMost int) (breakglass.Tally, error) {
	if err := t.lookup("the history of "+invoker, invoker != "" && invoker == t.keys.Invoker); err != nil {
		return breakglass.Tally{}, err
	}
	return t.count(userKey(invoker), since, atMost)
}

func (t *tx) CountByProfileSince(profile string, since time.Time, atMost int) (breakglass.Tally, error) {
	if err := t.lookup("the history of "+profile, profile != "" && profile == t.keys.Profile); err != nil {
		return breakglass.Tally{}, err
	}
	return t.count(profileKey(profile), since, atMost)
}

func (t *tx) count(k key, since time.Time, atMost int) (breakglass.Tally, error) {
	h, err := use(t, t.v.history(k))
	if err != nil {
		return breakglass.Tally{}, err
	}
	tally, err := h.count(t.ctx, sinceMicros(since), atMost, func(ctx context.Context, n int64) (page, error) {
		for _, p := range h.fresh {
			if p.number == n {
				return p, nil
			}
		}
		return t.v.s.page(ctx, k, n, atMost/pageSize+1)
	})
	switch {
	case errors.Is(err, errDamaged):
		t.damage = err
	case err != nil:
		t.broken = err
	}
	return tally, err
}

func (t *tx) FindIdempotent(caller, name string) (*breakglass.Idempotent, error) {
	if err := t.lookup("idempotency key of "+caller, t.idempotent(caller, name)); err != nil {
		return nil, err
	}
	i, err := use(t, t.v.idempotent(caller, name))
	if err != nil {
		return nil, err
	}
	if i.rev == 0 && !i.dirty {
		return nil, nil
	}
	r := i.value
	return &r, nil
}

func (t *tx) idempotent(caller, name string) bool {
	return caller != "" && name != "" && caller == t.keys.Caller && name == t.keys.Idempotency
}

// LatestEntryTime doesn't count as something that the decision rests on: the
// clock is compared with a tolerance, and the head of the trail moves with
// every entry of anybody.
func (t *tx) LatestEntryTime() (time.Time, error) {
	return t.v.head.latest(), t.lookup("", true)
}

func (h *head) latest() time.Time {
	if h.seq == 0 {
		return time.Time{}
	}
	return fromMicros(h.high)
}

func (t *tx) PutEvent(e breakglass.Event) error {
	known := e.ID != "" && (e.ID == t.keys.EventID || t.announced(e.Invoker, e.Profile))
	if err := t.lookup("event "+e.ID, known); err != nil {
		return err
	}
	t.writes = append(t.writes, write{event: &e})
	return nil
}

func (t *tx) PutIdempotent(r breakglass.Idempotent) error {
	if err := t.lookup("idempotency key of "+r.Caller, t.idempotent(r.Caller, r.Key)); err != nil {
		return err
	}
	r.CreatedAt = exactTime(r.CreatedAt)
	t.writes = append(t.writes, write{idem: &r})
	return nil
}

// Append takes copies of what the function may still change.
func (t *tx) Append(entry breakglass.LogEntry, ev *breakglass.Event, sinks []string) error {
	if err := t.lookup("", true); err != nil {
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

// reserve reports whether there is room for the function's writes and for the
// checks of what it looked at, and takes it. Pages of histories aren't counted:
// they are rare.
func (t *tx) reserve() bool {
	touched := maps.Clone(t.used)
	single := 0
	for _, w := range t.writes {
		switch {
		case w.event != nil:
			single++ // on the agenda
			if !t.v.isNew(*w.event) {
				single++ // where it was
			}
			for _, k := range t.v.touches(*w.event) {
				touched[k] = true
			}
		case w.request != nil:
			single += 2
			touched[requestKey(w.request.ID)], touched[requestsKey(pairOf(*w.request))] = true, true
		case w.idem != nil:
			touched[idempotencyKey(w.idem.Caller, w.idem.Key)] = true
		case w.factor != nil:
			touched[factorKey(w.factor.name)] = true
		default:
			touched[keyHead] = true
			single += 1 + len(w.entry.sinks)
		}
	}
	for k := range t.v.touched {
		delete(touched, k)
	}
	if len(t.v.touched)+len(touched)+t.v.single+single > maxActions {
		return false
	}
	maps.Copy(t.v.touched, touched)
	t.v.single += single
	for k := range t.used {
		t.v.guards[k].self().used = true
	}
	return true
}

// touches are the guards that a write of the event changes.
func (v *view) touches(e breakglass.Event) []key {
	keys := []key{eventKey(e.ID), pairKey(e.Invoker, e.Profile)}
	if v.isNew(e) {
		keys = append(keys, userKey(e.Invoker), profileKey(e.Profile))
	}
	return keys
}

// isNew reports whether nothing that was read knows the event.
func (v *view) isNew(e breakglass.Event) bool {
	return v.event(e.ID).rev <= 0 && v.pair(e.Invoker, e.Profile).known(e.ID) == nil
}

// append takes an entry into the view.
func (v *view) append(w *entryWrite) {
	v.entries = append(v.entries, w)
	v.seal(w)
}

// seal gives an entry its place in the trail: only here is it known.
func (v *view) seal(w *entryWrite) {
	h, e := v.head, &w.entry
	e.Seq = h.seq + 1
	audit.Seal(e, h.hash)
	at := micros(e.Timestamp)
	if h.seq > 0 {
		at = max(at, h.high)
	}
	h.seq, h.hash, h.high, h.dirty = e.Seq, e.Hash, at, true
	it := entryKey(e.Seq).item()
	it["body"], it["hash"], it["high"] = text(string(audit.Canonical(*e))), text(e.Hash), number(at)
	if w.snapshot != "" {
		it["snapshot"] = text(w.snapshot)
	}
	v.created = append(v.created, it)
	due := int64(1) // both are long past: due at once, the urgent ones first
	if e.Event.Urgent() {
		due = 0
	}
	for _, sink := range w.sinks {
		d := deliveryKey(sink, statePending, due, e.Seq).item()
		d["sink"], d["seq"], d["due"] = text(sink), number(e.Seq), number(due)
		v.extra = append(v.extra, d)
	}
}
