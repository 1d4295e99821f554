package dynamodb

import (
	"context"
	"errors"
	"runtime"
	"time"
)

const (
	// maxGroup bounds how many transactions are tried together. About a dozen
	// invocations fit into one TransactWriteItems; refusals cost no actions.
	maxGroup = 24
	// maxKeys is DynamoDB's limit for one BatchGetItem; a transaction names up
	// to maxNamed guards, and the head comes with them.
	maxKeys  = 100
	maxNamed = 8
)

// commitLoop runs the transactions of this server, one group after the other:
// two groups at once would only stand in each other's way at the head of the
// trail. It ends when requests is closed and drained.
func (s *Store) commitLoop() {
	var waiting []*request
	for open := true; open || len(waiting) > 0; {
		if len(waiting) == 0 {
			r, ok := <-s.requests
			if !ok {
				return
			}
			waiting = append(waiting, r)
		}
		waiting, open = s.collect(waiting)
		n := min(len(waiting), maxGroup)
		waiting = append(s.runGroup(waiting[:n:n]), waiting[n:]...)
	}
}

// collect adds what else waits.
func (s *Store) collect(waiting []*request) ([]*request, bool) {
	for yielded := false; len(waiting) < maxGroup; {
		select {
		case r, ok := <-s.requests:
			if !ok {
				return waiting, false
			}
			waiting = append(waiting, r)
		default:
			if yielded {
				return waiting, true
			}
			// Callers that were answered a moment ago get one chance to come
			// back with their next request.
			runtime.Gosched()
			yielded = true
		}
	}
	return waiting, true
}

// runGroup runs the requests together until they are committed, or patience
// ends, and answers them. It returns those that found no room.
func (s *Store) runGroup(group []*request) (left []*request) {
	defer s.lost(&group) // a test's FailNow inside fn ends this goroutine
	ctx, cancel := context.WithTimeout(s.life, s.opts.Patience)
	defer cancel()
	existing, damaged := map[key]bool{}, map[key]bool{}
	wait, capacity := backoff{most: maxPause}, backoff{}
	var scarce error
	for most := len(group); ; {
		fits, err := s.attempt(ctx, group[:most], existing, damaged)
		if errors.Is(err, errTooMany) && fits > 1 {
			most = fits / 2
			continue
		}
		var refused *defect
		if errors.As(err, &refused) && fits > 1 {
			most = 1 // whoever it is about, the others needn't fail with it
			continue
		}
		if isThrottled(err) {
			if scarce = err; capacity.sleep(ctx) {
				continue
			}
		}
		var u *unresolved
		if err != nil && ctx.Err() != nil && scarce != nil && !(errors.As(err, &u) && u.uncertain) {
			err = scarce // time ran out over that
		}
		if err != nil && s.life.Err() != nil && !(errors.As(err, &u) && u.uncertain) {
			err = ErrClosed
		}
		var lost *conflict
		switch {
		case err == nil || !errors.As(err, &lost):
			s.note(err)
			answer(group[:fits], err)
			left, group = group[fits:], nil
			return left
		case errors.Is(err, errAgain):
		case !wait.sleep(ctx):
			answer(group, err)
			group = nil
			return nil
		}
		for _, k := range lost.existing {
			existing[k] = true
		}
		for _, k := range lost.damaged {
			damaged[k] = true
		}
	}
}

// errAgain asks for another attempt at once.
var errAgain = &conflict{}

// attempt runs as many requests of the group as fit into one transaction over
// a fresh view, and commits.
func (s *Store) attempt(ctx context.Context, group []*request, existing, damaged map[key]bool) (fits int, err error) {
	v := newView(s, existing)
	v.damaged = damaged
	for k := range existing {
		v.record(k)
	}
	for _, r := range group {
		if len(v.guards) > maxKeys-maxNamed {
			break
		}
		v.need(r.keys)
		fits++
	}
	if err := v.load(ctx); err != nil {
		return fits, err
	}
	v.heal()
	for i, r := range group[:fits] {
		fit, err := v.run(ctx, r)
		if err != nil {
			return fits, err
		}
		if !fit {
			if i == 0 {
				r.err, r.rejected = errTooLarge, true
				return fits, errAgain
			}
			fits = i
			break
		}
	}
	if !v.writes() {
		switch same, err := v.confirm(ctx); {
		case err != nil:
			return fits, err
		case !same:
			return fits, &conflict{}
		}
		return fits, nil
	}
	if err := v.commit(ctx); err != nil {
		return fits, err
	}
	s.publish(v.head.seq)
	return fits, nil
}

// run runs one request over the view. fit is false when its writes don't fit
// into the transaction any more; the request then has had no effect.
func (v *view) run(ctx context.Context, r *request) (fit bool, err error) {
	r.running.Lock()
	defer r.running.Unlock()
	if r.rejected {
		return true, nil
	}
	r.err = nil
	if r.abandoned || r.ctx.Err() != nil {
		if r.err = r.ctx.Err(); r.err == nil {
			r.err = context.Canceled
		}
		return true, nil
	}
	t := tx{ctx: ctx, v: v, keys: &r.keys, used: map[key]bool{}}
	r.err = t.call(r.fn)
	if t.broken != nil {
		return true, t.broken
	}
	if t.damage != nil {
		r.err = t.damage
	}
	if r.err != nil {
		t.writes = nil
	}
	if !t.reserve() {
		return false, nil
	}
	v.torn = v.torn || len(t.used) > 1
	if r.err != nil {
		return true, nil
	}
	if err := v.apply(ctx, t.writes); err != nil {
		if !errors.Is(err, errBroken) && !errors.Is(err, errDamaged) {
			return true, err
		}
		r.err, r.rejected = err, true
		return true, errAgain // the others run without it
	}
	return true, nil
}

// errTooLarge can only come of a configuration with dozens of sinks.
var errTooLarge = errors.New("the transaction needs more than 100 actions: too many sinks want the same entry")

// answer tells each caller the outcome of its own transaction, or the failure
// of the whole. A refusal was decided over what the failed transaction would
// have written, so it isn't one.
func answer(group []*request, err error) {
	if err != nil {
		err = failure(err)
	}
	for _, r := range group {
		if err != nil && !r.rejected {
			r.err = err
		}
		r.done <- r.err
	}
}

// lost answers a group whose function has ended the committer's goroutine, and
// starts another one.
func (s *Store) lost(group *[]*request) {
	if *group == nil {
		return
	}
	for _, r := range *group {
		select {
		case r.done <- errors.New("the committer stopped in the middle of a transaction"):
		default:
		}
	}
	s.running.Go(s.commitLoop)
}

// The time within which a new server learns that the table can't be used.
const openTimeout = 15 * time.Second
