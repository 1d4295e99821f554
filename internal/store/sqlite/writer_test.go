package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// submitAll sends each function as a transaction of its own while the writer is
// held, so that all are in one group, in this order; it returns their errors.
func submitAll(t *testing.T, s *Store, keys breakglass.Keys, fns ...func(tx breakglass.Tx) error) []error {
	t.Helper()
	release := hold(t, s)
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = s.Update(t.Context(), keys, fn) })
		queued(t, s, i+1)
	}
	release()
	wg.Wait()
	return errs
}

func TestWaitingTransactionsShareOneCommit(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	var commits []int64 // how far the head was when each reader woke
	ctx, cancel := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	reader.Go(func() {
		for after := int64(0); s.Wait(ctx, after) == nil; {
			after, _ = s.Head(ctx)
			commits = append(commits, after)
		}
	})
	var fns []func(tx breakglass.Tx) error
	for range 50 {
		fns = append(fns, func(tx breakglass.Tx) error { return tx.Append(entry(event("alice", "prod")), nil, nil) })
	}
	for _, err := range submitAll(t, s, breakglass.Keys{}, fns...) {
		require.NoError(t, err)
	}
	require.NoError(t, s.Wait(t.Context(), 49))
	cancel()
	reader.Wait()
	require.Equal(t, []int64{50}, commits, "one commit for all of them")
}

func TestTheGroupIsBounded(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), Options{MaxGroup: 4})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	var heads []int64
	var fns []func(tx breakglass.Tx) error
	for range 8 { // the queue holds twice the group
		fns = append(fns, func(tx breakglass.Tx) error {
			heads = append(heads, s.head.Load()) // committed before this one's group
			return tx.Append(entry(event("alice", "prod")), nil, nil)
		})
	}
	for _, err := range submitAll(t, s, breakglass.Keys{}, fns...) {
		require.NoError(t, err)
	}
	// The holding transaction is the first of the first group.
	require.Equal(t, []int64{0, 0, 0, 3, 3, 3, 3, 7}, heads)
}

// A transaction that can't be written must neither fail the others of its group
// nor let an answer stand that rests on writes which were rolled back.
func TestAPoisonedTransactionFailsAlone(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	ghost, real := event("alice", "prod"), event("alice", "prod")
	ghost.CreatedAt = noon.Add(-time.Second)
	keys := breakglass.Keys{Invoker: "alice", Profile: "prod", Caller: "alice", Idempotency: "key"}
	again := breakglass.Idempotent{Caller: "alice", Key: "key", Fingerprint: "f", EventID: "e", CreatedAt: noon}
	require.NoError(t, s.Update(t.Context(), keys, func(tx breakglass.Tx) error { return tx.PutIdempotent(again) }))

	runs := make([]int, 3)
	invoke := func(i int, ev breakglass.Event, poison bool) func(tx breakglass.Tx) error {
		return func(tx breakglass.Tx) error {
			runs[i]++
			active, err := tx.FindActiveByInvokerAndProfile("alice", "prod")
			if err != nil {
				return err
			}
			if active != nil {
				return errors.New("already active: " + active.ID)
			}
			err = errors.Join(tx.PutEvent(ev), tx.Append(entry(ev), &ev, []string{"secops"}))
			if poison {
				err = errors.Join(err, tx.PutIdempotent(again)) // violates the primary key
			}
			return err
		}
	}
	bystander := event("bob", "prod")
	errs := submitAll(t, s, keys,
		invoke(0, ghost, true), // writes event and entry, then fails
		invoke(1, real, false), // is run behind it in the group
		func(tx breakglass.Tx) error { runs[2]++; return tx.Append(entry(bystander), nil, nil) },
	)
	require.ErrorContains(t, errs[0], "UNIQUE constraint failed")
	require.NoError(t, errs[1], "refused because of an event that never was")
	require.NoError(t, errs[2])
	require.Greater(t, runs[0], 1, "alone once more")
	got, err := s.Event(t.Context(), real.ID)
	require.NoError(t, err)
	require.Equal(t, real, got)
	_, err = s.Event(t.Context(), ghost.ID)
	require.ErrorIs(t, err, breakglass.ErrNotFound)
	require.NoError(t, s.Ping(t.Context()), "a fault of one request is no fault of the store")
	entries, _, err := s.Entries(t.Context(), breakglass.EntryQuery{Limit: 10})
	require.NoError(t, err)
	require.Len(t, entries, 2, "and the sequence has no gap")
}

// A refusal decided on writes of the same group that are then rolled back has to
// be decided anew.
func TestARefusalOnTheStrengthOfAGhostIsTakenBack(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	first, second := event("alice", "prod"), event("alice", "prod")
	keys := breakglass.Keys{Invoker: "alice", Profile: "prod", Caller: "alice", Idempotency: "key"}
	again := breakglass.Idempotent{Caller: "alice", Key: "key", EventID: "e", CreatedAt: noon}
	require.NoError(t, s.Update(t.Context(), keys, func(tx breakglass.Tx) error { return tx.PutIdempotent(again) }))
	firstRuns := 0
	errs := submitAll(t, s, keys,
		func(tx breakglass.Tx) error {
			if firstRuns++; firstRuns > 1 {
				return errors.New("changed its mind")
			}
			return tx.PutEvent(first)
		},
		func(tx breakglass.Tx) error {
			active, err := tx.FindActiveByInvokerAndProfile("alice", "prod")
			if err == nil && active != nil {
				return errors.New("already active")
			}
			return errors.Join(err, tx.PutEvent(second))
		},
		func(tx breakglass.Tx) error { return tx.PutIdempotent(again) },
	)
	require.EqualError(t, errs[0], "changed its mind")
	require.NoError(t, errs[1])
	require.Error(t, errs[2])
}

// The check inside the transaction is the first line of defence, this the second.
func TestTheDatabaseItselfRefusesASecondActiveEvent(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, grant(t, s, event("alice", "prod")))
	require.ErrorContains(t, grant(t, s, event("alice", "prod")), "UNIQUE constraint failed")
	require.NoError(t, grant(t, s, event("alice", "staging")))
	require.Equal(t, 2, requireWhole(t, s))
}

func TestAPanicInATransactionIsAnError(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	ev := event("alice", "prod")
	var nobody *request
	err := s.Update(t.Context(), breakglass.Keys{Invoker: "alice", Profile: "prod"}, func(tx breakglass.Tx) error {
		require.NoError(t, tx.PutEvent(ev))
		return nobody.fn(tx)
	})
	require.ErrorContains(t, err, "panic in a transaction: runtime error: invalid memory address")
	require.ErrorContains(t, err, "writer_test.go", "with the place where it happened")
	require.NoError(t, grant(t, s, ev), "nothing of it was written, and the writer lives")
}

func TestATransactionThatEndsItsGoroutineDoesntEndTheWriter(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	errs := submitAll(t, s, breakglass.Keys{Invoker: "alice", Profile: "prod"},
		func(tx breakglass.Tx) error { return tx.PutEvent(event("alice", "prod")) },
		func(breakglass.Tx) error { runtime.Goexit(); return nil },
		func(breakglass.Tx) error { return nil },
	)
	require.Error(t, errs[0], "its group was torn down")
	require.Error(t, errs[1])
	require.NoError(t, grant(t, s, event("alice", "prod")))
	require.Equal(t, 1, requireWhole(t, s))
}

func TestAKeptTxIsUseless(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	var kept breakglass.Tx
	keys := breakglass.Keys{Invoker: "alice", Profile: "prod"}
	require.NoError(t, s.Update(t.Context(), keys, func(tx breakglass.Tx) error { kept = tx; return nil }))
	require.ErrorContains(t, kept.PutEvent(event("alice", "prod")), "over")
	_, err := kept.FindActiveByInvokerAndProfile("alice", "prod")
	require.ErrorContains(t, err, "over")
	require.ErrorContains(t, kept.Append(breakglass.LogEntry{}, nil, nil), "over")
}

func TestUpdateReturnsPromptlyWhenCancelledInTheQueue(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ran := false
	done := make(chan error, 1)
	go func() {
		done <- s.Update(ctx, breakglass.Keys{}, func(breakglass.Tx) error { ran = true; return nil })
	}()
	queued(t, s, 1)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled, "while the writer is still busy")
	release()
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(breakglass.Tx) error { return nil }))
	require.False(t, ran, "a request that nobody waits for isn't started")

	// A full queue doesn't trap anybody either.
	s2, err := Open(t.Context(), filepath.Join(t.TempDir(), "b.db"), Options{MaxGroup: 1})
	require.NoError(t, err)
	release = hold(t, s2)
	ctx, cancel = context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := s2.Update(ctx, breakglass.Keys{}, func(breakglass.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	queued(t, s2, 2)
	cancel()
	wg.Wait()
	release()
	require.NoError(t, s2.Close())
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openTest(t, path)
	release := hold(t, s)
	const n = 40
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- grant(t, s, event(fmt.Sprintf("user-%d", i), "prod")) }()
	}
	queued(t, s, n)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), tick) // while it is still open, this one waits like the others
		defer cancel()
		return errors.Is(s.Update(ctx, breakglass.Keys{}, func(breakglass.Tx) error { return nil }), ErrClosed)
	}, patience, tick)
	release()
	for range n {
		require.NoError(t, <-errs)
	}
	require.NoError(t, <-closed)
	require.Equal(t, n, requireWhole(t, openTest(t, path)))
}
