package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func idemKeys(caller, key string) breakglass.Keys {
	return breakglass.Keys{Caller: caller, Idempotency: key, Invoker: caller, Profile: "prod"}
}

func findIdempotent(t *testing.T, s Store, caller, key string) (r *breakglass.Idempotent) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), idemKeys(caller, key), func(tx breakglass.Tx) (err error) {
		r, err = tx.FindIdempotent(caller, key)
		return err
	}))
	return r
}

func putIdempotent(t *testing.T, s Store, r breakglass.Idempotent) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), idemKeys(r.Caller, r.Key), func(tx breakglass.Tx) error { return tx.PutIdempotent(r) }))
}

func testIdempotency(t *testing.T, e Engine) {
	r := breakglass.Idempotent{Caller: "alice", Key: `key "1" — ü`, Fingerprint: "f1", EventID: breakglass.NewID(), CreatedAt: at(0)}
	require.Nil(t, findIdempotent(t, e, "alice", r.Key))
	putIdempotent(t, e, r)
	require.Equal(t, &r, findIdempotent(t, e, "alice", r.Key))
	require.Nil(t, findIdempotent(t, e, "bob", r.Key), "keys belong to their caller")
	other := r
	other.Caller, other.Fingerprint = "bob", "f2"
	putIdempotent(t, e, other)
	require.Equal(t, &r, findIdempotent(t, e, "alice", r.Key))
	require.Equal(t, &other, findIdempotent(t, e, "bob", r.Key))
}

func testIdempotencyRace(t *testing.T, e Engine) {
	var made atomic.Int64
	answers := make([]string, contenders)
	for _, err := range inParallel(contenders, func(i int) error {
		ev := newEvent("alice", "prod", at(0))
		created := false
		err := e.Update(t.Context(), idemKeys("alice", "key"), func(tx breakglass.Tx) error {
			created = false
			prior, err := tx.FindIdempotent("alice", "key")
			if err != nil {
				return err
			}
			if prior != nil {
				answers[i] = prior.EventID
				return nil
			}
			created, answers[i] = true, ev.ID
			return errors.Join(tx.PutEvent(ev), tx.Append(newEntry(breakglass.EntryInvoked, ev, at(0)), &ev, nil),
				tx.PutIdempotent(breakglass.Idempotent{Caller: "alice", Key: "key", Fingerprint: "f", EventID: ev.ID, CreatedAt: at(0)}))
		})
		if err == nil && created {
			made.Add(1)
		}
		return err
	}) {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, made.Load())
	for _, id := range answers {
		require.Equal(t, answers[0], id, "every caller gets the same event")
	}
}

func testPurge(t *testing.T, e Engine) {
	const n = 60
	for i := range n {
		putIdempotent(t, e, breakglass.Idempotent{Caller: "alice", Key: fmt.Sprint(i), Fingerprint: "f", EventID: breakglass.NewID(),
			CreatedAt: at(time.Duration(i) * time.Microsecond)})
	}
	require.NoError(t, e.PurgeIdempotent(t.Context(), at(n/2*time.Microsecond)))
	for i := range n {
		require.Equal(t, i >= n/2, findIdempotent(t, e, "alice", fmt.Sprint(i)) != nil, "record %d: those before the instant go, the others stay", i)
	}
	require.NoError(t, e.PurgeIdempotent(t.Context(), at(-time.Hour)), "nothing to do is no error")
}
