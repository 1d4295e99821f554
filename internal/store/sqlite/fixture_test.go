package sqlite

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

const (
	patience = 10 * time.Second
	tick     = time.Millisecond
)

var noon = time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)

func event(invoker, profile string) breakglass.Event {
	return breakglass.Event{
		ID: breakglass.NewID(), Invoker: invoker, RequestedBy: invoker, Profile: profile, ReasonCode: breakglass.ReasonIncident,
		Justification: "the primary database is down", DurationSeconds: 3600, Status: breakglass.StatusActive,
		CreatedAt: noon, UpdatedAt: noon, ExpiresAt: noon.Add(time.Hour), RequestID: breakglass.NewID(), PolicyRule: "oncall",
	}
}

func entry(ev breakglass.Event) breakglass.LogEntry {
	return breakglass.LogEntry{Timestamp: noon, Event: breakglass.EntryInvoked, EventID: ev.ID, Actor: ev.Invoker,
		Invoker: ev.Invoker, Profile: ev.Profile, Status: ev.Status, ExpiresAt: ev.ExpiresAt}
}

// grant writes an event with its entry and one delivery, without checks.
func grant(t testing.TB, s *Store, ev breakglass.Event) error {
	return s.Update(t.Context(), breakglass.Keys{Invoker: ev.Invoker, Profile: ev.Profile}, func(tx breakglass.Tx) error {
		if err := tx.PutEvent(ev); err != nil {
			return err
		}
		return tx.Append(entry(ev), &ev, []string{"secops"})
	})
}

// requireWhole checks that the trail is unbroken and that events, entries and
// deliveries belong together one to one; it returns how many there are.
func requireWhole(t testing.TB, s *Store) int {
	t.Helper()
	entries, through, err := s.Entries(t.Context(), breakglass.EntryQuery{Limit: 1_000_000})
	require.NoError(t, err)
	require.Equal(t, s.head.Load(), through)
	prev := audit.GenesisHash
	for i, e := range entries {
		require.EqualValues(t, i+1, e.Seq)
		require.Equal(t, prev, e.PrevHash)
		require.Equal(t, audit.Hash(e), e.Hash)
		prev = e.Hash
		_, err := s.Event(t.Context(), e.EventID)
		require.NoError(t, err, "entry %d has no event", e.Seq)
	}
	events, err := s.Events(t.Context(), breakglass.EventQuery{Limit: 1_000_000, Now: noon})
	require.NoError(t, err)
	require.Len(t, events, len(entries))
	due, _, err := s.DueDeliveries(t.Context(), "secops", noon, 1_000_000)
	require.NoError(t, err)
	require.Len(t, due, len(entries))
	return len(entries)
}
