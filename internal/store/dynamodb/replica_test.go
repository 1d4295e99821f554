package dynamodb

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// A claim that was made although its answer was lost is ours: else nobody would
// send the notification before the claim is over.
func TestAClaimWhoseAnswerWasLostIsOurs(t *testing.T) {
	o := newTable(t)
	proxy := testenv.Proxy(t, o.Endpoint)
	o.Endpoint = proxy.URL()
	s := openTest(t, o)
	now := time.Now()
	e := breakglass.LogEntry{Timestamp: now, Event: breakglass.EntryDenied, Actor: "alice"}
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { return tx.Append(e, nil, []string{"secops"}) }))
	due, _, err := s.DueDeliveries(t.Context(), "secops", now, 1)
	require.NoError(t, err)
	require.Len(t, due, 1)

	direct := newTestClient(o, testenv.SharedDynamoDB(t))
	proxy.Cut(0)
	claimed := make(chan error, 1)
	go func() { claimed <- s.ClaimDelivery(t.Context(), due[0], now, now.Add(time.Hour)) }()
	require.Eventually(t, func() bool { // it has arrived, and its answer hasn't
		it, err := direct.get(t.Context(), keyOfDelivery(due[0]))
		return err == nil && num(it["claimed_until"]) > 0
	}, 30*time.Second, time.Millisecond)
	proxy.Heal()
	require.NoError(t, <-claimed)
	require.ErrorIs(t, s.ClaimDelivery(t.Context(), due[0], now, now.Add(time.Hour)), breakglass.ErrNotFound, "claimed once")
}

// newTestClient reads the table past whatever stands in the way of o.
func newTestClient(o Options, endpoint string) *Store {
	o.Endpoint = endpoint
	return &Store{client: newClient(testConfig(), o), opts: o.withDefaults()}
}

// Listings that take several queries neither name an event twice nor leave it
// out when it ends meanwhile.
func TestAnEventThatEndsDuringAListingIsListedOnce(t *testing.T) {
	s := openTest(t, newTable(t))
	const n = 60
	at := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
	put := func(i int, status breakglass.Status) error {
		ev := breakglass.Event{ID: fmt.Sprintf("%016x", i), Invoker: fmt.Sprintf("user-%d", i), RequestedBy: "x", Profile: "prod",
			ReasonCode: breakglass.ReasonIncident, Status: status, CreatedAt: at, UpdatedAt: at, ExpiresAt: at.Add(time.Minute), DurationSeconds: 60}
		return s.Update(t.Context(), breakglass.Keys{Invoker: ev.Invoker, Profile: ev.Profile},
			func(tx breakglass.Tx) error { return tx.PutEvent(ev) })
	}
	for i := range n {
		require.NoError(t, put(i, breakglass.StatusActive))
	}
	var ending sync.WaitGroup
	ended := make(chan struct{})
	ending.Go(func() {
		defer close(ended)
		for i := range n {
			assert.NoError(t, put(i, breakglass.StatusExpired))
		}
	})
	defer ending.Wait()
	for over := false; !over; {
		select {
		case <-ended:
			over = true // and once more
		default:
		}
		for _, status := range []breakglass.Status{"", breakglass.StatusExpired} {
			events, err := s.Events(t.Context(), breakglass.EventQuery{Status: status, Limit: 1000, Now: time.Now()})
			require.NoError(t, err)
			seen := map[string]bool{}
			for _, ev := range events {
				require.False(t, seen[ev.ID], "listed twice")
				seen[ev.ID] = true
			}
			require.Len(t, seen, n, "all have lapsed, whoever has written that down")
		}
	}
}
