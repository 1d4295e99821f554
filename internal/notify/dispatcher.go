package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"breakglass/internal/breakglass"
)

// Queue is where deliveries wait. They get there in the transaction of the
// change that they announce, and what becomes of them is written back, so that
// a restart continues where the last run ended.
type Queue interface {
	// DueDeliveries returns the sink's deliveries that aren't dead and whose
	// NextAttempt is at or before now, the longest due first, at most limit of
	// them; and the earliest NextAttempt after now of the others, zero when
	// there is none.
	DueDeliveries(ctx context.Context, sink string, now time.Time, limit int) (due []breakglass.Delivery, next time.Time, err error)
	// ClaimDelivery takes a delivery, as DueDeliveries has returned it, for one
	// attempt: until the given instant DueDeliveries returns it to nobody, also
	// not to other servers. breakglass.ErrNotFound means that somebody else has
	// claimed it, or that it is settled.
	ClaimDelivery(ctx context.Context, d breakglass.Delivery, now, until time.Time) error
	// SettleDelivery records what became of an attempt at a delivery as
	// DueDeliveries has returned it. A delivery that is already gone is not an
	// error, or breakglass.ErrNotFound.
	SettleDelivery(ctx context.Context, d breakglass.Delivery, o breakglass.DeliveryOutcome) error
	// DeliveryCounts counts deliveries by sink, also of sinks that are no
	// longer configured.
	DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error)
}

// Journal tells when something new was committed; breakglass.Journal is one.
type Journal interface {
	Head(ctx context.Context) (int64, error)
	Wait(ctx context.Context, after int64) error
}

// Observer counts what happens, for metrics. It must not block.
type Observer interface {
	// Sent is called when a sink has taken a notification: took is the time of
	// the attempt, age the time since the entry.
	Sent(sink string, took, age time.Duration)
	// Failed is called for each failed attempt.
	Failed(sink string, took time.Duration)
	// Dead is called for each notification that is given up.
	Dead(sink string)
	// Disabled is called when a sink wants no more notifications (410).
	Disabled(sink string)
}

const (
	defaultTimeout     = 15 * time.Second // Standard Webhooks 1.0.0: 15 to 30 s
	defaultConcurrency = 8
)

// Options configure a Dispatcher. Queue, Journal, Set, Log and Now are required.
type Options struct {
	Queue    Queue
	Journal  Journal
	Set      *Set
	Log      *slog.Logger
	Now      func() time.Time
	Observer Observer // nil: none

	Schedule    []time.Duration // wait before each attempt; default DefaultSchedule
	Timeout     time.Duration   // of one attempt; default 15 s
	Concurrency int             // attempts under way at once, per sink; default 8
	Random      func() float64  // in [0, 1), for jitter
}

// Dispatcher sends what is in the queue. Each sink has a lane of its own, which
// shares nothing with the others: whatever a target does, it delays only itself.
type Dispatcher struct {
	Options
	lanes []*lane

	sending     context.Context // of attempts; ends when Stop runs out of patience
	stopSending context.CancelFunc
	stopLoops   context.CancelFunc
	running     sync.WaitGroup
}

// NewDispatcher returns a Dispatcher that Start sets going.
func NewDispatcher(o Options) *Dispatcher {
	if o.Schedule == nil {
		o.Schedule = DefaultSchedule()
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	return &Dispatcher{Options: o}
}

// Start begins to send. It returns at once, also while the store can't be
// reached; it must be called once.
func (d *Dispatcher) Start() {
	var loops context.Context
	loops, d.stopLoops = context.WithCancel(context.Background())
	d.sending, d.stopSending = context.WithCancel(context.Background())
	if d.Set != nil {
		for _, s := range d.Set.sinks {
			d.lanes = append(d.lanes, newLane(d, s))
		}
	}
	for _, l := range d.lanes {
		d.running.Go(func() { l.run(loops) })
	}
	d.running.Go(func() { d.watch(loops) })
}

// Stop starts nothing new and waits for the attempts under way. When ctx ends
// first they are cut off: they were not recorded and are repeated after the
// next start. The error then names the sinks.
func (d *Dispatcher) Stop(ctx context.Context) error {
	d.stopLoops()
	done := make(chan struct{})
	go func() { d.running.Wait(); close(done) }()
	defer d.Set.Close()
	defer d.stopSending()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	d.stopSending()
	var busy []string
	for _, l := range d.lanes {
		if n := l.busy.Load(); n > 0 {
			busy = append(busy, fmt.Sprintf("%s (%d)", l.sink.name, n))
		}
	}
	select {
	case <-done:
	case <-time.After(time.Second): // a notifier that ignores its context
		d.Log.Error("a notifier doesn't return; left behind", "sinks", strings.Join(busy, ", "))
	}
	if len(busy) == 0 {
		return nil
	}
	return fmt.Errorf("notifications cut off, to be repeated after the next start: %s", strings.Join(busy, ", "))
}

// watch wakes every lane when entries are committed. The head is read before
// the lanes look at the queue: what is committed after it ends the Wait.
func (d *Dispatcher) watch(ctx context.Context) {
	d.reportQueue(ctx)
	wait := backoff{min: 100 * time.Millisecond, max: 10 * time.Second}
	for ctx.Err() == nil {
		head, err := d.Journal.Head(ctx)
		if err == nil {
			for _, l := range d.lanes {
				l.poke()
			}
			err = d.Journal.Wait(ctx, head)
		}
		switch {
		case err == nil:
			wait.reset()
		case ctx.Err() == nil:
			if wait.first() {
				d.Log.Error("can't watch the audit trail for new notifications; trying again", "error", err)
			}
			wait.sleep(ctx)
		}
	}
}

// reportQueue says at start what waits from earlier runs, above all what waits
// for sinks that the configuration no longer has: nobody will send that.
func (d *Dispatcher) reportQueue(ctx context.Context) {
	counts, err := d.Queue.DeliveryCounts(ctx)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			d.Log.Warn("can't count waiting notifications", "error", err)
		}
		return
	}
	for name, c := range counts {
		switch {
		case c.Pending == 0 && c.Dead == 0:
		case !slices.Contains(d.Set.Names(), name):
			d.Log.Warn("notifications wait for a sink that is no longer configured; they are kept, not sent",
				"sink", name, "pending", c.Pending, "dead", c.Dead)
		default:
			d.Log.Info("notifications from earlier", "sink", name, "pending", c.Pending, "dead", c.Dead)
		}
	}
}

type unobserved struct{}

func (unobserved) Sent(string, time.Duration, time.Duration) {}
func (unobserved) Failed(string, time.Duration)              {}
func (unobserved) Dead(string)                               {}
func (unobserved) Disabled(string)                           {}

// backoff is the growing wait after failures of the store.
type backoff struct{ min, max, next time.Duration }

func (b *backoff) reset()      { b.next = 0 }
func (b *backoff) first() bool { return b.next == 0 }

func (b *backoff) grow() time.Duration {
	b.next = min(max(b.next*2, b.min), b.max)
	return b.next
}

func (b *backoff) sleep(ctx context.Context) {
	t := time.NewTimer(b.grow())
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
