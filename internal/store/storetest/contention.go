package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/ratelimit"
)

const contenders = 100

var errRefused = errors.New("refused")

// limit is the service's own arithmetic over one rule.
func limit(t *testing.T, rule string) breakglass.RateLimiter {
	t.Helper()
	p, err := ratelimit.Parse("ratelimit.yaml", []byte("version: \"1\"\nrules:\n  - {name: the-rule, "+rule+"}\n"))
	require.NoError(t, err)
	return p
}

// invoke checks and writes the way the service does, with the tx alone and the
// limits of the real policy.
func invoke(t *testing.T, s Store, ev breakglass.Event, l breakglass.RateLimiter) error {
	now := ev.CreatedAt
	return s.Update(t.Context(), pairKeys(ev), func(tx breakglass.Tx) error {
		active, err := tx.FindActiveByInvokerAndProfile(ev.Invoker, ev.Profile)
		if err != nil {
			return err
		}
		if active != nil {
			if active.StatusAt(now) == breakglass.StatusActive {
				return fmt.Errorf("active: %w", errRefused)
			}
			lapsed := active.At(now).Event
			if err := errors.Join(tx.PutEvent(lapsed),
				tx.Append(newEntry(breakglass.EntryExpired, lapsed, now), &lapsed, []string{"secops"})); err != nil {
				return err
			}
		}
		d, err := l.CheckRateLimit(tx, ev.Invoker, ev.Profile, now)
		if err != nil {
			return err
		}
		if !d.Permit {
			return fmt.Errorf("%s: %w", d.Limit, errRefused)
		}
		return errors.Join(tx.PutEvent(ev), tx.Append(newEntry(breakglass.EntryInvoked, ev, now), &ev, []string{"secops"}))
	})
}

// contend lets all contenders invoke at once and requires that exactly granted
// of them get through, with one entry and one delivery each.
func contend(t *testing.T, e Engine, stores []Store, granted int, l breakglass.RateLimiter, event func(i int) breakglass.Event) {
	t.Helper()
	got := 0
	for _, err := range inParallel(contenders, func(i int) error { return invoke(t, stores[i%len(stores)], event(i), l) }) {
		if err == nil {
			got++
			continue
		}
		require.ErrorIs(t, err, errRefused, "the loser must be told why, not that something broke")
	}
	require.Equal(t, granted, got, "granted")
	entries := feed(t, e, breakglass.EntryQuery{Limit: 1000, Event: breakglass.EntryInvoked})
	require.Len(t, entries, granted, "one entry for each grant and none for a refusal")
	settled(t, e, func(c require.TestingT) {
		events, err := e.Events(t.Context(), breakglass.EventQuery{Limit: 2 * contenders, Status: breakglass.StatusActive, Now: at(0)})
		require.NoError(c, err)
		require.Len(c, events, granted)
	})
	due, _, err := e.DueDeliveries(t.Context(), "secops", at(time.Hour), 2*contenders)
	require.NoError(t, err)
	require.Len(t, due, int(mustHead(t, e)), "one delivery for each entry")
}

func mustHead(t *testing.T, s Store) int64 {
	t.Helper()
	head, err := s.Head(t.Context())
	require.NoError(t, err)
	return head
}

func testStacking(t *testing.T, e Engine) {
	// A lapsed event is in the way: exactly one of the contenders expires it.
	lapsed := newEvent("alice", "prod", at(-2*time.Hour))
	put(t, e, lapsed)
	contend(t, e, []Store{e}, 1, ratelimit.None{}, func(int) breakglass.Event { return newEvent("alice", "prod", at(0)) })
	require.Len(t, feed(t, e, breakglass.EntryQuery{Limit: 10, Event: breakglass.EntryExpired}), 1)
	got, err := e.Event(t.Context(), lapsed.ID)
	require.NoError(t, err)
	require.Equal(t, breakglass.StatusExpired, got.Status)
}

func testUserQuota(t *testing.T, e Engine) {
	put(t, e, closedEvent("alice", "old", at(-23*time.Hour)), closedEvent("alice", "old", at(-24*time.Hour))) // one of two in the window
	contend(t, e, []Store{e}, 6, limit(t, "max_per_user: 7, quota_window: 24h"), func(i int) breakglass.Event {
		return newEvent("alice", fmt.Sprintf("profile-%d", i), at(0))
	})
}

func testProfileQuota(t *testing.T, e Engine) {
	put(t, e, closedEvent("bob", "prod", at(-time.Hour)))
	contend(t, e, []Store{e}, 9, limit(t, "max_per_profile: 10, quota_window: 24h"), func(i int) breakglass.Event {
		return newEvent(fmt.Sprintf("user-%d", i), "prod", at(0))
	})
}

// testCooldown closes each event at once, so that only the cooldown stands in
// the way: each of ten users gets one, inside it none gets a second.
func testCooldown(t *testing.T, e Engine) {
	const users = 10
	l := limit(t, "cooldown: 30m")
	granted := make([]bool, contenders)
	for _, err := range inParallel(contenders, func(i int) error {
		ev := closedEvent(fmt.Sprintf("user-%d", i%users), "prod", at(time.Duration(i)*time.Microsecond))
		err := invoke(t, e, ev, l)
		granted[i] = err == nil
		if errors.Is(err, errRefused) {
			return nil
		}
		return err
	}) {
		require.NoError(t, err)
	}
	n := 0
	for _, ok := range granted {
		if ok {
			n++
		}
	}
	require.Equal(t, users, n)
	last := findLast(t, e, "user-0", "prod")
	require.NotNil(t, last)
	require.ErrorIs(t, invoke(t, e, closedEvent("user-0", "prod", last.CreatedAt.Add(30*time.Minute-time.Microsecond)), l), errRefused)
	require.NoError(t, invoke(t, e, closedEvent("user-0", "prod", last.CreatedAt.Add(30*time.Minute)), l), "over at its end")
}

func testReplicas(t *testing.T, e Engine) {
	if e.Replica == nil {
		t.Skip("this engine allows one handle on its data, not several")
	}
	stores := []Store{e, e.Replica(t)}
	contend(t, e, stores, 3, limit(t, "max_per_user: 3, quota_window: 24h"), func(i int) breakglass.Event {
		return newEvent("alice", fmt.Sprintf("profile-%d", i%50), at(0))
	})
	require.Equal(t, mustHead(t, stores[0]), mustHead(t, stores[1]))
	require.Equal(t, feed(t, stores[0], breakglass.EntryQuery{Limit: 7}), feed(t, stores[1], breakglass.EntryQuery{Limit: 11}))
}
