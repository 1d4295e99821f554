package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakglass/internal/breakglass"
)

// view is what one attempt of one group sees and changes: guards as they were
// read, with the writes of the group's earlier functions taken in.
type view struct {
	s      *Store
	guards map[key]guarded
	head   *head
	// agenda is what becomes of items under "active": true puts, false deletes.
	agenda  map[key]bool
	entries []*entryWrite // in the order of the trail
	created []item        // entries, sealed
	extra   []item        // other new items that nothing guards: deliveries
	// existing are events and access requests that the group took for new in an
	// earlier attempt, and that were there.
	existing map[key]bool
	// damaged are guards that an earlier attempt has shown to contradict what is stored.
	damaged map[key]bool
	// torn says that some function looked at several guards, so that only a
	// write or a second look shows that they belong together.
	torn bool
	// touched are the guards that the transaction changes or checks, and single
	// counts its other actions.
	touched map[key]bool
	single  int
}

// need names the guards that the keys of a transaction call for.
func (v *view) need(k breakglass.Keys) {
	if k.EventID != "" {
		v.event(k.EventID)
	}
	if k.Invoker != "" && k.Profile != "" {
		v.pair(k.Invoker, k.Profile)
	}
	if k.Invoker != "" {
		v.history(userKey(k.Invoker))
	}
	if k.Profile != "" {
		v.history(profileKey(k.Profile))
	}
	if k.Caller != "" && k.Idempotency != "" {
		v.idempotent(k.Caller, k.Idempotency)
	}
	if k.Factor != "" {
		v.factor(k.Factor)
	}
	if k.RequestID != "" {
		v.accessRequest(k.RequestID)
	}
	if k.Requests.Person != "" && k.Requests.Profile != "" {
		v.openRequests(k.Requests)
	}
}

func newView(s *Store, existing map[key]bool) *view {
	v := &view{s: s, guards: map[key]guarded{}, agenda: map[key]bool{}, existing: existing, touched: map[key]bool{}}
	v.head = guardOf(v, keyHead, func(g guard) *head { return &head{guard: g} })
	return v
}

// guardOf is the guard under that key: the one that is there, or a new one that
// is still to be loaded.
func guardOf[G guarded](v *view, k key, make func(g guard) G) G {
	if g, ok := v.guards[k].(G); ok {
		return g
	}
	g := make(guard{key: k, rev: unloaded})
	v.guards[k] = g
	return g
}

// unloaded is the revision of a guard that was not read yet.
const unloaded = -1

func (v *view) event(id string) *event {
	return guardOf(v, eventKey(id), func(g guard) *event { return &event{guard: g} })
}

// record is the event or access request under that key.
func (v *view) record(k key) guarded {
	if id, ok := strings.CutPrefix(k.pk, requestPrefix); ok {
		return v.accessRequest(id)
	}
	return v.event(strings.TrimPrefix(k.pk, "event#"))
}

func (v *view) pair(invoker, profile string) *pair {
	return guardOf(v, pairKey(invoker, profile), func(g guard) *pair { return &pair{guard: g} })
}

func (v *view) history(k key) *history {
	return guardOf(v, k, func(g guard) *history { return &history{guard: g} })
}

func (v *view) idempotent(caller, name string) *idempotent {
	return guardOf(v, idempotencyKey(caller, name), func(g guard) *idempotent { return &idempotent{guard: g} })
}

// load reads every guard that was named and not read yet, in one call. One that
// is damaged is the trouble of the functions that use it, except for the head.
func (v *view) load(ctx context.Context) error {
	var keys []key
	for k, g := range v.guards {
		if g.self().rev == unloaded {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := v.s.getAll(ctx, keys)
	if err != nil {
		return err
	}
	for _, k := range keys {
		g := v.guards[k]
		g.self().rev = num(found[k][attrRev])
		err := g.decode(found[k])
		if err == nil && v.damaged[k] {
			err = errors.New("its next page is stored already")
		}
		switch {
		case err == nil:
		case k == keyHead:
			return fmt.Errorf("item %s/%s: %w", k.pk, k.sk, err)
		default:
			g.self().err = damage(k, err)
		}
	}
	return nil
}

// sound is the damage of these guards.
func sound(guards ...guarded) error {
	for _, g := range guards {
		if err := g.self().err; err != nil {
			return err
		}
	}
	return nil
}

// confirm reports whether everything that decisions have looked at is still as
// it was read.
func (v *view) confirm(ctx context.Context) (bool, error) {
	if !v.torn {
		return true, nil // a single item is always as it was at one instant
	}
	var keys []key
	for k, g := range v.guards {
		if g.self().used {
			keys = append(keys, k)
		}
	}
	found, err := v.s.getAll(ctx, keys)
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if num(found[k][attrRev]) != v.guards[k].self().rev {
			return false, nil
		}
	}
	return true, nil
}

// writes reports whether the group changes anything.
func (v *view) writes() bool {
	if len(v.created) > 0 || len(v.extra) > 0 || len(v.agenda) > 0 {
		return true
	}
	for _, g := range v.guards {
		if g.self().dirty {
			return true
		}
	}
	return false
}

// errBroken is a write that contradicts what is stored. It is the fault of one
// function, but the view is of no use any more.
var errBroken = errors.New("the write contradicts what is stored")

// apply takes the writes of one function into the view.
func (v *view) apply(ctx context.Context, writes []write) error {
	for _, w := range writes {
		var err error
		switch {
		case w.event != nil:
			err = v.putEvent(ctx, exact(*w.event))
		case w.request != nil:
			err = v.putRequest(ctx, *w.request)
		case w.idem != nil:
			i := v.idempotent(w.idem.Caller, w.idem.Key)
			if err := sound(i); err != nil {
				return err
			}
			if i.rev != 0 || i.dirty {
				err = fmt.Errorf("%w: an idempotency record can't be replaced", errBroken)
			}
			i.value, i.dirty = *w.idem, true
		case w.factor != nil:
			err = v.putFactor(w.factor)
		default:
			v.append(w.entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// heal takes events and access requests that were read by themselves into pairs
// that have an older revision of them. Such a pair comes of a restore or a
// replication of single items. A refusal means that the pair has another one in
// that place: then that counts.
func (v *view) heal() {
	for k := range v.existing {
		switch r := v.record(k).(type) {
		case *event:
			p, ok := v.guards[pairKey(r.value.Invoker, r.value.Profile)].(*pair)
			if !ok || sound(r, p) != nil {
				continue
			}
			if known := p.known(r.value.ID); known != nil && known.rev < r.rev {
				_ = p.note(revised{r.value, r.rev})
			}
		case *accessRequest:
			o, ok := v.guards[requestsKey(pairOf(r.value))].(*openRequests)
			if !ok || sound(r, o) != nil {
				continue
			}
			if known := o.known(r.value.ID); known != nil && known.rev < r.rev {
				_ = o.note(revisedRequest{r.value, r.rev})
			}
		}
	}
}

// putEvent inserts or replaces an event and keeps its guards in step. An event
// that neither its own item nor its pair's guard has shown is taken for new;
// the write is refused if it isn't, and the group runs again knowing it.
func (v *view) putEvent(ctx context.Context, e breakglass.Event) error {
	p := v.pair(e.Invoker, e.Profile)
	ev := v.event(e.ID)
	if ev.rev == unloaded {
		if known := p.known(e.ID); known != nil {
			ev.rev, ev.value = known.rev, known.Event
		} else if p.rev != unloaded && !v.existing[ev.key] {
			ev.rev = 0
		}
	}
	if err := v.load(ctx); err != nil { // the pair of an event that was named by its id alone
		return err
	}
	if err := sound(ev, p); err != nil {
		return err
	}
	if ev.rev == 0 && !ev.dirty && p.known(e.ID) == nil {
		user, profile := v.history(userKey(e.Invoker)), v.history(profileKey(e.Profile))
		if err := v.load(ctx); err != nil {
			return err
		}
		if err := sound(user, profile); err != nil {
			return err
		}
		user.add(micros(e.CreatedAt))
		profile.add(micros(e.CreatedAt))
	}
	var before []key
	if p.active != nil && p.active.ID == e.ID {
		before = append(before, dueEvent(p.active.Event))
	}
	if ev.rev > 0 && ev.value.Status == breakglass.StatusActive { // its pair may not know it
		before = append(before, dueEvent(ev.value))
	}
	v.reschedule(before, dueEvent(e), e.Status == breakglass.StatusActive)
	ev.value, ev.dirty = e, true
	return p.note(revised{e, ev.rev + 1})
}

// reschedule moves a task on the agenda from the places where it may be to the
// one where it is due, if it still is.
func (v *view) reschedule(before []key, due key, open bool) {
	for _, k := range before {
		if k != due || !open {
			v.agenda[k] = false
		}
	}
	if open && !slices.Contains(before, due) {
		v.agenda[due] = true
	}
}
