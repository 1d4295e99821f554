package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/store/dynamodb"
	"breakglass/internal/testenv/teststore"

	"github.com/stretchr/testify/require"
)

// openTable opens a table as one more server does.
func openTable(t testing.TB, c config.DynamoDB) teststore.Store {
	t.Helper()
	st, err := dynamodb.Open(t.Context(), teststore.AWS(), dynamodb.Options{Table: c.Table, Endpoint: c.Endpoint})
	require.NoError(t, err)
	return st
}

// copies are events as a server has seen them first.
type copies struct {
	mu    sync.Mutex
	seen  map[string]breakglass.Event
	until time.Time // after that the copies are served; zero: always
}

func (c *copies) serve(_ *faulty, ev breakglass.Event) breakglass.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.seen[ev.ID]
	switch {
	case ok && time.Now().After(c.until):
		return old
	case !ok && (c.until.IsZero() || time.Now().Before(c.until)):
		c.seen[ev.ID] = ev
	}
	return ev
}

// unmade acknowledges some changes without making them.
type unmade struct {
	breakglass.Store
	faulty faulty
}

var errUnmade = errors.New("not made")

func (u *unmade) Update(ctx context.Context, k breakglass.Keys, fn func(breakglass.Tx) error) error {
	drop := u.faulty.every(10)
	err := u.Store.Update(ctx, k, func(tx breakglass.Tx) error {
		if err := fn(tx); err != nil || !drop {
			return err
		}
		return errUnmade
	})
	if errors.Is(err, errUnmade) {
		return nil
	}
	return err
}

// TestReplicasTheCheckerCatchesPlantedBugs shows that the check over several
// servers can fail. One of the three has the bug, such as those that a store
// has which several servers share.
func TestReplicasTheCheckerCatchesPlantedBugs(t *testing.T) {
	own := copies{seen: map[string]breakglass.Event{}} // events that the server itself has made
	bugs := map[string]func(s breakglass.Store) breakglass.Store{
		"it sees no active events but its own": func(s breakglass.Store) breakglass.Store {
			return &faulty{Store: s, tx: func(_ *faulty, tx breakglass.Tx) breakglass.Tx {
				return faultyTx{Tx: tx, find: func(ev *breakglass.Event) *breakglass.Event {
					own.mu.Lock()
					defer own.mu.Unlock()
					if _, mine := own.seen[ev.ID]; mine {
						return ev
					}
					early := *ev
					early.ExpiresAt = early.CreatedAt
					return &early
				}, put: func(ev breakglass.Event) (breakglass.Event, bool) { own.serve(nil, ev); return ev, true }}
			}}
		},
		"it checks in a cache": func(s breakglass.Store) breakglass.Store {
			return &faulty{Store: s, event: (&copies{seen: map[string]breakglass.Event{}}).serve}
		},
		"it decides over what it has read before": func(s breakglass.Store) breakglass.Store {
			stale := copies{seen: map[string]breakglass.Event{}}
			return &faulty{Store: s, tx: func(_ *faulty, tx breakglass.Tx) breakglass.Tx {
				return faultyTx{Tx: tx, get: func(ev breakglass.Event) breakglass.Event {
					if ev.Status != breakglass.StatusClosed {
						return stale.serve(nil, ev)
					}
					ev.Status = breakglass.StatusActive
					return ev
				}}
			}}
		},
		"it ignores closes": func(s breakglass.Store) breakglass.Store {
			return &faulty{Store: s, tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
				return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
					return ev, ev.Status != breakglass.StatusClosed || !f.every(3)
				}}
			}}
		},
		"its events end late": func(s breakglass.Store) breakglass.Store {
			return &faulty{Store: s, event: func(_ *faulty, ev breakglass.Event) breakglass.Event {
				if ev.Status != breakglass.StatusClosed {
					ev.Status, ev.ExpiresAt = breakglass.StatusActive, ev.ExpiresAt.Add(500*time.Millisecond)
				}
				return ev
			}}
		},
		"it comes back with what it knew before": func(s breakglass.Store) breakglass.Store {
			return &faulty{Store: s, event: (&copies{seen: map[string]breakglass.Event{}, until: time.Now().Add(700 * time.Millisecond)}).serve}
		},
		"it acknowledges what it has not written": func(s breakglass.Store) breakglass.Store { return &unmade{Store: s} },
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			table := teststore.Table(t, t.TempDir())
			same := func(s breakglass.Store) breakglass.Store { return s }
			newRecorder(serveOn(t, openTable(t, table), same), serveOn(t, openTable(t, table), same),
				serveOn(t, openTable(t, table), bug)).findsABug(t)
		})
	}
}
