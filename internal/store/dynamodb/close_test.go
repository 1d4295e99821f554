package dynamodb

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestEveryMethodOfAClosedStoreSaysThatItIsClosed(t *testing.T) {
	s := openTest(t, newTable(t))
	e := sampleEvent("alice", "prod", noon)
	require.NoError(t, invoke(t, s, e))
	require.NoError(t, s.Close())
	ctx := t.Context()
	for name, f := range map[string]func() error{
		"Update": func() error { return appendOnly(ctx, s, "alice") },
		"Event":  func() error { _, err := s.Event(ctx, e.ID); return err },
		"Events": func() error { _, err := s.Events(ctx, breakglass.EventQuery{Limit: 1, Now: noon}); return err },
		"Events, nothing": func() error {
			_, err := s.Events(ctx, breakglass.EventQuery{Limit: 1, Since: noon, Until: noon})
			return err
		},
		"AccessRequest": func() error { _, err := s.AccessRequest(ctx, e.ID); return err },
		"AccessRequests": func() error {
			_, err := s.AccessRequests(ctx, breakglass.RequestQuery{Limit: 1, Now: noon})
			return err
		},
		"Standing":        func() error { _, err := s.Standing(ctx, breakglass.Pair{Person: "alice", Profile: "prod"}); return err },
		"Agenda":          func() error { _, err := s.Agenda(ctx, 1); return err },
		"Claim":           func() error { return s.Claim(ctx, task(e), noon, noon) },
		"LatestEntryTime": func() error { _, err := s.LatestEntryTime(ctx); return err },
		"PurgeIdempotent": func() error { return s.PurgeIdempotent(ctx, noon) },
		"Head":            func() error { _, err := s.Head(ctx); return err },
		"Entries":         func() error { _, _, err := s.Entries(ctx, breakglass.EntryQuery{Limit: 1}); return err },
		"Wait":            func() error { return s.Wait(ctx, 100) },
		"Ping":            func() error { return s.Ping(ctx) },
		"DueDeliveries":   func() error { _, _, err := s.DueDeliveries(ctx, "siem", noon, 1); return err },
		"DeliveryCounts":  func() error { _, err := s.DeliveryCounts(ctx); return err },
		"RetryDead":       func() error { _, err := s.RetryDead(ctx, ""); return err },
		"DropDeliveries":  func() error { _, err := s.DropDeliveries(ctx, "siem"); return err },
	} {
		require.Equal(t, ErrClosed, f(), name)
	}
}

// TestCloseIsBoundedWhenTheTableIsSilent: however many transactions wait, a
// server that is told to stop does.
func TestCloseIsBoundedWhenTheTableIsSilent(t *testing.T) {
	silent := make(chan struct{})
	var once sync.Once
	stuck := make(chan struct{})
	o := newHook(t, newTable(t), func(w http.ResponseWriter, op, _ string) bool {
		if op != "TransactWriteItems" {
			return false
		}
		once.Do(func() { close(stuck) })
		<-silent
		return refuse(w, `{}`)
	})
	t.Cleanup(func() { close(silent) })
	o.Patience, o.CallTimeout = time.Second, 5*time.Second
	s := openTest(t, o)
	const callers = 8 * maxGroup
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { errs[i] = appendOnly(t.Context(), s, "alice") })
	}
	<-stuck
	require.Eventually(t, func() bool { return len(s.requests) >= callers-2*maxGroup }, 10*time.Second, time.Millisecond)
	begun := time.Now()
	require.NoError(t, s.Close())
	wg.Wait()
	require.Less(t, time.Since(begun), 3*time.Second)
	closed := 0
	for _, err := range errs {
		var told *breakglass.Error
		switch {
		case errors.Is(err, ErrClosed):
			closed++
		case errors.As(err, &told):
			require.True(t, told.Unknown, "it was sent")
		default:
			t.Fatal(err)
		}
	}
	require.Greater(t, closed, callers/2)
}
