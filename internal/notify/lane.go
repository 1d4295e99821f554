package notify

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"breakglass/internal/breakglass"
)

// lane serves one sink. Its fields belong to the goroutine of run; attempts run
// beside it and hand their results over through finished.
type lane struct {
	d    *Dispatcher
	sink *sink

	wake     chan struct{}
	finished chan result
	inFlight map[int64]bool      // by seq
	refused  map[int64]time.Time // by seq: not to be claimed again before
	// ahead holds what was read from the queue beyond the free slots: reading
	// the queue for each slot that becomes free would cost more than sending.
	ahead []breakglass.Delivery
	batch int          // how many to read ahead the next time
	woken bool         // something was committed since the queue was read
	busy  atomic.Int32 // len(inFlight), for Stop

	pausedUntil  time.Time // the target asked to be left alone
	disabled     string    // why, once the target wants no more (410)
	failingSince time.Time // zero while attempts succeed
	storeWait    backoff
}

// result is an attempt that has ended and is settled.
type result struct {
	seq     int64
	at      time.Time
	failure *Failure // nil: taken
	cut     bool     // by Stop: nothing was learned
	refused bool     // somebody else has claimed it, says the queue
}

const (
	// maxSleep bounds how long a lane sleeps. Due times are wall-clock times:
	// when the clock is set, it must be noticed. And another process may make
	// dead letters due again, of which the audit trail knows nothing.
	maxSleep = time.Minute
	// lookAhead is how many deliveries are read beyond those that can be in
	// flight, at most.
	lookAhead = 64
	// buryBatch is how many deliveries of a disabled sink are looked up at once.
	buryBatch = 100
	// claimAgain is how long a delivery is left alone that the queue has
	// returned and then not let be claimed. Mostly the next answer leaves it out.
	claimAgain = 100 * time.Millisecond
)

func newLane(d *Dispatcher, s *sink) *lane {
	return &lane{
		d: d, sink: s, wake: make(chan struct{}, 1), finished: make(chan result, d.Concurrency),
		inFlight: map[int64]bool{}, refused: map[int64]time.Time{}, batch: d.Concurrency, storeWait: backoff{min: 200 * time.Millisecond, max: 30 * time.Second},
	}
}

// poke makes the lane look at the queue. It never blocks.
func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		again := l.look(ctx)
		l.sleep(ctx, again)
	}
	for len(l.inFlight) > 0 {
		l.took(<-l.finished)
	}
}

// sleep returns when there is a reason to look again: something was committed,
// an attempt has ended, the instant again has come (zero: none) or a minute has passed, or ctx ended.
func (l *lane) sleep(ctx context.Context, again time.Time) {
	d := maxSleep
	if !again.IsZero() {
		d = min(max(again.Sub(l.d.Now()), time.Millisecond), maxSleep)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.wake:
		l.woken = true
	case <-timer.C:
	case r := <-l.finished:
		l.took(r)
	}
	for { // whatever else has happened by now
		select {
		case <-l.wake:
			l.woken = true
		case r := <-l.finished:
			l.took(r)
		default:
			return
		}
	}
}

// look starts what is due and returns when to look again, unless woken before.
// A delivery is in the queue until its attempt is settled, so what was in
// flight before the query is left out of its answer: inFlight changes only
// in sleep and in start, never between the query and the choice.
func (l *lane) look(ctx context.Context) (again time.Time) {
	now := l.d.Now()
	switch {
	case l.disabled != "":
		l.ahead = nil // still in the queue
		return l.bury(ctx)
	case l.full():
		return time.Time{} // the next attempt that ends wakes us
	case now.Before(l.pausedUntil):
		return l.pausedUntil
	}
	if l.woken {
		l.woken = false
		l.yield()
	}
	for len(l.ahead) > 0 && !l.full() {
		l.start(l.ahead[0])
		l.ahead = l.ahead[1:]
	}
	if l.full() {
		return time.Time{}
	}
	// Enough to fill every free slot, even when all that are in flight are
	// among them.
	due, next, err := l.d.Queue.DueDeliveries(ctx, l.sink.name, now, l.d.Concurrency+l.batch)
	if err != nil {
		return l.storeFailed(ctx, err)
	}
	l.storeWait.reset()
	l.batch = min(2*l.batch, lookAhead)
	maps.DeleteFunc(l.refused, func(_ int64, until time.Time) bool {
		return !now.Before(until) || until.Sub(now) > claimAgain // the clock was set back
	})
	for _, d := range due {
		switch until, refused := l.refused[d.Entry.Seq]; {
		case l.inFlight[d.Entry.Seq]:
		case refused:
			if again.IsZero() || until.Before(again) {
				again = until
			}
		case l.full():
			l.ahead = append(l.ahead, d)
		default:
			l.start(d)
		}
	}
	if l.full() {
		return time.Time{}
	}
	if !next.IsZero() && !next.After(now) {
		next = now.Add(time.Second) // not what the queue promises; never spin
	}
	if again.IsZero() || !next.IsZero() && next.Before(again) {
		return next
	}
	return again
}

// yield forgets what was read ahead, and is still in the queue, but for what
// nothing new goes before: urgent notifications that were never tried.
func (l *lane) yield() {
	keep := slices.IndexFunc(l.ahead, func(d breakglass.Delivery) bool { return d.Attempts > 0 || !d.Entry.Event.Urgent() })
	if keep >= 0 {
		l.ahead = l.ahead[:keep]
		l.batch = l.d.Concurrency // what is read in vain costs time
	}
}

// full reports whether as much is in flight as may be.
func (l *lane) full() bool { return len(l.inFlight) >= l.d.Concurrency }

func (l *lane) start(d breakglass.Delivery) {
	l.inFlight[d.Entry.Seq] = true
	l.busy.Add(1)
	go l.attempt(d)
}

func (l *lane) storeFailed(ctx context.Context, err error) (again time.Time) {
	if ctx.Err() != nil {
		return time.Time{}
	}
	if l.storeWait.first() {
		l.d.Log.Error("can't read waiting notifications; trying again", "sink", l.sink.name, "error", err)
	}
	return l.d.Now().Add(l.storeWait.grow())
}

// took notes what an attempt says about the sink as a whole.
func (l *lane) took(r result) {
	delete(l.inFlight, r.seq)
	l.busy.Add(-1)
	if r.refused {
		l.refused[r.seq] = r.at.Add(claimAgain)
	}
	if r.cut || r.refused {
		return
	}
	name, log := l.sink.name, l.d.Log
	if r.failure == nil {
		if !l.failingSince.IsZero() {
			log.Info("notification sink works again", "sink", name, "after", r.at.Sub(l.failingSince).Round(time.Second).String())
			l.failingSince = time.Time{}
		}
		return
	}
	if r.failure.Verdict == Retry && l.failingSince.IsZero() { // a notification that is refused for good says nothing about the next
		l.failingSince = r.at
		log.Warn("notification sink fails; trying again until it works", "sink", name, "error", r.failure.Message)
	}
	if r.failure.RetryAfter > 0 {
		if until := r.at.Add(min(r.failure.RetryAfter, maxPause)); until.After(l.pausedUntil) {
			l.pausedUntil = until
		}
	}
	if r.failure.Verdict == Disable && l.disabled == "" {
		l.disabled = "disabled until restart: " + r.failure.Message
		log.Error("notification sink is gone (410): disabled until restart, its notifications are kept as dead letters",
			"sink", name, "error", r.failure.Message)
		l.d.Observer.Disabled(name)
	}
}

// bury makes dead letters of everything that waits for a disabled sink, due or
// not, and of what still comes.
func (l *lane) bury(ctx context.Context) (again time.Time) {
	buried := 0
	defer func() {
		if buried > 0 {
			l.d.Log.Error("notifications for a disabled sink became dead letters", "sink", l.sink.name, "count", buried)
		}
	}()
	for {
		whenever := l.d.Now().AddDate(100, 0, 0)
		all, _, err := l.d.Queue.DueDeliveries(ctx, l.sink.name, whenever, buryBatch+l.d.Concurrency)
		if err != nil {
			return l.storeFailed(ctx, err)
		}
		before := buried
		for _, d := range all {
			if l.inFlight[d.Entry.Seq] {
				continue
			}
			o := breakglass.DeliveryOutcome{Dead: true, Attempts: d.Attempts, LastError: l.disabled}
			if err := l.record(ctx, d, o); err != nil {
				return l.storeFailed(ctx, err)
			}
			l.d.Observer.Dead(l.sink.name)
			buried++
		}
		l.storeWait.reset()
		if buried == before {
			return time.Time{}
		}
	}
}
