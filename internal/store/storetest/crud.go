package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func testRoundTrip(t *testing.T, e Engine) {
	full := closedEvent("alice@example.com", "prod", at(0))
	full.RequestedBy, full.Ticket, full.Escalated = "bot", "INC-4711", true
	full.Sessions, full.Extensions, full.WarnAt = 12, 1, at(50*time.Minute+time.Microsecond)
	strange := newEvent("bob's \"name\" <b&b>", "prod/db — 東京", at(1*time.Second))
	strange.Justification = "e\u0301 👩‍🚒 \\ ' \" % _ ; -- </script> \u2028 " + strings.Repeat("🔥", 900)
	expired := newEvent("alice@example.com", "staging", at(2*time.Second))
	expired.Status, expired.UpdatedAt = breakglass.StatusExpired, expired.ExpiresAt
	events := []breakglass.Event{full, strange, expired, newEvent("alice@example.com", "prod", at(3*time.Second))}
	put(t, e, events...)
	for _, want := range events {
		got, err := e.Event(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, e.Update(t.Context(), breakglass.Keys{EventID: want.ID}, func(tx breakglass.Tx) error {
			got, err = tx.Event(want.ID)
			return err
		}))
		require.Equal(t, want, got, "the same in a transaction")
	}
	settled(t, e, func(c require.TestingT) {
		got, err := e.Events(t.Context(), breakglass.EventQuery{Limit: 10, Now: at(0)})
		require.NoError(c, err)
		require.Equal(c, []breakglass.Event{events[3], events[2], events[1], events[0]}, got, "the same in a list")
	})
}

func testNotFound(t *testing.T, e Engine) {
	id := breakglass.NewID()
	_, err := e.Event(t.Context(), id)
	require.ErrorIs(t, err, breakglass.ErrNotFound)
	err = e.Update(t.Context(), breakglass.Keys{EventID: id}, func(tx breakglass.Tx) error {
		_, err := tx.Event(id)
		return err
	})
	require.ErrorIs(t, err, breakglass.ErrNotFound)
	head, err := e.Head(t.Context())
	require.NoError(t, err)
	require.Zero(t, head)
	latest, err := e.LatestEntryTime(t.Context())
	require.NoError(t, err)
	require.True(t, latest.IsZero())
}

func testPrecision(t *testing.T, e Engine) {
	for _, us := range []int{0, 1, 999_999, 123_456, 100_000, 10} {
		base := time.Date(2026, time.December, 31, 23, 59, 59, us*1000, time.UTC)
		ev := closedEvent("alice", "prod", base)
		put(t, e, ev)
		got, err := e.Event(t.Context(), ev.ID)
		require.NoError(t, err)
		require.Equal(t, ev, got)
		require.Equal(t, time.UTC, got.CreatedAt.Location())
		require.True(t, got.StatusAt(base) == breakglass.StatusClosed)
	}
	// Neighbouring microseconds are told apart and sorted.
	a, b := closedEvent("bob", "prod", at(0)), closedEvent("bob", "prod", at(time.Microsecond))
	put(t, e, b, a)
	settled(t, e, func(c require.TestingT) {
		got, err := e.Events(t.Context(), breakglass.EventQuery{Invoker: "bob", Limit: 5, Now: at(0)})
		require.NoError(c, err)
		require.Equal(c, []breakglass.Event{b, a}, got)
	})
}

func testReplace(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	put(t, e, ev)
	ev.Status, ev.UpdatedAt, ev.ClosedAt = breakglass.StatusClosed, at(time.Minute), at(time.Minute)
	ev.ClosedBy, ev.ClosedReason = "sam", "not an emergency"
	ev.Sessions, ev.Extensions, ev.WarnAt, ev.ExpiresAt = 4, 1, at(40*time.Minute), at(90*time.Minute)
	require.NoError(t, e.Update(t.Context(), breakglass.Keys{EventID: ev.ID}, func(tx breakglass.Tx) error {
		if _, err := tx.Event(ev.ID); err != nil {
			return err
		}
		return tx.PutEvent(ev)
	}))
	got, err := e.Event(t.Context(), ev.ID)
	require.NoError(t, err)
	require.Equal(t, ev, got)
	settled(t, e, func(c require.TestingT) {
		got, err := e.Events(t.Context(), breakglass.EventQuery{Limit: 5, Now: at(0)})
		require.NoError(c, err)
		require.Equal(c, []breakglass.Event{ev}, got, "replaced, not added")
	})
	// The place is free again: closing is what ends "active".
	put(t, e, newEvent("alice", "prod", at(2*time.Minute)))
}
