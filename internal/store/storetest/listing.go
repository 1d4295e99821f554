package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// population is a set of events in every state, with many that were created at
// the same instant. At half past the first hour some of the active have lapsed.
func population() []breakglass.Event {
	var events []breakglass.Event
	reasons := breakglass.ReasonCodes()
	for i := range 72 {
		created := at(time.Duration(i/4) * time.Minute) // four share an instant
		ev := closedEvent(fmt.Sprintf("user-%d", i%3), fmt.Sprintf("profile-%d", i%4), created)
		ev.ReasonCode = reasons[i%len(reasons)]
		switch {
		case i < 12: // one for each pair of invoker and profile: stored as active, half of them lapsed
			ev.Status, ev.ClosedAt, ev.ClosedBy, ev.ClosedReason = breakglass.StatusActive, time.Time{}, "", ""
			ev.ExpiresAt = at(30 * time.Minute)
			if i%2 == 0 {
				ev.ExpiresAt = at(2 * time.Hour)
			}
		case i%3 == 0:
			ev.Status, ev.ClosedAt, ev.ClosedBy, ev.ClosedReason = breakglass.StatusExpired, time.Time{}, "", ""
		}
		events = append(events, ev)
	}
	return events
}

// wanted is the specification of a listing.
func wanted(events []breakglass.Event, q breakglass.EventQuery) []string {
	var match []breakglass.Event
	for _, ev := range events {
		before := q.Before == nil || ev.CreatedAt.Before(q.Before.CreatedAt) ||
			ev.CreatedAt.Equal(q.Before.CreatedAt) && ev.ID < q.Before.ID
		if before && (q.Invoker == "" || ev.Invoker == q.Invoker) && (q.Profile == "" || ev.Profile == q.Profile) &&
			(q.Status == "" || ev.StatusAt(q.Now) == q.Status) && (q.ReasonCode == "" || ev.ReasonCode == q.ReasonCode) &&
			(q.Since.IsZero() || !ev.CreatedAt.Before(q.Since)) && (q.Until.IsZero() || ev.CreatedAt.Before(q.Until)) {
			match = append(match, ev)
		}
	}
	slices.SortFunc(match, func(a, b breakglass.Event) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return ids(match[:min(len(match), q.Limit)])
}

func ids(events []breakglass.Event) []string {
	out := make([]string, len(events))
	for i, ev := range events {
		out[i] = ev.ID
	}
	return out
}

// queries are all combinations of a value and none for each filter.
func queries() []breakglass.EventQuery {
	qs := []breakglass.EventQuery{{Limit: 1000, Now: at(time.Hour)}}
	vary := func(change func(q *breakglass.EventQuery)) {
		for _, q := range slices.Clone(qs) {
			change(&q)
			qs = append(qs, q)
		}
	}
	vary(func(q *breakglass.EventQuery) { q.Invoker = "user-1" })
	vary(func(q *breakglass.EventQuery) { q.Profile = "profile-2" })
	vary(func(q *breakglass.EventQuery) { q.ReasonCode = breakglass.ReasonSecurity })
	vary(func(q *breakglass.EventQuery) { q.Since = at(2 * time.Minute) })
	vary(func(q *breakglass.EventQuery) { q.Until = at(12 * time.Minute) })
	for _, q := range slices.Clone(qs) {
		for _, status := range breakglass.Statuses() {
			q.Status = status
			qs = append(qs, q)
		}
	}
	return qs
}

func testFilters(t *testing.T, e Engine) {
	events := population()
	put(t, e, events...)
	for i, q := range queries() {
		settled(t, e, func(c require.TestingT) {
			got, err := e.Events(t.Context(), q)
			require.NoError(c, err)
			require.Equal(c, wanted(events, q), ids(got), "%+v", q)
		})
		if i%3 > 0 { // 3 shares no factor with how the combinations are made, so each filter has its turn
			continue
		}
		q.Limit = 2
		got, err := e.Events(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, wanted(events, q), ids(got), "%+v", q)
		// A cursor from anywhere, even from another listing, is a place in time.
		q.Before = &breakglass.Position{CreatedAt: events[40].CreatedAt, ID: events[40].ID}
		got, err = e.Events(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, wanted(events, q), ids(got), "%+v after %+v", q, *q.Before)
	}
	for _, q := range []breakglass.EventQuery{
		{Invoker: "nobody"}, {Profile: "nothing"}, {ReasonCode: "unknown"}, {Status: "unknown"},
		{Since: at(time.Hour)}, {Until: at(0)}, {Since: at(time.Minute), Until: at(time.Minute)},
	} {
		q.Limit, q.Now = 10, at(0)
		got, err := e.Events(t.Context(), q)
		require.NoError(t, err)
		require.Empty(t, got, "%+v", q)
	}
}

// pages walks a listing with the cursor of each page's last event.
func pages(t *testing.T, s Store, q breakglass.EventQuery, between func()) []string {
	t.Helper()
	all := []string{}
	for {
		page, err := s.Events(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), q.Limit)
		all = append(all, ids(page)...)
		if len(page) < q.Limit {
			return all
		}
		last := page[len(page)-1]
		q.Before = &breakglass.Position{CreatedAt: last.CreatedAt, ID: last.ID}
		between()
	}
}

func testPaging(t *testing.T, e Engine) {
	events := population()
	put(t, e, events...)
	settled(t, e, func(c require.TestingT) {
		got, err := e.Events(t.Context(), breakglass.EventQuery{Limit: 1000, Now: at(time.Hour)})
		require.NoError(c, err)
		require.Len(c, got, len(events))
	})
	for i, q := range queries() {
		if i%7 > 0 {
			continue
		}
		want := wanted(events, q)
		for _, limit := range []int{1, 3, 4, 100} { // pages that end between events of one instant
			q.Limit = limit
			require.Equal(t, want, pages(t, e, q, func() {}), "%+v", q)
		}
	}
}

func testCursorStable(t *testing.T, e Engine) {
	events := population()
	put(t, e, events...)
	n := 0
	for _, status := range []breakglass.Status{"", breakglass.StatusActive, breakglass.StatusExpired, breakglass.StatusClosed} {
		q := breakglass.EventQuery{Limit: 5, Status: status, Now: at(time.Hour)}
		full := q
		full.Limit = 1000
		want := wanted(events, full)
		got := pages(t, e, q, func() {
			n++
			newer := closedEvent("bob", "new", at(time.Hour+time.Duration(n)*time.Second))
			put(t, e, newer)
			events = append(events, newer)
		})
		require.Equal(t, want, got, "events that were there at the start, each once, whatever is added meanwhile")
	}
}

func testBoundary(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	put(t, e, ev)
	settled(t, e, func(c require.TestingT) {
		got, err := e.Events(t.Context(), breakglass.EventQuery{Limit: 1, Now: at(0)})
		require.NoError(c, err)
		require.Len(c, got, 1)
	})
	for _, c := range []struct {
		now  time.Time
		want breakglass.Status
	}{
		{ev.ExpiresAt.Add(-time.Microsecond), breakglass.StatusActive},
		{ev.ExpiresAt, breakglass.StatusExpired},
		{ev.ExpiresAt.Add(time.Microsecond), breakglass.StatusExpired},
	} {
		for _, status := range breakglass.Statuses() {
			got, err := e.Events(t.Context(), breakglass.EventQuery{Limit: 5, Status: status, Now: c.now})
			require.NoError(t, err)
			if status == c.want {
				require.Equal(t, []breakglass.Event{ev}, got, "listed as %s at %s, as it is stored", status, c.now)
			} else {
				require.Empty(t, got, "not %s at %s", status, c.now)
			}
		}
	}
}
