package breakglass

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

const (
	// sweepBatch is how many expiries are recorded side by side, so that they
	// share the store's group commit.
	sweepBatch = 64
	// sweepAtLeast bounds the sleep: a timer doesn't notice when the wall clock
	// is set, nor what another replica has invoked.
	sweepAtLeast = 15 * time.Second
	// sweepRetry is the pause after the store failed.
	sweepRetry = 500 * time.Millisecond
	// idempotencyKept is how long a key is remembered.
	idempotencyKept = 48 * time.Hour
)

// Run records expiries at the moment they happen, writes down suppressed
// refusals and forgets old idempotency keys, until ctx ends. It catches up
// first with whatever ended while no server ran.
func (s *Service) Run(ctx context.Context) {
	var purged time.Time
	failing := false
	for ctx.Err() == nil {
		s.nextWake.Store(awake)
		sleep, err := s.sweep(ctx)
		s.flushRefusals(ctx, false)
		if now := s.now(); err == nil && now.Sub(purged) >= time.Hour {
			purged = now
			err = s.cfg.Store.PurgeIdempotent(ctx, now.Add(-idempotencyKept))
		}
		if err != nil {
			sleep = sweepRetry
			if !failing && ctx.Err() == nil {
				s.cfg.Log.Error("recording expiries fails; trying again until it works", "error", err)
			}
		} else if failing {
			s.cfg.Log.Info("recording expiries works again")
		}
		failing = err != nil
		s.sleep(ctx, sleep)
	}
	// What was counted but not yet written must not be lost at shutdown.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	s.flushRefusals(last, true)
}

// awake is nextWake while the sweeper works: whatever is invoked now may come
// too late for its look at the store, so it must look again.
const awake = math.MaxInt64

// sleep waits for d, or until somebody wakes the sweeper.
func (s *Service) sleep(ctx context.Context, d time.Duration) {
	s.nextWake.Store(s.now().Add(d).UnixMicro())
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-s.wake:
	}
}

// wakeFor makes the sweeper look again when it would sleep past t.
func (s *Service) wakeFor(t time.Time) {
	if t.UnixMicro() >= s.nextWake.Load() {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is being woken already
	}
}

// sweep does everything that is due and returns how long until the next task.
func (s *Service) sweep(ctx context.Context) (time.Duration, error) {
	for batch := 1; ; batch = sweepBatch { // most looks find that nothing is due
		tasks, err := s.cfg.Store.Agenda(ctx, batch)
		if err != nil {
			return 0, err
		}
		now := s.now()
		sleep, due := s.cfg.SweepEvery, tasks
		for i, t := range tasks {
			if now.Before(t.At) {
				sleep, due = min(sleep, t.At.Sub(now)), tasks[:i]
				break
			}
		}
		left, err := s.doAll(ctx, due)
		switch {
		case err != nil && batch < sweepBatch:
			continue // one that can't be recorded must not hide those behind it
		case err != nil:
			return 0, err
		case left: // to other servers, which may die over it
			return min(sleep, claimedFor), nil
		}
		if len(due) < batch {
			if flush := s.refusals.nextFlush(); !flush.IsZero() {
				sleep = min(sleep, max(0, flush.Sub(now)))
			}
			return sleep, nil
		}
	}
}

// doAll does the tasks that no other server has claimed; left says that there
// were such.
func (s *Service) doAll(ctx context.Context, due []Task) (left bool, err error) {
	errs := make([]error, len(due))
	var wg sync.WaitGroup
	for i, t := range due {
		wg.Go(func() { errs[i] = s.do(ctx, t) })
	}
	wg.Wait()
	for i, err := range errs {
		if errors.Is(err, ErrNotFound) {
			left, errs[i] = true, nil
		}
	}
	return left, errors.Join(errs...)
}

// claimedFor is how long a server has a task to itself. When it dies, what is
// left of the second within which an expiry is recorded is for another one.
const claimedFor = 400 * time.Millisecond

// do does one task, if that is still to be done. ErrNotFound means that another
// server is about to, or has done it.
func (s *Service) do(ctx context.Context, t Task) error {
	now := s.now()
	if err := s.cfg.Store.Claim(ctx, t, now, now.Add(claimedFor)); err != nil {
		return err
	}
	if t.RequestID != "" {
		return s.expireRequest(ctx, t.RequestID)
	}
	return s.attend(ctx, t.EventID)
}

// attend records that an event has expired, or that it is about to: whatever
// its time has come for.
func (s *Service) attend(ctx context.Context, id string) error {
	return s.cfg.Store.Update(ctx, Keys{EventID: id}, func(tx Tx) error {
		ev, err := tx.Event(id)
		if err != nil {
			return err
		}
		now := s.now()
		switch {
		case ev.Status != StatusActive:
			return nil // somebody else did it, or it was closed in time
		case ev.StatusAt(now) == StatusExpired:
			return s.writeExpired(tx, ev, now)
		case !ev.WarnAt.IsZero() && !now.Before(ev.WarnAt):
			return s.writeExpiring(tx, ev, now)
		}
		return nil // it was extended meanwhile
	})
}

// writeExpiring announces the end of an event, once.
func (s *Service) writeExpiring(tx Tx, ev Event, now time.Time) error {
	ev.WarnAt = time.Time{}
	if err := tx.PutEvent(ev); err != nil {
		return err
	}
	return s.record(tx, entryFor(EntryExpiring, SystemActor, now, ev), &ev)
}

func (s *Service) expireRequest(ctx context.Context, id string) error {
	return s.cfg.Store.Update(ctx, Keys{RequestID: id}, func(tx Tx) error {
		r, err := tx.AccessRequest(id)
		if err != nil {
			return err
		}
		now := s.now()
		if !r.Status.Open() || r.StatusAt(now) != RequestExpired {
			return nil
		}
		return s.writeRequestExpired(tx, r, now)
	})
}

func (s *Service) writeExpired(tx Tx, ev Event, now time.Time) error {
	ev = ev.expired()
	if err := tx.PutEvent(ev); err != nil {
		return err
	}
	return s.record(tx, entryFor(EntryExpired, SystemActor, now, ev), &ev)
}
