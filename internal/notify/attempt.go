package notify

import (
	"context"
	"errors"
	"time"

	"breakglass/internal/breakglass"
)

// attempt makes one attempt, records what became of it and reports to the lane.
func (l *lane) attempt(d breakglass.Delivery) {
	if !l.claim(d) {
		l.finished <- result{seq: d.Entry.Seq, at: l.d.Now(), refused: true}
		return
	}
	start := l.d.Now()
	failure := l.send(d)
	now := l.d.Now()
	r := result{seq: d.Entry.Seq, at: now, failure: failure}
	if failure != nil && l.d.sending.Err() != nil {
		// Cut off by Stop: that says nothing about the target and costs no
		// attempt. The delivery is still in the queue.
		r.cut = true
		l.finished <- r
		return
	}
	o := l.outcome(d, failure, now)
	l.observe(d, o, failure, now.Sub(start), now)
	l.settle(d, o)
	l.finished <- r
}

// claimMargin is how much longer than an attempt a claim lasts, so that the
// outcome is recorded before another server takes the delivery for abandoned.
const claimMargin = 15 * time.Second

// claim takes the delivery for this attempt; false when another server has it,
// or when Stop came first. Like settle it outlasts a store that can't write.
// Each try is for a whole attempt from then on.
func (l *lane) claim(d breakglass.Delivery) bool {
	return l.persist("can't claim a notification; trying again", d, func(ctx context.Context) error {
		now := l.d.Now()
		return l.d.Queue.ClaimDelivery(ctx, d, now, now.Add(l.d.Timeout+claimMargin))
	}) == nil
}

func (l *lane) send(d breakglass.Delivery) *Failure {
	n, err := NewNotification(d)
	if err != nil {
		return &Failure{Verdict: Permanent, Message: printable(err.Error(), maxMessage)}
	}
	ctx, cancel := context.WithTimeout(l.d.sending, l.d.Timeout)
	defer cancel()
	if err := contained(ctx, l.d.Log, l.sink.name, l.sink.notifier, n); err != nil {
		return asFailure(err)
	}
	return nil
}

// outcome decides what happens with a delivery after an attempt.
func (l *lane) outcome(d breakglass.Delivery, f *Failure, now time.Time) breakglass.DeliveryOutcome {
	o := breakglass.DeliveryOutcome{Attempts: d.Attempts + 1}
	if f == nil {
		o.Delivered = true
		return o
	}
	o.LastError = f.Message
	delay, ok := nextDelay(l.d.Schedule, o.Attempts, f.RetryAfter, l.d.Random())
	if f.Verdict != Retry || !ok {
		o.Dead = true
		return o
	}
	// Rounded up to the store's precision: never earlier than promised.
	o.NextAttempt = now.Add(delay + time.Microsecond - 1).UTC().Truncate(time.Microsecond)
	return o
}

func (l *lane) observe(d breakglass.Delivery, o breakglass.DeliveryOutcome, f *Failure, took time.Duration, now time.Time) {
	log := l.d.Log.With("sink", l.sink.name, "entry_seq", d.Entry.Seq, "event_id", printable(d.Entry.EventID, 64), "attempt", o.Attempts)
	if f == nil {
		l.d.Observer.Sent(l.sink.name, took, max(now.Sub(d.Entry.Timestamp), 0))
		log.Debug("notification sent", "took", took.String())
		return
	}
	l.d.Observer.Failed(l.sink.name, took)
	if !o.Dead {
		log.Debug("notification failed", "error", f.Message, "next_attempt", o.NextAttempt)
		return
	}
	l.d.Observer.Dead(l.sink.name)
	log.Error("notification given up: kept as a dead letter", "error", f.Message, "event", string(d.Entry.Event))
}

// settle records the outcome and doesn't give up before Stop does: as long as
// the store can't write, the slot stays taken, so that a full disk doesn't make
// the same notification go out again and again.
func (l *lane) settle(d breakglass.Delivery, o breakglass.DeliveryOutcome) {
	_ = l.persist("can't record what became of a notification; trying again", d, func(ctx context.Context) error {
		return l.record(ctx, d, o)
	}) // Stop came first: the attempt is repeated after the next start
}

// persist repeats a change of the queue until the store has made it, has said
// that there is nothing to change (ErrNotFound), or Stop has run out of patience.
func (l *lane) persist(complaint string, d breakglass.Delivery, change func(ctx context.Context) error) error {
	wait := backoff{min: 100 * time.Millisecond, max: 5 * time.Second}
	for {
		err := change(l.d.sending)
		if err == nil || errors.Is(err, breakglass.ErrNotFound) {
			return err
		}
		if l.d.sending.Err() != nil {
			return err
		}
		if wait.first() {
			l.d.Log.Error(complaint, "sink", l.sink.name, "entry_seq", d.Entry.Seq, "error", err)
		}
		wait.sleep(l.d.sending)
	}
}

func (l *lane) record(ctx context.Context, d breakglass.Delivery, o breakglass.DeliveryOutcome) error {
	err := l.d.Queue.SettleDelivery(ctx, d, o)
	if errors.Is(err, breakglass.ErrNotFound) {
		return nil
	}
	return err
}
