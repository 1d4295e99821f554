package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// writeTrail appends n entries of many kinds, three to a transaction. Its clock
// is set back in the middle.
func writeTrail(t *testing.T, s Store, n int) {
	t.Helper()
	types := breakglass.EntryTypes()
	for i := 0; i < n; i += 3 {
		require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
			var errs []error
			for j := i; j < min(i+3, n); j++ {
				ev := newEvent(fmt.Sprintf("user-%d", j%5), fmt.Sprintf("profile-%d", j%3), at(0))
				when := at(time.Duration(j) * time.Second)
				if j >= n/2 && j < n/2+10 {
					when = when.Add(-20 * time.Second)
				}
				errs = append(errs, tx.Append(newEntry(types[j%len(types)], ev, when), &ev, nil))
			}
			return errors.Join(errs...)
		}))
	}
}

func testJournalOrder(t *testing.T, e Engine) {
	const callers, each = 20, 5
	for _, err := range inParallel(callers, func(i int) error {
		for j := range each {
			err := e.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
				ev := newEvent(fmt.Sprintf("user-%d", i), fmt.Sprint(j), at(0))
				return tx.Append(newEntry(breakglass.EntryInvoked, ev, at(time.Duration(j)*time.Second)), nil, nil)
			})
			if err != nil {
				return err
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	require.EqualValues(t, callers*each, mustHead(t, e))
	all := feed(t, e, breakglass.EntryQuery{Limit: 7})
	require.Len(t, all, callers*each)
	next := map[string]int{}
	for _, entry := range all {
		require.Equal(t, fmt.Sprint(next[entry.Invoker]), entry.Profile, "a caller's own entries in the order of its calls")
		next[entry.Invoker]++
	}
	requireChain(t, e)

	// At the end there is nothing more, and the cursor stays where it is.
	entries, through, err := e.Entries(t.Context(), breakglass.EntryQuery{After: callers * each, Limit: 10})
	require.NoError(t, err)
	require.Empty(t, entries)
	require.EqualValues(t, callers*each, through)
}

func testJournalFilters(t *testing.T, e Engine) {
	const n = 120
	writeTrail(t, e, n)
	all := feed(t, e, breakglass.EntryQuery{Limit: 1000})
	require.Len(t, all, n)
	qs := []breakglass.EntryQuery{{}}
	vary := func(change func(q *breakglass.EntryQuery)) {
		for _, q := range slices.Clone(qs) {
			change(&q)
			qs = append(qs, q)
		}
	}
	vary(func(q *breakglass.EntryQuery) { q.Event = breakglass.EntryDenied })
	vary(func(q *breakglass.EntryQuery) { q.Invoker = "user-3" })
	vary(func(q *breakglass.EntryQuery) { q.Profile = "profile-1" })
	vary(func(q *breakglass.EntryQuery) { q.Since = at(62 * time.Second) }) // in the stretch where the clock was behind
	vary(func(q *breakglass.EntryQuery) { q.After = 17 })
	for _, q := range qs {
		var want []int64
		for _, entry := range all {
			if entry.Seq > q.After && (q.Event == "" || entry.Event == q.Event) && (q.Invoker == "" || entry.Invoker == q.Invoker) &&
				(q.Profile == "" || entry.Profile == q.Profile) && (q.Since.IsZero() || !entry.Timestamp.Before(q.Since)) {
				want = append(want, entry.Seq)
			}
		}
		for _, limit := range []int{1, 4, 1000} {
			q.Limit = limit
			var got []int64
			for _, entry := range feed(t, e, q) {
				got = append(got, entry.Seq)
			}
			require.Equal(t, want, got, "%+v", q)
		}
	}
	for _, q := range []breakglass.EntryQuery{{Invoker: "nobody"}, {Profile: "none"}, {Event: "x"}, {Since: at(time.Hour)}} {
		q.Limit = 10
		require.Empty(t, feed(t, e, q), "%+v", q)
	}
}

// testJournalUntil: the end of a search is a place in the trail, not a filter.
func testJournalUntil(t *testing.T, e Engine) {
	const n = 60
	writeTrail(t, e, n)
	all := feed(t, e, breakglass.EntryQuery{Limit: 1000})
	for _, until := range []time.Time{at(-time.Hour), at(0), at(time.Microsecond), at(10 * time.Second), at(10*time.Second + time.Nanosecond),
		at(n / 2 * time.Second), at((n/2 + 5) * time.Second), at(59 * time.Second), at(59*time.Second + time.Microsecond), at(time.Hour)} {
		var within []breakglass.LogEntry
		high := time.Time{}
		for _, entry := range all {
			if entry.Timestamp.After(high) {
				high = entry.Timestamp
			}
			if !high.Before(until) {
				break
			}
			within = append(within, entry)
		}
		for _, q := range []breakglass.EntryQuery{{}, {After: 17}, {After: n - 1}, {Invoker: "user-3"}, {Invoker: "user-3", Profile: "profile-0"},
			{Since: at(5 * time.Second)}, {Since: at(50 * time.Second), Invoker: "user-1"}} {
			q.Until = until
			var want []int64
			for _, entry := range within {
				if entry.Seq > q.After && (q.Invoker == "" || entry.Invoker == q.Invoker) && (q.Profile == "" || entry.Profile == q.Profile) &&
					!entry.Timestamp.Before(q.Since) {
					want = append(want, entry.Seq)
				}
			}
			q.Limit = 1000
			entries, through, err := e.Entries(t.Context(), q)
			require.NoError(t, err)
			require.Len(t, entries, len(want), "%+v", q)
			require.EqualValues(t, n, through, "searched to the end of the trail: %+v", q)
			for _, q.Limit = range []int{1, 4, 1000} {
				var got []int64
				for _, entry := range feed(t, e, q) {
					got = append(got, entry.Seq)
				}
				require.Equal(t, want, got, "%+v", q)
			}
		}
	}
}

func testLatestEntryTime(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	for _, c := range []struct{ written, latest time.Duration }{
		{time.Minute, time.Minute}, {time.Second, time.Minute}, {time.Hour, time.Hour}, {time.Hour - time.Microsecond, time.Hour},
	} {
		record(t, e, newEntry(breakglass.EntryInvoked, ev, at(c.written)), nil)
		got, err := e.LatestEntryTime(t.Context())
		require.NoError(t, err)
		require.Equal(t, at(c.latest), got)
		require.NoError(t, e.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) (err error) {
			got, err = tx.LatestEntryTime()
			return err
		}))
		require.Equal(t, at(c.latest), got, "the same in a transaction")
	}
}

func testWait(t *testing.T, e Engine) {
	const readers = 10
	ev := newEvent("alice", "prod", at(0))
	woken := make(chan error, readers)
	for range readers {
		go func() { woken <- e.Wait(t.Context(), 1) }()
	}
	record(t, e, newEntry(breakglass.EntryInvoked, ev, at(0)), nil)
	require.NoError(t, e.Wait(t.Context(), 0), "the head is beyond 0 already")
	record(t, e, newEntry(breakglass.EntryClosed, ev, at(0)), nil)
	for range readers {
		select {
		case err := <-woken:
			require.NoError(t, err)
		case <-time.After(10 * time.Second):
			t.Fatal("a reader still waits although the head has moved")
		}
	}
	require.GreaterOrEqual(t, mustHead(t, e), int64(2))
}

func testEntryRoundTrip(t *testing.T, e Engine) {
	full := breakglass.LogEntry{
		Timestamp: at(time.Microsecond), Event: breakglass.EntryCredentialsDenied, EventID: breakglass.NewID(), RequestID: "req-1",
		Actor: "alice@example.com", Invoker: "bob", Profile: "prod — 東京", ReasonCode: breakglass.ReasonOther,
		Justification: "e\u0301 👩‍🚒 <b>&amp;</b> \\ \" \u2028 \u007f", Status: breakglass.StatusClosed, DurationSeconds: 14400,
		ExpiresAt: at(4 * time.Hour), ClosedBy: "sam", ClosedReason: "done", Reason: "rate_limited",
		Detail: map[string]string{breakglass.DetailMessage: "Too soon.", "z": "", "a": "ü"},
	}
	bare := breakglass.LogEntry{Timestamp: at(0), Event: breakglass.EntryDenied, Actor: "alice"}
	record(t, e, full, nil)
	record(t, e, bare, nil)
	got := feed(t, e, breakglass.EntryQuery{Limit: 10})
	require.Len(t, got, 2)
	for i, want := range []breakglass.LogEntry{full, bare} {
		want.Seq, want.PrevHash, want.Hash = got[i].Seq, got[i].PrevHash, got[i].Hash
		require.Equal(t, want, got[i])
	}
}
