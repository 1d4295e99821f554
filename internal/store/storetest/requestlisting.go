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

// requestPopulation is a set of access requests in every state, with many that
// were made at the same instant. At half past the first hour some have lapsed.
func requestPopulation() []breakglass.AccessRequest {
	var requests []breakglass.AccessRequest
	ended := []breakglass.RequestStatus{breakglass.RequestDenied, breakglass.RequestCancelled, breakglass.RequestExpired}
	for i := range 72 {
		created := at(time.Duration(i/4) * time.Minute) // four share an instant
		r := endedRequest(fmt.Sprintf("user-%d", i%3), fmt.Sprintf("profile-%d", i%4), created, ended[i%len(ended)])
		if i < 24 { // for each pair one that is stored as pending and one as approved, half of them lapsed
			r.Status, r.EndedAt, r.EndedBy, r.EndedReason = breakglass.RequestPending, time.Time{}, "", ""
			if i >= 12 {
				r.Status, r.ApprovedAt = breakglass.RequestApproved, created
			}
			r.ExpiresAt = at(30 * time.Minute)
			if i%2 == 0 {
				r.ExpiresAt = at(2 * time.Hour)
			}
		}
		requests = append(requests, r)
	}
	return requests
}

// wantedRequests is the specification of a listing.
func wantedRequests(requests []breakglass.AccessRequest, q breakglass.RequestQuery) []string {
	var match []breakglass.AccessRequest
	for _, r := range requests {
		before := q.Before == nil || r.CreatedAt.Before(q.Before.CreatedAt) || r.CreatedAt.Equal(q.Before.CreatedAt) && r.ID < q.Before.ID
		if before && (q.Requester == "" || r.Requester == q.Requester) && (q.Profile == "" || r.Profile == q.Profile) &&
			(q.Status == "" || r.StatusAt(q.Now) == q.Status) {
			match = append(match, r)
		}
	}
	slices.SortFunc(match, func(a, b breakglass.AccessRequest) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return requestIDs(match[:min(len(match), q.Limit)])
}

func requestIDs(requests []breakglass.AccessRequest) []string {
	out := make([]string, len(requests))
	for i, r := range requests {
		out[i] = r.ID
	}
	return out
}

// requestQueries are all combinations of a value and none for each filter.
func requestQueries() []breakglass.RequestQuery {
	var qs []breakglass.RequestQuery
	for _, requester := range []string{"", "user-1"} {
		for _, profile := range []string{"", "profile-2"} {
			for _, status := range append(breakglass.RequestStatuses(), "") {
				qs = append(qs, breakglass.RequestQuery{Requester: requester, Profile: profile, Status: status, Limit: 1000, Now: at(time.Hour)})
			}
		}
	}
	return qs
}

// requestPages walks a listing with the cursor of each page's last request.
func requestPages(t *testing.T, s Store, q breakglass.RequestQuery) []string {
	t.Helper()
	all := []string{}
	for {
		page, err := s.AccessRequests(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), q.Limit)
		all = append(all, requestIDs(page)...)
		if len(page) < q.Limit {
			return all
		}
		last := page[len(page)-1]
		q.Before = &breakglass.Position{CreatedAt: last.CreatedAt, ID: last.ID}
	}
}

// testRequestListing has events of the same people, profiles and instants
// beside the requests: neither listing shows the other's.
func testRequestListing(t *testing.T, e Engine) {
	requests, events := requestPopulation(), population()
	putRequests(t, e, requests...)
	put(t, e, events...)
	for _, q := range requestQueries() {
		settled(t, e, func(c require.TestingT) {
			got, err := e.AccessRequests(t.Context(), q)
			require.NoError(c, err)
			require.Equal(c, wantedRequests(requests, q), requestIDs(got), "%+v", q)
		})
		for _, limit := range []int{1, 3, 4} { // pages that end between requests of one instant
			paged := q
			paged.Limit = limit
			require.Equal(t, wantedRequests(requests, q), requestPages(t, e, paged), "%+v", paged)
		}
		// A cursor from anywhere, even from a listing of events, is a place in time.
		q.Before = &breakglass.Position{CreatedAt: events[40].CreatedAt, ID: events[40].ID}
		got, err := e.AccessRequests(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, wantedRequests(requests, q), requestIDs(got), "%+v after %+v", q, *q.Before)
	}
	for _, q := range queries() {
		settled(t, e, func(c require.TestingT) {
			got, err := e.Events(t.Context(), q)
			require.NoError(c, err)
			require.Equal(c, wanted(events, q), ids(got), "%+v", q)
		})
	}
	for _, q := range []breakglass.RequestQuery{{Requester: "nobody"}, {Profile: "nothing"}, {Status: "active"}, {Status: "closed"},
		{Before: &breakglass.Position{CreatedAt: at(0), ID: "0"}}} {
		q.Limit, q.Now = 10, at(0)
		got, err := e.AccessRequests(t.Context(), q)
		require.NoError(t, err)
		require.Empty(t, got, "%+v", q)
	}
	_, err := e.AccessRequests(t.Context(), breakglass.RequestQuery{Now: at(0)})
	require.Error(t, err, "a listing without a bound")
}

func testRequestBoundary(t *testing.T, e Engine) {
	for i, r := range []breakglass.AccessRequest{newRequest("alice", "prod", at(0)), approvedRequest("bob", "prod", at(0))} {
		putRequests(t, e, r)
		settled(t, e, func(c require.TestingT) {
			got, err := e.AccessRequests(t.Context(), breakglass.RequestQuery{Limit: 10, Now: at(0)})
			require.NoError(c, err)
			require.Len(c, got, i+1)
		})
		for _, c := range []struct {
			now  time.Time
			want breakglass.RequestStatus
		}{
			{r.ExpiresAt.Add(-time.Microsecond), r.Status},
			{r.ExpiresAt, breakglass.RequestExpired},
			{r.ExpiresAt.Add(time.Microsecond), breakglass.RequestExpired},
		} {
			for _, status := range breakglass.RequestStatuses() {
				for _, q := range []breakglass.RequestQuery{{Requester: r.Requester}, {}} {
					q.Limit, q.Status, q.Now = 5, status, c.now
					found, err := e.AccessRequests(t.Context(), q)
					require.NoError(t, err)
					listed := slices.ContainsFunc(found, func(f breakglass.AccessRequest) bool { return f.ID == r.ID })
					require.Equal(t, status == c.want, listed, "%s at %s", status, c.now)
				}
			}
		}
	}
}
