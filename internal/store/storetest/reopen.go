package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// fill writes one of everything and returns a check that all of it is there,
// and that the store goes on from there.
func fill(t *testing.T, s Store) (check func(s Store)) {
	t.Helper()
	ev := newEvent("alice", "prod", at(0))
	keys := breakglass.Keys{Invoker: "alice", Profile: "prod", Caller: "alice", Idempotency: "key"}
	idem := breakglass.Idempotent{Caller: "alice", Key: "key", Fingerprint: "f", EventID: ev.ID, CreatedAt: at(0)}
	require.NoError(t, s.Update(t.Context(), keys, func(tx breakglass.Tx) error {
		return errors.Join(tx.PutEvent(ev), tx.PutIdempotent(idem),
			tx.Append(newEntry(breakglass.EntryInvoked, ev, at(time.Hour)), &ev, []string{"secops"}),
			tx.Append(newEntry(breakglass.EntryEscalated, ev, at(0)), &ev, nil))
	}))
	factor := newFactor("alice")
	putFactor(t, s, factor)
	pending, approved := newRequest("alice", "prod", at(0)), approvedRequest("alice", "prod", at(0))
	putRequests(t, s, pending, approved)
	for i := range 30 {
		put(t, s, closedEvent("bob", fmt.Sprintf("profile-%d", i), at(time.Duration(i)*time.Minute)))
	}
	trail := feed(t, s, breakglass.EntryQuery{Limit: 10})
	return func(s Store) {
		t.Helper()
		require.Equal(t, trail, feed(t, s, breakglass.EntryQuery{Limit: 10}))
		got, err := s.Event(t.Context(), ev.ID)
		require.NoError(t, err)
		require.Equal(t, ev, got)
		require.Equal(t, &ev, findActive(t, s, "alice", "prod"))
		require.Equal(t, &idem, findIdempotent(t, s, "alice", "key"))
		require.Equal(t, &factor, findFactor(t, s, "alice"))
		require.Equal(t, breakglass.OpenRequests{Pending: &pending, Approved: &approved}, findOpen(t, s, pairOf(pending)))
		standing, err := s.Standing(t.Context(), pairOf(pending))
		require.NoError(t, err)
		require.Equal(t, breakglass.Standing{Event: &ev, Pending: &pending, Approved: &approved, LatestEntry: at(time.Hour)}, standing)
		require.Equal(t, []breakglass.Task{eventTask(ev), requestTask(approved), requestTask(pending)}, agenda(t, s, 10))
		seqs, _ := due(t, s, "secops", at(0), 10)
		require.Equal(t, []int64{1}, seqs)
		latest, err := s.LatestEntryTime(t.Context())
		require.NoError(t, err)
		require.Equal(t, at(time.Hour), latest, "of any entry, not of the newest")
		require.NoError(t, s.Wait(t.Context(), 1))

		ended := ev
		ended.Status = breakglass.StatusClosed
		require.NoError(t, s.Update(t.Context(), breakglass.Keys{EventID: ev.ID}, func(tx breakglass.Tx) error {
			return errors.Join(tx.PutEvent(ended), tx.Append(newEntry(breakglass.EntryClosed, ended, at(2*time.Hour)), &ended, nil))
		}))
		require.EqualValues(t, 3, mustHead(t, s), "the sequence goes on")
		requireChain(t, s)
	}
}

func testReopen(t *testing.T, e Engine) {
	if e.Reopen == nil {
		t.Skip("this engine has nothing to reopen")
	}
	check := fill(t, e)
	check(e.Reopen(t))
}

func testCrash(t *testing.T, e Engine) {
	if e.Crash == nil {
		t.Skip("this engine can't be opened as after a crash")
	}
	check := fill(t, e)
	check(e.Crash(t))
}
