package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func factorKeys(name string) breakglass.Keys { return breakglass.Keys{Factor: name} }

func newFactor(name string) breakglass.Factor {
	return breakglass.Factor{Name: name, Sealed: "c2VhbGVk", KeyID: "k1", CreatedAt: at(0), ConfirmedAt: at(time.Minute),
		LastStep: 59_000_000, Failures: 3, FailedAt: at(2 * time.Minute), LockedUntil: at(3 * time.Minute), Invitation: "abc",
		InvitedUntil: at(24 * time.Hour)}
}

func findFactor(t *testing.T, s Store, name string) (f *breakglass.Factor) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), factorKeys(name), func(tx breakglass.Tx) (err error) {
		f, err = tx.FindFactor(name)
		return err
	}))
	return f
}

func putFactor(t *testing.T, s Store, f breakglass.Factor) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), factorKeys(f.Name), func(tx breakglass.Tx) error { return tx.PutFactor(f) }))
}

func testFactor(t *testing.T, e Engine) {
	const name = "müller#1 % / alice"
	full := newFactor(name)
	require.Nil(t, findFactor(t, e, name))
	putFactor(t, e, full)
	require.Equal(t, &full, findFactor(t, e, name))
	require.Nil(t, findFactor(t, e, "bob"))

	empty := breakglass.Factor{Name: name, CreatedAt: at(time.Second)}
	putFactor(t, e, empty)
	require.Equal(t, &empty, findFactor(t, e, name), "replaced as a whole; times that are not set stay so")

	remove := func(name string) {
		require.NoError(t, e.Update(t.Context(), factorKeys(name), func(tx breakglass.Tx) error { return tx.DeleteFactor(name) }))
	}
	remove(name)
	require.Nil(t, findFactor(t, e, name))
	remove(name)
	remove("nobody")
	putFactor(t, e, full)
	require.Equal(t, &full, findFactor(t, e, name), "one that was removed can come again")
}

// testFactorRace has callers use the same step, each with an event of their own:
// the second factor and the event change together, so one of them wins.
func testFactorRace(t *testing.T, e Engine) {
	f := newFactor("alice")
	f.LastStep = 1
	putFactor(t, e, f)
	errUsed := errors.New("used")
	servers := []Store{e.Store}
	if e.Replica != nil {
		servers = append(servers, e.Replica(t))
	}
	won := 0
	for i, err := range inParallel(contenders, func(i int) error {
		s := servers[i%len(servers)]
		ev := newEvent("alice", "prod", at(0))
		keys := pairKeys(ev)
		keys.Factor = "alice"
		return s.Update(t.Context(), keys, func(tx breakglass.Tx) error {
			now, err := tx.FindFactor("alice")
			if err != nil {
				return err
			}
			if now.LastStep >= 2 {
				return errUsed
			}
			now.LastStep = 2
			return errors.Join(tx.PutFactor(*now), tx.Append(newEntry(breakglass.EntryInvoked, ev, at(0)), &ev, nil))
		})
	}) {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, errUsed, "caller %d", i)
	}
	require.Equal(t, 1, won)
	require.EqualValues(t, 2, findFactor(t, e, "alice").LastStep)
	require.Len(t, feed(t, e, breakglass.EntryQuery{Limit: 100}), 1)
}

// testFactorCount counts with every caller, as wrong codes are: none may be lost.
func testFactorCount(t *testing.T, e Engine) {
	for _, err := range inParallel(contenders, func(int) error {
		return e.Update(t.Context(), factorKeys("alice"), func(tx breakglass.Tx) error {
			f, err := tx.FindFactor("alice")
			if err != nil {
				return err
			}
			if f == nil {
				f = &breakglass.Factor{Name: "alice"}
			}
			f.Failures++
			return tx.PutFactor(*f)
		})
	}) {
		require.NoError(t, err)
	}
	require.Equal(t, contenders, findFactor(t, e, "alice").Failures)
}
