package notify

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// synctest itself fails a test whose goroutines outlive it, so that each of
// these also shows that nothing leaks.

func TestStopFinishesWhatIsUnderWayAndStartsNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		slow := &recorder{answer: func(context.Context, int, Notification) error { time.Sleep(3 * time.Second); return nil }}
		d := start(t, Options{Queue: q, Journal: q, Concurrency: 2, Set: setOf(map[string]Notifier{"siem": slow})})
		for range 5 {
			q.add(time.Now(), breakglass.EntryInvoked, "siem")
		}
		time.Sleep(time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.NoError(t, d.Stop(ctx))
		require.Equal(t, 2*time.Second, time.Since(began))
		require.Len(t, slow.seen(), 2)
		pending, dead := q.left()
		require.Equal(t, []int{3, 0}, []int{pending, dead})
	})
}

func TestStopCutsOffAfterItsDeadlineAndTheNextRunRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		hanging := &recorder{answer: func(ctx context.Context, _ int, _ Notification) error { <-ctx.Done(); return ctx.Err() }}
		count := newCounter()
		log, text := testLog()
		d := start(t, Options{Queue: q, Journal: q, Observer: count, Log: log, Set: setOf(map[string]Notifier{"siem": hanging})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.ErrorContains(t, d.Stop(ctx), "siem (1)")
		require.Equal(t, 0, q.pending[0].Attempts, "being cut off costs no attempt")
		require.Zero(t, count.failed["siem"], "nor does it count as a failure of the target")
		require.NotContains(t, text.String(), "fail")

		again := &recorder{}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": again})})
		synctest.Wait()
		require.Len(t, again.seen(), 1)
		require.Equal(t, hanging.seen()[0].id, again.seen()[0].id)
		require.Equal(t, hanging.seen()[0].doc, again.seen()[0].doc)
	})
}

func TestStopDoesNotWaitForANotifierThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, release := newMemory(), make(chan struct{})
		stuck := &recorder{answer: func(context.Context, int, Notification) error { <-release; return nil }}
		d := start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": stuck})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		require.Error(t, d.Stop(ctx))
		require.Equal(t, 3*time.Second, time.Since(began))
		close(release)
	})
}

func TestStopOfAnIdleDispatcherIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		d := start(t, Options{Queue: q, Journal: q, Set: nil})
		require.NoError(t, d.Stop(t.Context()))
		require.NoError(t, d.Stop(t.Context()), "a second time is harmless")
	})
}

func TestPendingDeliveriesGoOutAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		down := failing(errDown)
		d := start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": down})})
		began := time.Now()
		q.add(began, breakglass.EntryInvoked, "siem")
		time.Sleep(10 * time.Second) // two attempts, the third after five minutes
		require.NoError(t, d.Stop(t.Context()))
		q.add(time.Now(), breakglass.EntryClosed, "siem") // committed while nobody sends
		time.Sleep(time.Minute)

		up := &recorder{}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": up})})
		synctest.Wait()
		require.Equal(t, []int64{2}, up.seqs(), "the other one isn't due yet")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Equal(t, []int64{2, 1}, up.seqs())
		require.Equal(t, began.Add(5*time.Second+5*time.Minute), up.seen()[1].at, "the schedule goes on where it was")
	})
}
