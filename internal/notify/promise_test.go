package notify

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// Promise 10: a slow or dead notification target delays nobody and loses
// nothing: at least once, with retries, each target on its own.
func TestPromise10SlowOrDeadTargetDelaysNobodyAndLosesNothing(t *testing.T) {
	const entries = 50
	var broken, throttled atomic.Int32
	targets := map[string]*hook{
		"fine":    newHook(t, ok),
		"hanging": newSilentHook(t),
		"broken": newHook(t, func(w http.ResponseWriter, _ *http.Request) {
			if broken.Add(1) <= 2*entries { // until somebody repairs it
				w.WriteHeader(http.StatusInternalServerError)
			}
		}),
		"throttling": newHook(t, func(w http.ResponseWriter, _ *http.Request) {
			if throttled.Add(1) == 1 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}),
		"redirecting": newHook(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusPermanentRedirect)
		}),
		"gone": newHook(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }),
		"dead": newHook(t, ok),
	}
	set := &Set{}
	for name, h := range targets {
		s := h.sink(t)
		s.sinks[0].name = name
		set.sinks = append(set.sinks, s.sinks...)
	}
	targets["dead"].Close()

	q, count := newMemory(), newCounter()
	schedule := []time.Duration{0}
	for range 9 {
		schedule = append(schedule, 20*time.Millisecond)
	}
	// However slow the machine, no attempt times out while the others are served.
	d := start(t, Options{Queue: q, Journal: q, Set: set, Schedule: schedule, Observer: count, Timeout: time.Hour})
	began := time.Now()
	for range entries {
		q.add(time.Now(), breakglass.EntryInvoked, set.Names()...)
	}
	require.Less(t, time.Since(began), 10*time.Second, "committing waits for no target")

	took := func(name string) int {
		ids := map[string]bool{}
		for _, r := range targets[name].seen() {
			ids[r.header.Get("Webhook-Id")] = true
		}
		return len(ids)
	}
	require.Eventually(t, func() bool { return took("fine") == entries }, time.Minute, 5*time.Millisecond)
	require.Less(t, count.oldest(), time.Minute, "the hanging ones haven't even timed out")
	left := func(name string) (pending, dead int64) {
		c, err := q.DeliveryCounts(t.Context())
		require.NoError(t, err)
		return c[name].Pending, c[name].Dead
	}
	for name, wantDead := range map[string]int64{"fine": 0, "broken": 0, "throttling": 0, "redirecting": entries, "gone": entries, "dead": entries} {
		require.Eventually(t, func() bool { p, _ := left(name); return p == 0 }, time.Minute, 5*time.Millisecond, name)
		_, dead := left(name)
		require.Equal(t, wantDead, dead, name)
	}
	require.Equal(t, entries, took("broken"))
	require.Equal(t, entries, took("throttling"))
	pending, dead := left("hanging")
	require.EqualValues(t, []int64{entries, 0}, []int64{pending, dead}, "the hanging one has lost nothing")
	require.LessOrEqual(t, len(targets["hanging"].seen()), defaultConcurrency)

	// The process ends in the middle of it; a new one over the same queue, with
	// the target repaired, sends what is left.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, d.Stop(ctx), "hanging")
	repaired := newHook(t, ok)
	again := repaired.sink(t)
	again.sinks[0].name = "hanging"
	start(t, Options{Queue: q, Journal: q, Set: again})
	targets["hanging"] = repaired
	require.Eventually(t, func() bool { p, _ := left("hanging"); return p == 0 && took("hanging") == entries }, time.Minute, 5*time.Millisecond)
}

// The same with time under control: a target that never answers, and another
// one that gets everything in the very instant it was committed.
func TestAHangingSinkDoesNotDelayAnotherByAnInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		hanging := &recorder{answer: func(ctx context.Context, _ int, _ Notification) error { <-ctx.Done(); return ctx.Err() }}
		fine := &recorder{}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"a-hanging": hanging, "b-fine": fine})})
		for range 100 {
			committed := time.Now()
			q.add(committed, breakglass.EntryInvoked, "a-hanging", "b-fine")
			synctest.Wait()
			calls := fine.seen()
			require.Equal(t, committed, calls[len(calls)-1].at)
			time.Sleep(time.Second)
		}
		require.Len(t, fine.seen(), 100)
	})
}

func TestNoConnectionOutlivesTheDispatcher(t *testing.T) {
	var open atomic.Int32
	h := newHookWith(t, ok, func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	})
	q := newMemory()
	d := start(t, Options{Queue: q, Journal: q, Set: h.sink(t)})
	q.add(time.Now(), breakglass.EntryInvoked, "siem")
	require.Eventually(t, func() bool { p, _ := q.left(); return p == 0 }, time.Minute, time.Millisecond)
	require.EqualValues(t, 1, open.Load(), "kept for the next notification")
	require.NoError(t, d.Stop(t.Context()))
	require.Eventually(t, func() bool { return open.Load() == 0 }, time.Minute, time.Millisecond)
}
