package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"

	"breakglass/internal/breakglass"
)

// faulty is a store with a bug planted in it.
type faulty struct {
	breakglass.Store
	mu    sync.Mutex
	calls int
	tx    func(f *faulty, tx breakglass.Tx) breakglass.Tx
	event func(f *faulty, ev breakglass.Event) breakglass.Event
	// Of access requests.
	request  func(r breakglass.AccessRequest) breakglass.AccessRequest
	standing func(p breakglass.Pair, st breakglass.Standing) breakglass.Standing
}

func (f *faulty) Update(ctx context.Context, k breakglass.Keys, fn func(breakglass.Tx) error) error {
	if f.tx == nil {
		return f.Store.Update(ctx, k, fn)
	}
	return f.Store.Update(ctx, k, func(tx breakglass.Tx) error { return fn(f.tx(f, tx)) })
}

func (f *faulty) Event(ctx context.Context, id string) (breakglass.Event, error) {
	ev, err := f.Store.Event(ctx, id)
	if err == nil && f.event != nil {
		ev = f.event(f, ev)
	}
	return ev, err
}

// every reports true for each nth call.
func (f *faulty) every(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	return f.calls%n == 0
}

type faultyTx struct {
	breakglass.Tx
	find func(ev *breakglass.Event) *breakglass.Event
	get  func(ev breakglass.Event) breakglass.Event
	put  func(ev breakglass.Event) (breakglass.Event, bool)
	// Of access requests.
	open       func(breakglass.OpenRequests) breakglass.OpenRequests
	getRequest func(r breakglass.AccessRequest) breakglass.AccessRequest
	putRequest func(r breakglass.AccessRequest) (breakglass.AccessRequest, bool)
}

func (x faultyTx) FindActiveByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	ev, err := x.Tx.FindActiveByInvokerAndProfile(invoker, profile)
	if x.find != nil && ev != nil {
		ev = x.find(ev)
	}
	return ev, err
}

func (x faultyTx) Event(id string) (breakglass.Event, error) {
	ev, err := x.Tx.Event(id)
	if x.get != nil && err == nil {
		ev = x.get(ev)
	}
	return ev, err
}

func (x faultyTx) PutEvent(ev breakglass.Event) error {
	if x.put != nil {
		var keep bool
		if ev, keep = x.put(ev); !keep {
			return nil
		}
	}
	return x.Tx.PutEvent(ev)
}

// TestTheCheckerCatchesPlantedBugs shows that the test above can fail.
func TestTheCheckerCatchesPlantedBugs(t *testing.T) {
	var mu sync.Mutex
	stale := map[string]breakglass.Event{}
	bugs := map[string]*faulty{
		"an active event taken for a lapsed one": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, find: func(ev *breakglass.Event) *breakglass.Event {
				if f.every(10) {
					early := *ev
					early.ExpiresAt = early.CreatedAt
					return &early
				}
				return ev
			}}
		}},
		"a close that is acknowledged but lost": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				return ev, ev.Status != breakglass.StatusClosed || !f.every(5)
			}}
		}},
		"an invocation that is acknowledged but lost": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				if ev.Status == breakglass.StatusActive && f.every(5) {
					ev.Status, ev.ClosedAt = breakglass.StatusClosed, ev.CreatedAt
				}
				return ev, true
			}}
		}},
		"an extension that is acknowledged but lost": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				return ev, ev.Extensions == 0 || ev.Status != breakglass.StatusActive || !f.every(5)
			}}
		}},
		"an extension that isn't counted": {tx: func(_ *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				ev.Extensions = min(ev.Extensions, 2)
				return ev, true
			}}
		}},
		"an extension of what was closed": {tx: func(_ *faulty, tx breakglass.Tx) breakglass.Tx {
			var revived bool
			return faultyTx{Tx: tx, get: func(ev breakglass.Event) breakglass.Event {
				if revived = ev.Status == breakglass.StatusClosed && time.Now().Before(ev.ExpiresAt); revived {
					ev.Status = breakglass.StatusActive
				}
				return ev
			}, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				if revived && ev.Status == breakglass.StatusActive {
					ev.Status = breakglass.StatusClosed // or the next one can't be invoked
				}
				return ev, true
			}}
		}},
		"closing twice": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, get: func(ev breakglass.Event) breakglass.Event {
				if ev.Status == breakglass.StatusClosed && time.Now().Before(ev.ExpiresAt) {
					ev.Status = breakglass.StatusActive
				}
				return ev
			}}
		}},
		"a check that reads an old copy": {event: func(_ *faulty, ev breakglass.Event) breakglass.Event {
			mu.Lock()
			defer mu.Unlock()
			if old, ok := stale[ev.ID]; ok {
				return old
			}
			stale[ev.ID] = ev
			return ev
		}},
		"an event that ends half a second late": {event: func(_ *faulty, ev breakglass.Event) breakglass.Event {
			if ev.Status != breakglass.StatusClosed {
				ev.Status, ev.ExpiresAt = breakglass.StatusActive, ev.ExpiresAt.Add(500*time.Millisecond)
			}
			return ev
		}},
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			newRecorder(serveOver(t, func(s breakglass.Store) breakglass.Store { bug.Store = s; return bug })).findsABug(t)
		})
	}
}

// findsABug records until the checker objects, which it has to.
func (r *recorder) findsABug(t *testing.T) {
	t.Helper()
	r.broken = true
	// A piece is long enough for an event to end in it.
	hunt(t, func() { r.record(t, 8, 1500*time.Millisecond, func() bool { return true }) }, func() porcupine.CheckResult {
		return porcupine.CheckOperationsTimeout(eventModel, r.history, patience)
	})
	t.Logf("%d operations: %v", len(r.history), r.kinds)
}

// hunt records piece after piece until the checker objects, which it has to.
// Each piece ends with every call answered; the first in which the bug shows is
// the last.
func hunt(t *testing.T, record func(), check func() porcupine.CheckResult) {
	t.Helper()
	result := porcupine.Ok
	for begun := time.Now(); result != porcupine.Illegal && time.Since(begun) < 2*patience; {
		record()
		result = check()
	}
	assert.Equal(t, porcupine.Illegal, result)
}
