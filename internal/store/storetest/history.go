package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// look runs a look-up in a transaction of its own.
func look(t *testing.T, s Store, invoker, profile string, f func(tx breakglass.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{Invoker: invoker, Profile: profile}, f))
}

func findActive(t *testing.T, s Store, invoker, profile string) (ev *breakglass.Event) {
	t.Helper()
	look(t, s, invoker, profile, func(tx breakglass.Tx) (err error) {
		ev, err = tx.FindActiveByInvokerAndProfile(invoker, profile)
		return err
	})
	return ev
}

func findLast(t *testing.T, s Store, invoker, profile string) (ev *breakglass.Event) {
	t.Helper()
	look(t, s, invoker, profile, func(tx breakglass.Tx) (err error) {
		ev, err = tx.GetLastByInvokerAndProfile(invoker, profile)
		return err
	})
	return ev
}

func testFindActive(t *testing.T, e Engine) {
	require.Nil(t, findActive(t, e, "alice", "prod"))
	active := newEvent("alice", "prod", at(0))
	// Newer events around it, on the same profile and on others, don't hide it.
	put(t, e, active, closedEvent("alice", "prod", at(time.Minute)), newEvent("alice", "staging", at(2*time.Minute)),
		newEvent("bob", "prod", at(3*time.Minute)))
	require.Equal(t, &active, findActive(t, e, "alice", "prod"))

	lapsed := active
	require.Equal(t, &lapsed, findActive(t, e, "alice", "prod"), "a lapsed event is still stored as active")
	lapsed.Status, lapsed.UpdatedAt = breakglass.StatusExpired, lapsed.ExpiresAt
	next := newEvent("alice", "prod", lapsed.ExpiresAt)
	require.NoError(t, e.Update(t.Context(), pairKeys(next), func(tx breakglass.Tx) error {
		return errors.Join(tx.PutEvent(lapsed), tx.PutEvent(next)) // expire and invoke in one transaction
	}))
	require.Equal(t, &next, findActive(t, e, "alice", "prod"))
	next.Status = breakglass.StatusClosed
	put(t, e, next)
	require.Nil(t, findActive(t, e, "alice", "prod"))
}

func testFindLast(t *testing.T, e Engine) {
	require.Nil(t, findLast(t, e, "alice", "prod"))
	first, second := closedEvent("alice", "prod", at(time.Hour)), closedEvent("alice", "prod", at(2*time.Hour))
	put(t, e, second, first, closedEvent("alice", "staging", at(3*time.Hour)), closedEvent("bob", "prod", at(4*time.Hour)))
	require.Equal(t, &second, findLast(t, e, "alice", "prod"), "the newest by time, not by insertion")
}

func testCounts(t *testing.T, e Engine) {
	count := func(invoker, profile string, since time.Time, atMost int) (byInvoker, byProfile breakglass.Tally) {
		look(t, e, invoker, profile, func(tx breakglass.Tx) (err error) {
			if byInvoker, err = tx.CountByInvokerSince(invoker, since, atMost); err != nil {
				return err
			}
			byProfile, err = tx.CountByProfileSince(profile, since, atMost)
			return err
		})
		return byInvoker, byProfile
	}
	none, _ := count("alice", "prod", at(-time.Hour), 5)
	require.Equal(t, breakglass.Tally{}, none)

	expired := newEvent("alice", "staging", at(3*time.Minute))
	expired.Status = breakglass.StatusExpired
	put(t, e, closedEvent("alice", "prod", at(1*time.Minute)), closedEvent("alice", "prod", at(2*time.Minute)), expired,
		newEvent("alice", "prod", at(4*time.Minute)), newEvent("bob", "prod", at(5*time.Minute)))

	for _, c := range []struct {
		since              time.Duration
		atMost             int
		invoker, profile   int
		oldestI, oldestPro time.Duration
	}{
		{0, 10, 4, 4, 1 * time.Minute, 1 * time.Minute},
		{time.Minute, 10, 3, 3, 2 * time.Minute, 2 * time.Minute},                    // created at the very instant: outside
		{time.Minute - time.Microsecond, 10, 4, 4, 1 * time.Minute, 1 * time.Minute}, // a microsecond later: inside
		{0, 2, 2, 2, 3 * time.Minute, 4 * time.Minute},                               // the newest are counted first
		{0, 1, 1, 1, 4 * time.Minute, 5 * time.Minute},
		{4 * time.Minute, 10, 0, 1, 0, 5 * time.Minute},
	} {
		i, p := count("alice", "prod", at(c.since), c.atMost)
		require.Equal(t, c.invoker, i.Count, "%+v", c)
		require.Equal(t, c.profile, p.Count, "%+v", c)
		if c.invoker > 0 {
			require.Equal(t, at(c.oldestI), i.Oldest, "%+v", c)
		} else {
			require.True(t, i.Oldest.IsZero())
		}
		require.Equal(t, at(c.oldestPro), p.Oldest, "%+v", c)
	}
	zero, _ := count("alice", "prod", at(0), 0)
	require.Zero(t, zero.Count)
}
