package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// invokeOnce is a transaction as an invocation makes it: the look-ups of
// stacking and every rate limit, then event, entry and one delivery.
func invokeOnce(ctx context.Context, s *Store, invoker, profile string, now time.Time) error {
	ev := breakglass.Event{
		ID: breakglass.NewID(), Invoker: invoker, RequestedBy: invoker, Profile: profile, ReasonCode: breakglass.ReasonIncident,
		Justification: "primary database is down, see INC-4711", DurationSeconds: 3600, Status: breakglass.StatusActive,
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(time.Hour), RequestID: breakglass.NewID(), PolicyRule: "oncall",
	}
	keys := breakglass.Keys{Invoker: invoker, Profile: profile}
	return s.Update(ctx, keys, func(tx breakglass.Tx) error {
		if _, err := tx.LatestEntryTime(); err != nil {
			return err
		}
		if active, err := tx.FindActiveByInvokerAndProfile(invoker, profile); err != nil || active != nil {
			return fmt.Errorf("active: %v, %w", active, err)
		}
		if _, err := tx.GetLastByInvokerAndProfile(invoker, profile); err != nil {
			return err
		}
		if _, err := tx.CountByInvokerSince(invoker, now.Add(-24*time.Hour), 4); err != nil {
			return err
		}
		if _, err := tx.CountByProfileSince(profile, now.Add(-24*time.Hour), 11); err != nil {
			return err
		}
		if err := tx.PutEvent(ev); err != nil {
			return err
		}
		return tx.Append(breakglass.LogEntry{
			Timestamp: now, Event: breakglass.EntryInvoked, EventID: ev.ID, RequestID: ev.RequestID, Actor: invoker,
			Invoker: invoker, Profile: profile, ReasonCode: ev.ReasonCode, Justification: ev.Justification,
			Status: ev.Status, DurationSeconds: 3600, ExpiresAt: ev.ExpiresAt,
			Detail: map[string]string{breakglass.DetailPolicyRule: "oncall"},
		}, &ev, []string{"secops"})
	})
}

// BenchmarkUpdate64 is the rate of durable invocations for 64 callers at once.
func BenchmarkUpdate64(b *testing.B) {
	ctx := b.Context()
	s, err := Open(ctx, filepath.Join(b.TempDir(), "bench.db"), Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	var n atomic.Int64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			invoker := fmt.Sprintf("user-%d@example.com", i)
			if err := invokeOnce(ctx, s, invoker, "prod", time.Now()); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
