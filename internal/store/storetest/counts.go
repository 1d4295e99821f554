package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// testSessionCount writes records that differ in their count alone from what was read,
// in more than that, and twice in one transaction: the last write counts.
func testSessionCount(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	put(t, e, ev)
	change := func(fn func(ev breakglass.Event, put func(breakglass.Event) error) error) breakglass.Event {
		require.NoError(t, e.Update(t.Context(), breakglass.Keys{EventID: ev.ID}, func(tx breakglass.Tx) error {
			got, err := tx.Event(ev.ID)
			if err != nil {
				return err
			}
			return fn(got, tx.PutEvent)
		}))
		got, err := e.Event(t.Context(), ev.ID)
		require.NoError(t, err)
		return got
	}
	got := change(func(ev breakglass.Event, put func(breakglass.Event) error) error {
		ev.Sessions++
		return put(ev)
	})
	ev.Sessions = 1
	require.Equal(t, ev, got)

	got = change(func(ev breakglass.Event, put func(breakglass.Event) error) error {
		ev.Sessions++
		ev.WarnAt = at(50 * time.Minute)
		return put(ev)
	})
	ev.Sessions, ev.WarnAt = 2, at(50*time.Minute)
	require.Equal(t, ev, got)

	got = change(func(ev breakglass.Event, put func(breakglass.Event) error) error {
		longer := ev
		longer.ExpiresAt = at(3 * time.Hour)
		if err := put(longer); err != nil {
			return err
		}
		ev.Sessions++
		return put(ev)
	})
	ev.Sessions = 3
	require.Equal(t, ev, got)
}
