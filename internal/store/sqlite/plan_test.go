package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// plan returns SQLite's plan for a statement, one step per line.
func plan(t *testing.T, s *Store, text string) string {
	t.Helper()
	rows, err := s.read.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, strings.Count(text, "?"))...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	return strings.Join(steps, "\n")
}

// TestNothingIsScannedOrSorted holds the plans of everything that a caller or
// the server itself does often: time must not grow with the number of events.
func TestNothingIsScannedOrSorted(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "plan.db"))
	statements := map[string]string{
		"check": sqlEvent, "event by row": sqlEventByPK, "active": sqlActive, "last": sqlLast,
		"count by invoker": sqlCountByInvoker, "count by profile": sqlCountByProfile, "idempotent": sqlFindIdempotent, "factor": sqlFactor,
		"agenda": sqlAgenda, "due": sqlDue,
		"access request": sqlAccessRequest, "request by row": sqlAccessRequestByPK, "open requests": sqlOpenRequests, "standing": sqlStanding,
		"head": `SELECT seq, high_water, body, hash FROM entries ORDER BY seq DESC LIMIT 1`,
	}
	now := time.Now()
	for bits := range 1 << 6 {
		q := breakglass.EventQuery{Limit: 50, Now: now}
		for bit, set := range []func(){
			func() { q.Invoker = "a" }, func() { q.Profile = "p" }, func() { q.ReasonCode = "incident" },
			func() { q.Since = now }, func() { q.Until = now }, func() { q.Before = &breakglass.Position{CreatedAt: now, ID: "x"} },
		} {
			if bits>>bit&1 == 1 {
				set()
			}
		}
		for _, q.Status = range append(breakglass.Statuses(), "") {
			text, _ := eventsSQL(q)
			statements[fmt.Sprintf("list %+v", q)] = text
		}
		for _, status := range append(breakglass.RequestStatuses(), "") {
			r := breakglass.RequestQuery{Requester: q.Invoker, Profile: q.Profile, Status: status, Before: q.Before, Limit: 50, Now: now}
			text, _ := requestsSQL(r)
			statements[fmt.Sprintf("requests %+v", r)] = text
		}
		text := entrySQL(entryFilters(breakglass.EntryQuery{Invoker: q.Invoker, Profile: q.Profile, Event: breakglass.EntryType(q.ReasonCode), Since: q.Since}))
		statements[fmt.Sprintf("feed %d", bits)] = text
	}
	for name, text := range statements {
		steps := plan(t, s, text)
		require.NotContains(t, steps, "TEMP B-TREE", "%s sorts\n%s\n%s", name, text, steps)
		for step := range strings.Lines(steps) {
			step = strings.TrimSpace(step)
			if strings.HasPrefix(step, "SCAN") && step != "SCAN (subquery-1)" && step != "SCAN CONSTANT ROW" {
				// Walking an index from its end is fine where nothing filters.
				unfiltered := step == "SCAN events USING INDEX events_created" || step == "SCAN access_requests USING INDEX access_requests_created" ||
					step == "SCAN entries" && name == "head" ||
					name == "agenda" && (step == "SCAN events USING INDEX events_due" || step == "SCAN access_requests USING INDEX access_requests_due")
				require.True(t, unfiltered, "%s scans\n%s\n%s", name, text, steps)
			}
		}
	}
	for _, want := range []struct{ statement, step string }{
		{"active", "SEARCH events USING COVERING INDEX events_active (invoker=? AND profile=?)"},
		{"last", "SEARCH events USING COVERING INDEX events_invoker_profile (invoker=? AND profile=?)"},
		{"open requests", "SEARCH access_requests USING COVERING INDEX access_requests_open (requester=? AND profile=? AND status=?)"},
		{"standing", "COMPOUND QUERY\nLEFT-MOST SUBQUERY\nSEARCH events USING INDEX events_active (invoker=? AND profile=?)\nUNION ALL\n" +
			"SEARCH access_requests USING INDEX access_requests_open (requester=? AND profile=? AND status=?)"},
		{"due", "SEARCH d USING INDEX deliveries_due (sink=?)\nSEARCH e USING INTEGER PRIMARY KEY (rowid=?)"},
	} {
		require.Equal(t, want.step, plan(t, s, statements[want.statement]), want.statement)
	}
	require.Contains(t, plan(t, s, sqlCountByInvoker), "SEARCH events USING COVERING INDEX events_invoker (invoker=? AND created_at>?)")
	require.Contains(t, plan(t, s, sqlCountByProfile), "SEARCH events USING COVERING INDEX events_profile (profile=? AND created_at>?)")
	expired, _ := eventsSQL(breakglass.EventQuery{Status: breakglass.StatusExpired, Limit: 1, Now: now})
	require.Contains(t, plan(t, s, expired), "MERGE (UNION ALL)", "two ordered halves are merged")
}
