package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// due returns the seqs that are due, and when the next of the others is.
func due(t *testing.T, s Store, sink string, now time.Time, limit int) ([]int64, time.Time) {
	t.Helper()
	got, next, err := s.DueDeliveries(t.Context(), sink, now, limit)
	require.NoError(t, err)
	var seqs []int64
	for _, d := range got {
		require.Equal(t, sink, d.Sink)
		require.False(t, d.Dead)
		require.False(t, d.NextAttempt.After(now))
		seqs = append(seqs, d.Entry.Seq)
	}
	return seqs, next
}

// delivery is a delivery that waits, as a dispatcher gets it.
func delivery(t *testing.T, s Store, seq int64, sink string) breakglass.Delivery {
	t.Helper()
	all, _, err := s.DueDeliveries(t.Context(), sink, at(1000*time.Hour), 100)
	require.NoError(t, err)
	for _, d := range all {
		if d.Entry.Seq == seq {
			return d
		}
	}
	t.Fatalf("delivery %d to %s doesn't wait", seq, sink)
	return breakglass.Delivery{}
}

func settle(t *testing.T, s Store, seq int64, sink string, o breakglass.DeliveryOutcome) error {
	t.Helper()
	return s.SettleDelivery(t.Context(), delivery(t, s, seq, sink), o)
}

// testClaims: what one server has claimed no other one gets, until the claim is
// over; then it is due again, because that server may have died.
func testClaims(t *testing.T, e Engine) {
	if !e.Shared {
		t.Skip("this engine serves one dispatcher: nobody is there to claim deliveries from")
	}
	announce(t, e, 2, "secops")
	mine := delivery(t, e, 1, "secops")
	require.NoError(t, e.ClaimDelivery(t.Context(), mine, at(0), at(30*time.Second)))
	require.ErrorIs(t, e.ClaimDelivery(t.Context(), mine, at(time.Second), at(time.Minute)), breakglass.ErrNotFound, "claimed")
	seqs, next := due(t, e, "secops", at(30*time.Second-time.Microsecond), 10)
	require.Equal(t, []int64{2}, seqs)
	require.Equal(t, at(30*time.Second), next, "when the claim is over")
	seqs, _ = due(t, e, "secops", at(30*time.Second), 10)
	require.Equal(t, []int64{1, 2}, seqs)
	require.NoError(t, e.ClaimDelivery(t.Context(), mine, at(30*time.Second), at(time.Minute)), "taken over")
	require.NoError(t, e.SettleDelivery(t.Context(), mine, breakglass.DeliveryOutcome{NextAttempt: at(2 * time.Minute), Attempts: 1}))
	require.ErrorIs(t, e.ClaimDelivery(t.Context(), mine, at(time.Hour), at(2*time.Hour)), breakglass.ErrNotFound, "settled meanwhile")
	again := delivery(t, e, 1, "secops")
	require.NoError(t, e.ClaimDelivery(t.Context(), again, at(2*time.Minute), at(3*time.Minute)), "a new attempt, a new claim")

	// Of many at once exactly one gets it.
	other := delivery(t, e, 2, "secops")
	claimed := 0
	for _, err := range inParallel(20, func(int) error { return e.ClaimDelivery(t.Context(), other, at(0), at(time.Minute)) }) {
		if err == nil {
			claimed++
		} else {
			require.ErrorIs(t, err, breakglass.ErrNotFound)
		}
	}
	require.Equal(t, 1, claimed)
}

// testUrgentFirst: what a flood of other entries must not bury.
func testUrgentFirst(t *testing.T, e Engine) {
	ev := closedEvent("alice", "prod", at(0))
	for range 3 {
		record(t, e, newEntry(breakglass.EntryCredentialsIssued, ev, at(0)), &ev, "siem")
	}
	record(t, e, newEntry(breakglass.EntryInvoked, ev, at(0)), &ev, "siem")
	record(t, e, newEntry(breakglass.EntryEscalated, ev, at(0)), &ev, "siem")
	seqs, _ := due(t, e, "siem", at(time.Minute), 3)
	require.Equal(t, []int64{4, 5, 1}, seqs)
}

// announce writes n entries with deliveries to the sinks.
func announce(t *testing.T, s Store, n int, sinks ...string) {
	t.Helper()
	for i := range n {
		ev := newEvent("alice", "prod", at(time.Duration(i)*time.Second))
		record(t, s, newEntry(breakglass.EntryInvoked, ev, ev.CreatedAt), &ev, sinks...)
	}
}

func testDeliveries(t *testing.T, e Engine) {
	ev := closedEvent("alice", "prod", at(0))
	record(t, e, newEntry(breakglass.EntryClosed, ev, at(time.Minute)), &ev, "secops", "siem")
	refusal := breakglass.LogEntry{Timestamp: at(2 * time.Minute), Event: breakglass.EntryDenied, Actor: "alice", Reason: "rate_limited"}
	record(t, e, refusal, nil, "siem")
	record(t, e, refusal, nil)
	trail := feed(t, e, breakglass.EntryQuery{Limit: 10})

	got, next, err := e.DueDeliveries(t.Context(), "siem", at(2*time.Minute), 10)
	require.NoError(t, err)
	require.True(t, next.IsZero(), "no other waits")
	require.Len(t, got, 2)
	require.Equal(t, trail[0], got[0].Entry, "the entry as sealed")
	require.Equal(t, &ev, got[0].Event, "the event right after the change")
	require.Equal(t, trail[1], got[1].Entry)
	require.Nil(t, got[1].Event, "a refusal has no event")
	require.Zero(t, got[0].Attempts)
	require.Empty(t, got[0].LastError)

	// The snapshot is of that moment: later changes of the event don't reach it.
	changed := ev
	changed.ClosedReason = "something else"
	put(t, e, changed)
	got, _, err = e.DueDeliveries(t.Context(), "secops", at(2*time.Minute), 10)
	require.NoError(t, err)
	require.Equal(t, &ev, got[0].Event)

	// Each sink settles its own.
	first := delivery(t, e, 1, "siem")
	delivered := breakglass.DeliveryOutcome{Delivered: true, Attempts: 1}
	require.NoError(t, e.SettleDelivery(t.Context(), first, delivered))
	require.NoError(t, e.SettleDelivery(t.Context(), first, delivered), "settled twice")
	seqs, _ := due(t, e, "siem", at(time.Hour), 10)
	require.Equal(t, []int64{2}, seqs)
	seqs, _ = due(t, e, "secops", at(time.Hour), 10)
	require.Equal(t, []int64{1}, seqs)
	seqs, _ = due(t, e, "unknown", at(time.Hour), 10)
	require.Empty(t, seqs)
	err = e.SettleDelivery(t.Context(), first, breakglass.DeliveryOutcome{Attempts: 2, NextAttempt: at(0)})
	require.ErrorIs(t, err, breakglass.ErrNotFound, "what was delivered doesn't come back")
}

func testReschedule(t *testing.T, e Engine) {
	announce(t, e, 5, "secops")
	seqs, next := due(t, e, "secops", at(0), 3)
	require.Equal(t, []int64{1, 2, 3}, seqs, "in the order of the trail, whatever the clock says")
	require.False(t, next.IsZero(), "two more wait")
	require.False(t, next.After(at(0)), "and are due")

	again := func(seq int64, when time.Time, attempts int) {
		t.Helper()
		require.NoError(t, settle(t, e, seq, "secops", breakglass.DeliveryOutcome{NextAttempt: when, Attempts: attempts, LastError: "connection refused"}))
	}
	again(1, at(time.Hour), 1)
	again(2, at(30*time.Minute), 7)
	again(3, at(time.Hour), 1)
	seqs, next = due(t, e, "secops", at(time.Minute), 10)
	require.Equal(t, []int64{4, 5}, seqs)
	require.Equal(t, at(30*time.Minute), next)
	for _, seq := range seqs {
		require.NoError(t, settle(t, e, seq, "secops", breakglass.DeliveryOutcome{Delivered: true}))
	}
	seqs, next = due(t, e, "secops", at(30*time.Minute-time.Microsecond), 10)
	require.Empty(t, seqs, "not a microsecond early")
	require.Equal(t, at(30*time.Minute), next)
	seqs, next = due(t, e, "secops", at(30*time.Minute), 10)
	require.Equal(t, []int64{2}, seqs)
	require.Equal(t, at(time.Hour), next)
	seqs, next = due(t, e, "secops", at(2*time.Hour), 10)
	require.Equal(t, []int64{2, 1, 3}, seqs, "the longest overdue first, then by seq")
	require.True(t, next.IsZero())

	got, _, err := e.DueDeliveries(t.Context(), "secops", at(30*time.Minute), 1)
	require.NoError(t, err)
	require.Equal(t, 7, got[0].Attempts)
	require.Equal(t, "connection refused", got[0].LastError)
	require.Equal(t, at(30*time.Minute), got[0].NextAttempt)
}

func testDead(t *testing.T, e Engine) {
	announce(t, e, 3, "secops", "siem")
	for _, seq := range []int64{1, 2} {
		require.NoError(t, settle(t, e, seq, "secops", breakglass.DeliveryOutcome{Dead: true, Attempts: 10, LastError: "410 Gone"}))
	}
	require.NoError(t, settle(t, e, 3, "siem", breakglass.DeliveryOutcome{Dead: true, Attempts: 10}))
	seqs, next := due(t, e, "secops", at(100*time.Hour), 10)
	require.Equal(t, []int64{3}, seqs, "the dead aren't tried")
	require.True(t, next.IsZero())

	n, err := e.RetryDead(t.Context(), "secops")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	got, _, err := e.DueDeliveries(t.Context(), "secops", at(0), 10)
	require.NoError(t, err)
	require.Len(t, got, 3, "due at once")
	for _, d := range got {
		require.Zero(t, d.Attempts, "with all their attempts")
	}
	seqs, _ = due(t, e, "siem", at(time.Hour), 10)
	require.Equal(t, []int64{1, 2}, seqs, "another sink's stay dead")
	n, err = e.RetryDead(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = e.RetryDead(t.Context(), "")
	require.NoError(t, err)
	require.Zero(t, n)
}

func testDeliveryCounts(t *testing.T, e Engine) {
	counts, err := e.DeliveryCounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, counts)
	announce(t, e, 4, "secops", "siem")
	require.NoError(t, settle(t, e, 1, "secops", breakglass.DeliveryOutcome{Delivered: true}))
	require.NoError(t, settle(t, e, 2, "secops", breakglass.DeliveryOutcome{Dead: true, Attempts: 3}))
	require.NoError(t, settle(t, e, 3, "secops", breakglass.DeliveryOutcome{NextAttempt: at(time.Hour), Attempts: 1}))
	for seq := int64(1); seq <= 4; seq++ {
		require.NoError(t, settle(t, e, seq, "siem", breakglass.DeliveryOutcome{Dead: true, Attempts: 3}))
	}
	settled(t, e, func(c require.TestingT) {
		counts, err := e.DeliveryCounts(t.Context())
		require.NoError(c, err)
		require.Equal(c, map[string]breakglass.DeliveryCount{
			"secops": {Pending: 2, Dead: 1, Oldest: at(2 * time.Second)},
			"siem":   {Dead: 4},
		}, counts)
	})
}
