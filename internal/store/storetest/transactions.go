package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

var errBoom = errors.New("boom")

func testErrorLeavesNothing(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	keys := breakglass.Keys{Invoker: "alice", Profile: "prod", Caller: "alice", Idempotency: "key", Factor: "alice"}
	write := func(tx breakglass.Tx) error {
		return errors.Join(tx.PutEvent(ev),
			tx.PutIdempotent(breakglass.Idempotent{Caller: "alice", Key: "key", Fingerprint: "f", EventID: ev.ID, CreatedAt: at(0)}),
			tx.PutFactor(newFactor("alice")),
			tx.Append(newEntry(breakglass.EntryInvoked, ev, at(0)), &ev, []string{"secops"}))
	}
	err := e.Update(t.Context(), keys, func(tx breakglass.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		return errBoom
	})
	require.Same(t, errBoom, err, "the function's error comes back as it is")
	requireNothing(t, e, ev)

	// The same writes go through when the function doesn't fail.
	require.NoError(t, e.Update(t.Context(), keys, write))
	got, err := e.Event(t.Context(), ev.ID)
	require.NoError(t, err)
	require.Equal(t, ev, got)
	require.Len(t, feed(t, e, breakglass.EntryQuery{Limit: 10}), 1)
}

func requireNothing(t *testing.T, e Engine, ev breakglass.Event) {
	t.Helper()
	_, err := e.Event(t.Context(), ev.ID)
	require.ErrorIs(t, err, breakglass.ErrNotFound)
	head, err := e.Head(t.Context())
	require.NoError(t, err)
	require.Zero(t, head)
	due, next, err := e.DueDeliveries(t.Context(), "secops", at(time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, due)
	require.True(t, next.IsZero())
	require.Nil(t, findFactor(t, e, "alice"), "the second factor was left behind")
	keys := breakglass.Keys{Invoker: ev.Invoker, Profile: ev.Profile, Caller: "alice", Idempotency: "key"}
	require.NoError(t, e.Update(t.Context(), keys, func(tx breakglass.Tx) error {
		record, err := tx.FindIdempotent("alice", "key")
		if err == nil && record != nil {
			err = errors.New("the idempotency record was left behind")
		}
		active, err2 := tx.FindActiveByInvokerAndProfile(ev.Invoker, ev.Profile)
		if err2 == nil && active != nil {
			err2 = errors.New("an active event was left behind")
		}
		return errors.Join(err, err2)
	}))
}

func testOwnWritesInvisible(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	var active, last *breakglass.Event
	var tally breakglass.Tally
	var latest time.Time
	require.NoError(t, e.Update(t.Context(), pairKeys(ev), func(tx breakglass.Tx) error {
		err := errors.Join(tx.PutEvent(ev), tx.Append(newEntry(breakglass.EntryInvoked, ev, at(0)), &ev, nil))
		var err1, err2, err3, err4 error
		active, err1 = tx.FindActiveByInvokerAndProfile("alice", "prod")
		last, err2 = tx.GetLastByInvokerAndProfile("alice", "prod")
		tally, err3 = tx.CountByInvokerSince("alice", at(-time.Hour), 10)
		latest, err4 = tx.LatestEntryTime()
		return errors.Join(err, err1, err2, err3, err4)
	}))
	require.Nil(t, active)
	require.Nil(t, last)
	require.Zero(t, tally)
	require.True(t, latest.IsZero())
}

func testKeys(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	put(t, e, ev)
	keys := breakglass.Keys{EventID: ev.ID, Invoker: "alice", Profile: "prod", Caller: "alice", Idempotency: "key", Factor: "alice"}
	other := newEvent("bob", "staging", at(0))
	for name, lookUp := range map[string]func(tx breakglass.Tx) error{
		"event": func(tx breakglass.Tx) error { _, err := tx.Event(other.ID); return err },
		"active": func(tx breakglass.Tx) error {
			_, err := tx.FindActiveByInvokerAndProfile("alice", "staging")
			return err
		},
		"active of bob": func(tx breakglass.Tx) error { _, err := tx.FindActiveByInvokerAndProfile("bob", "prod"); return err },
		"last":          func(tx breakglass.Tx) error { _, err := tx.GetLastByInvokerAndProfile("alice", "staging"); return err },
		"by invoker":    func(tx breakglass.Tx) error { _, err := tx.CountByInvokerSince("bob", at(0), 1); return err },
		"by profile":    func(tx breakglass.Tx) error { _, err := tx.CountByProfileSince("staging", at(0), 1); return err },
		"idempotent":    func(tx breakglass.Tx) error { _, err := tx.FindIdempotent("alice", "other"); return err },
		"other caller":  func(tx breakglass.Tx) error { _, err := tx.FindIdempotent("bob", "key"); return err },
		"second factor": func(tx breakglass.Tx) error { _, err := tx.FindFactor("bob"); return err },
		"put factor":    func(tx breakglass.Tx) error { return tx.PutFactor(newFactor("bob")) },
		"delete factor": func(tx breakglass.Tx) error { return tx.DeleteFactor("bob") },
		"put event":     func(tx breakglass.Tx) error { return tx.PutEvent(other) },
		"put idempotent": func(tx breakglass.Tx) error {
			return tx.PutIdempotent(breakglass.Idempotent{Caller: "bob", Key: "key", EventID: ev.ID, CreatedAt: at(0)})
		},
	} {
		err := e.Update(t.Context(), keys, lookUp)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, breakglass.ErrNotFound, "%s: a look-up outside the keys must not pass for one that found nothing", name)
	}
	err := e.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { _, err := tx.Event(""); return err })
	require.Error(t, err, "an empty key announces nothing")
}

// inParallel runs f(0) … f(n-1) at the same time and returns their errors.
func inParallel(n int, f func(i int) error) []error {
	errs := make([]error, n)
	ready := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-ready
			errs[i] = f(i)
		})
	}
	close(ready)
	wg.Wait()
	return errs
}

func testReadModifyWrite(t *testing.T, e Engine) {
	const callers, rounds = 20, 5
	ev := newEvent("alice", "prod", at(0))
	ev.DurationSeconds = 0
	put(t, e, ev)
	runs := make([]int, callers)
	for _, err := range inParallel(callers, func(i int) error {
		for range rounds {
			err := e.Update(t.Context(), breakglass.Keys{EventID: ev.ID}, func(tx breakglass.Tx) error {
				runs[i]++
				now, err := tx.Event(ev.ID)
				if err != nil {
					return err
				}
				now.DurationSeconds++
				return errors.Join(tx.PutEvent(now), tx.Append(newEntry(breakglass.EntryInvoked, now, at(0)), nil, nil))
			})
			if err != nil {
				return err
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	got, err := e.Event(t.Context(), ev.ID)
	require.NoError(t, err)
	require.EqualValues(t, callers*rounds, got.DurationSeconds, "an update was lost, or took effect twice")
	entries := feed(t, e, breakglass.EntryQuery{Limit: 100})
	require.Len(t, entries, callers*rounds)
	for i, entry := range entries {
		require.EqualValues(t, i+1, entry.DurationSeconds, "the trail has the changes in the order in which they happened")
	}
	for i, n := range runs {
		require.GreaterOrEqual(t, n, rounds, "caller %d", i)
	}
}

func testCancelled(t *testing.T, e Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	err := e.Update(ctx, breakglass.Keys{}, func(breakglass.Tx) error { ran = true; return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, ran, "a transaction that nobody waits for isn't started")
	_, err = e.Event(ctx, breakglass.NewID())
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.Events(ctx, breakglass.EventQuery{Limit: 1, Now: at(0)})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, e.Wait(ctx, 0), context.Canceled)

	// Cancelled while it waits, Wait returns at once.
	ctx, cancel = context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { waiting <- e.Wait(ctx, 0) }()
	cancel()
	select {
	case err := <-waiting:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(10 * time.Second):
		t.Fatal("Wait ignores its context")
	}
}

// testCancelStorm cancels calls at random moments: each must have happened with
// its entry, or not at all, and an answered one must have happened.
func testCancelStorm(t *testing.T, e Engine) {
	const n = 100
	events := make([]breakglass.Event, n)
	for i := range events {
		events[i] = newEvent(fmt.Sprintf("user-%d", i), "prod", at(0))
	}
	errs := inParallel(n, func(i int) error {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, cancel)
		defer timer.Stop()
		defer cancel()
		ev := events[i]
		handed := "" // what the function hands out may be read as soon as Update returns
		err := e.Update(ctx, pairKeys(ev), func(tx breakglass.Tx) error {
			handed = ev.ID
			return errors.Join(tx.PutEvent(ev), tx.Append(newEntry(breakglass.EntryInvoked, ev, at(0)), &ev, nil))
		})
		if err == nil && handed != ev.ID {
			return errors.New("acknowledged, but the function never ran")
		}
		return err
	})
	// A cancelled transaction may still be on its way; one more goes behind it.
	record(t, e, newEntry(breakglass.EntryDenied, newEvent("bob", "prod", at(0)), at(0)), nil)
	recorded := map[string]bool{}
	for _, entry := range feed(t, e, breakglass.EntryQuery{Limit: 100, Event: breakglass.EntryInvoked}) {
		recorded[entry.EventID] = true
	}
	for i, ev := range events {
		_, err := e.Event(t.Context(), ev.ID)
		if errs[i] == nil {
			require.NoError(t, err, "acknowledged, but not there")
		} else {
			require.ErrorIs(t, errs[i], context.Canceled)
		}
		require.Equal(t, recorded[ev.ID], err == nil, "event and entry of call %d were torn apart", i)
	}
}
