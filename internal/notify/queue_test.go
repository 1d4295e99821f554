package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"breakglass/internal/breakglass"
)

// memory is a queue and a journal for tests of the dispatcher alone.
type memory struct {
	mu       sync.Mutex
	pending  []breakglass.Delivery
	dead     []breakglass.Delivery
	settled  []breakglass.DeliveryOutcome
	head     int64
	grown    chan struct{} // closed and replaced when the head moves
	reads    int
	failRead error
	failSave error
	taken    map[int64]bool // seqs that another server claims first
	refuse   map[int64]bool // seqs that are due and can't be claimed
	failHold error          // of claims
	claims   []hold
}

// hold is a claim that was asked for.
type hold struct{ at, from, until time.Time }

func newMemory() *memory { return &memory{grown: make(chan struct{})} }

// add commits an entry with its deliveries.
func (m *memory) add(at time.Time, typ breakglass.EntryType, sinks ...string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head++
	d := delivery(m.head, at, typ)
	for _, s := range sinks {
		d.Sink, d.NextAttempt = s, at
		m.pending = append(m.pending, d)
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return m.head
}

func delivery(seq int64, at time.Time, typ breakglass.EntryType) breakglass.Delivery {
	at = at.UTC().Truncate(time.Microsecond)
	ev := breakglass.Event{
		ID: fmt.Sprintf("%016x", seq), Invoker: "alice@example.com", RequestedBy: "alice@example.com", Profile: "prod",
		ReasonCode: breakglass.ReasonIncident, Justification: "Primary database down, INC-4711", DurationSeconds: 3600,
		Status: breakglass.StatusActive, CreatedAt: at, UpdatedAt: at, ExpiresAt: at.Add(time.Hour), RequestID: "req-0001", PolicyRule: "oncall",
	}
	sum := sha256.Sum256(fmt.Append(nil, seq))
	return breakglass.Delivery{Event: &ev, Entry: breakglass.LogEntry{
		Seq: seq, Timestamp: at, Event: typ, EventID: ev.ID, RequestID: ev.RequestID, Actor: ev.Invoker, Invoker: ev.Invoker, Profile: ev.Profile,
		ReasonCode: ev.ReasonCode, Justification: ev.Justification, Status: ev.Status, DurationSeconds: ev.DurationSeconds,
		ExpiresAt: ev.ExpiresAt, PrevHash: hex.EncodeToString(make([]byte, 32)), Hash: hex.EncodeToString(sum[:]),
	}}
}

// readCount is how often the queue was read.
func (m *memory) readCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

func (m *memory) DueDeliveries(ctx context.Context, sink string, now time.Time, limit int) (due []breakglass.Delivery, next time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if err := errors.Join(ctx.Err(), m.failRead); err != nil {
		return nil, time.Time{}, err
	}
	for _, d := range m.pending {
		switch {
		case d.Sink != sink:
		case d.NextAttempt.After(now):
			if next.IsZero() || d.NextAttempt.Before(next) {
				next = d.NextAttempt
			}
		default:
			due = append(due, d)
		}
	}
	slices.SortStableFunc(due, func(a, b breakglass.Delivery) int { return a.NextAttempt.Compare(b.NextAttempt) })
	return due[:min(limit, len(due))], next, nil
}

func (m *memory) ClaimDelivery(ctx context.Context, d breakglass.Delivery, now, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims = append(m.claims, hold{time.Now(), now, until})
	if m.failHold != nil {
		return m.failHold
	}
	if m.refuse[d.Entry.Seq] {
		return breakglass.ErrNotFound
	}
	if m.taken[d.Entry.Seq] {
		m.pending = slices.DeleteFunc(m.pending, func(p breakglass.Delivery) bool { return p.Entry.Seq == d.Entry.Seq })
		return breakglass.ErrNotFound
	}
	return ctx.Err()
}

func (m *memory) SettleDelivery(ctx context.Context, settled breakglass.Delivery, o breakglass.DeliveryOutcome) error {
	seq, sink := settled.Entry.Seq, settled.Sink
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.failSave); err != nil {
		return err
	}
	i := slices.IndexFunc(m.pending, func(d breakglass.Delivery) bool { return d.Entry.Seq == seq && d.Sink == sink })
	if i < 0 {
		return breakglass.ErrNotFound
	}
	m.settled = append(m.settled, o)
	d := &m.pending[i]
	d.Attempts, d.LastError, d.NextAttempt, d.Dead = o.Attempts, o.LastError, o.NextAttempt, o.Dead
	if o.Dead {
		m.dead = append(m.dead, *d)
	}
	if o.Delivered || o.Dead {
		m.pending = slices.Delete(m.pending, i, i+1)
	}
	return nil
}

func (m *memory) DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := map[string]breakglass.DeliveryCount{}
	for _, d := range m.pending {
		c := counts[d.Sink]
		c.Pending++
		counts[d.Sink] = c
	}
	for _, d := range m.dead {
		c := counts[d.Sink]
		c.Dead++
		counts[d.Sink] = c
	}
	return counts, ctx.Err()
}

func (m *memory) Head(ctx context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, ctx.Err()
}

func (m *memory) Wait(ctx context.Context, after int64) error {
	for {
		m.mu.Lock()
		head, grown := m.head, m.grown
		m.mu.Unlock()
		if head > after {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memory) left() (pending, dead int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending), len(m.dead)
}

func (m *memory) set(f func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

// recorder is a Notifier that remembers its calls and answers as told.
type recorder struct {
	mu     sync.Mutex
	calls  []call
	answer func(ctx context.Context, nth int, n Notification) error // nil: takes everything
}

type call struct {
	at  time.Time
	seq int64
	id  string
	doc string
}

func (r *recorder) Notify(ctx context.Context, n Notification) error {
	r.mu.Lock()
	r.calls = append(r.calls, call{time.Now(), n.Seq, n.ID, string(n.Body)})
	nth := len(r.calls)
	r.mu.Unlock()
	if r.answer == nil {
		return nil
	}
	return r.answer(ctx, nth, n)
}

func (r *recorder) seen() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *recorder) seqs() []int64 {
	var out []int64
	for _, c := range r.seen() {
		out = append(out, c.seq)
	}
	return out
}

func setOf(notifiers map[string]Notifier) *Set {
	s := &Set{}
	for name, n := range notifiers {
		s.sinks = append(s.sinks, &sink{name: name, notifier: n, close: closerOf(n)})
	}
	slices.SortFunc(s.sinks, func(a, b *sink) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return s
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testLog() (*slog.Logger, *lockedBuffer) {
	b := &lockedBuffer{}
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})), b
}

// start runs a dispatcher for the test and stops it at its end.
func start(t *testing.T, o Options) *Dispatcher {
	t.Helper()
	if o.Log == nil {
		o.Log, _ = testLog()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = func() float64 { return 0 }
	}
	d := NewDispatcher(o)
	d.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = d.Stop(ctx)
	})
	return d
}
