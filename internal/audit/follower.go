package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"breakglass/internal/breakglass"
)

// Follower feeds the committed entries of a journal to loggers beside the
// service: each at its own pace, in order, at least once. A logger that fails
// is tried again until it takes the entry, and holds up nobody else.
//
// A Resumer continues where it ended. Any other Logger gets what is committed
// after Check, or after Run began where Check wasn't called.
type Follower struct {
	Journal breakglass.Journal
	// Loggers may be empty and may contain nil.
	Loggers []Logger
	// Log is told once when a logger begins to fail, and once when it is well again.
	Log *slog.Logger

	begin *int64 // the head at the time of Check
}

const (
	followBatch = 500
	retryMin    = 100 * time.Millisecond
	retryMax    = 15 * time.Second
	// drainTime bounds how long the end of Run takes to hand over what was
	// committed last.
	drainTime = 2 * time.Second
)

// Check asks every Resumer whether it can go on with this trail. A server calls
// it before it serves: a mirror of another trail is seen at once, and no logger
// misses the first entries. It must not run beside Run.
func (f *Follower) Check(ctx context.Context) error {
	if len(f.loggers()) == 0 {
		return nil
	}
	head, err := f.Journal.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the audit trail: %w", err)
	}
	f.begin = &head
	var errs []error
	for _, l := range f.loggers() {
		if r, ok := l.(Resumer); ok {
			_, err := r.Resume(f.hashOf(ctx))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Run feeds the loggers until ctx ends; then it hands over what is committed by
// that time, for two seconds at most, and returns. A logger that hangs even
// then, such as a pipe that nobody reads, is left behind.
func (f *Follower) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range f.loggers() {
		wg.Go(func() { (&feed{Follower: f, logger: l, after: -1}).run(ctx) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	t := time.NewTimer(drainTime + time.Second)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		f.log().Error("an audit logger hangs and is left behind; what it lacks is in the audit trail")
	}
}

// loggers leaves out nil, be it in the interface or in the pointer within.
func (f *Follower) loggers() []Logger {
	var out []Logger
	for _, l := range f.Loggers {
		v := reflect.ValueOf(l)
		if l == nil || (v.Kind() == reflect.Pointer && v.IsNil()) {
			continue
		}
		out = append(out, l)
	}
	return out
}

// hashOf looks a hash up in the journal, as Resumer wants it.
func (f *Follower) hashOf(ctx context.Context) func(seq int64) (string, error) {
	return func(seq int64) (string, error) {
		entries, _, err := f.Journal.Entries(ctx, breakglass.EntryQuery{After: seq - 1, Limit: 1})
		switch {
		case err != nil:
			return "", fmt.Errorf("read the audit trail: %w", err)
		case len(entries) == 0 || entries[0].Seq != seq:
			return "", ErrNotInTrail
		}
		return entries[0].Hash, nil
	}
}

// feed is one logger's way through the journal.
type feed struct {
	*Follower
	logger Logger
	after  int64 // the last entry that the logger has taken; -1: not known yet

	failing bool // an outage that was logged
	since   time.Time
	delay   time.Duration
}

func (f *feed) run(ctx context.Context) {
	woken := false
	for ctx.Err() == nil {
		more, err := f.step(ctx)
		if err == nil && !more {
			f.recovered()
			if woken { // nothing was there after all: don't spin
				f.pause(ctx)
			}
			err = f.Journal.Wait(ctx, f.after)
			woken = err == nil
		} else {
			woken = false
		}
		if err != nil && ctx.Err() == nil {
			f.failed(err)
			f.pause(ctx)
		}
	}
	f.drain(ctx)
}

// step hands over one batch. more says that there may be another one.
func (f *feed) step(ctx context.Context) (more bool, err error) {
	if err := f.position(ctx); err != nil {
		return false, err
	}
	entries, _, err := f.Journal.Entries(ctx, breakglass.EntryQuery{After: f.after, Limit: followBatch})
	if err != nil {
		return false, fmt.Errorf("read the audit trail: %w", err)
	}
	for i, e := range entries {
		if e.Seq != f.after+int64(i)+1 {
			return false, fmt.Errorf("the audit trail has entry %d where entry %d is due", e.Seq, f.after+int64(i)+1)
		}
	}
	if err := f.deliver(entries); err != nil {
		return false, err
	}
	return len(entries) > 0, nil
}

func (f *feed) position(ctx context.Context) error {
	r, ok := f.logger.(Resumer)
	if !ok {
		if f.after >= 0 {
			return nil
		}
		if f.begin != nil {
			f.after = *f.begin
			return nil
		}
		head, err := f.Journal.Head(ctx)
		if err != nil {
			return fmt.Errorf("read the audit trail: %w", err)
		}
		f.after = head
		return nil
	}
	after, err := r.Resume(f.hashOf(ctx))
	if err != nil {
		return err
	}
	f.after = after
	return nil
}

func (f *feed) deliver(entries []breakglass.LogEntry) error {
	if len(entries) == 0 {
		return nil
	}
	if b, ok := f.logger.(BatchLogger); ok {
		if err := b.LogBatch(entries); err != nil {
			return err
		}
		f.after = entries[len(entries)-1].Seq
		return nil
	}
	for _, e := range entries {
		if err := f.logger.LogBreakGlass(e); err != nil {
			return err
		}
		f.after = e.Seq
	}
	return nil
}

// drain hands over what was committed before the end of ctx.
func (f *feed) drain(ctx context.Context) {
	if f.failing {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	for ctx.Err() == nil {
		more, err := f.step(ctx)
		if err != nil {
			f.failed(err)
			return
		}
		if !more {
			return
		}
	}
}

func (f *feed) failed(err error) {
	if f.failing {
		return
	}
	f.failing, f.since = true, time.Now()
	f.log().Error("an audit logger is failing; its entries stay in the audit trail and are handed over when it is well again",
		"logger", name(f.logger), "after", f.after, "error", err)
}

func (f *feed) recovered() {
	f.delay = 0
	if !f.failing {
		return
	}
	f.failing = false
	f.log().Info("an audit logger is well again and has everything", "logger", name(f.logger), "after", f.after,
		"outage", time.Since(f.since).Round(time.Second).String())
}

func (f *feed) pause(ctx context.Context) {
	f.delay = min(max(2*f.delay, retryMin), retryMax)
	// Between half and the whole, so that replicas don't come in step.
	t := time.NewTimer(f.delay/2 + rand.N(f.delay/2)) // #nosec G404 -- spreads attempts, hides nothing
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (f *Follower) log() *slog.Logger {
	if f.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.Log
}

func name(l Logger) string {
	if s, ok := l.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", l)
}
