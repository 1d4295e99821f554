package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/breakglass"
)

// pollUntilRefused sends requests until one of them is over the budget, which
// comes back only slowly in these tests.
func (s *server) pollUntilRefused(t *testing.T, r request) answer {
	t.Helper()
	for range 200 {
		if a := s.call(t, r); a.status == http.StatusTooManyRequests {
			return a
		}
	}
	require.FailNow(t, "nothing bounds the requests of one caller")
	return answer{}
}

func TestADashboardThatRunsWildIsSlowedDownAndNobodyElse(t *testing.T) {
	s := start(t, options{requests: 1, emergencies: 1})
	a := s.pollUntilRefused(t, request{method: "GET", path: "/v1/events", as: auditor})
	assert.Equal(t, breakglass.CodeRateLimited, a.problem().Code)
	assert.Equal(t, "1", a.header.Get("Retry-After"), "the wait is short")
	assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/v1/whoami", as: alice}).status, "another caller")
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		assert.Equal(t, 200, s.call(t, request{method: "GET", path: path, as: auditor}).status, path)
	}
}

// Somebody who runs a dashboard with their own token must not find at night
// that it has used up what they need now.
func TestPollingUsesUpNothingOfWhatAnEmergencyNeeds(t *testing.T) {
	s := start(t, options{requests: 1, emergencies: 1})
	s.pollUntilRefused(t, request{method: "GET", path: "/v1/breakglass", as: alice})
	s.pollUntilRefused(t, request{method: "POST", path: "/v1/breakglass?dry_run=true", as: alice, body: body()})
	assert.Equal(t, 429, s.call(t, post(alice, "/v1/requests", asking("prod"))).status, "asking for approval is no emergency")

	ev := s.invoke(t, alice, "prod")
	assert.Equal(t, 200, s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice}).status)
	assert.Equal(t, 200, s.call(t, post(alice, "/v1/credentials", `{"profile":"prod"}`)).status)
	assert.Equal(t, 200, s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/extend", extending())).status)
	assert.Equal(t, 200, s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":"over"}`}).status)
}

func TestCallsOfAnEmergencyHaveABudgetToo(t *testing.T) {
	s := start(t, options{requests: 1, emergencies: 1})
	for _, r := range []request{
		{method: "POST", path: "/v1/breakglass", as: alice, body: "nonsense"},
		{method: "POST", path: "/v1/breakglass/0123456789abcdef/close", as: bob, body: `{"reason":"x"}`},
		{method: "POST", path: "/v1/breakglass/0123456789abcdef/credentials", as: sam},
		{method: "POST", path: "/v1/credentials", as: auditor, body: `{"profile":"prod"}`},
		{method: "POST", path: "/v1/breakglass/0123456789abcdef/extend", as: bot, body: extending()},
	} {
		a := s.pollUntilRefused(t, r)
		assert.Contains(t, a.problem().Detail, "invocations, extensions, closes, withdrawals and credentials")
		assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/v1/whoami", as: r.as}).status, "looking is another budget")
	}
}

func TestRequestsOverTheBudgetAreOnRecordOnceAndFillNoLog(t *testing.T) {
	s := start(t, options{requests: 1})
	s.pollUntilRefused(t, request{method: "GET", path: "/v1/whoami", as: alice})
	for range 200 {
		s.call(t, request{method: "GET", path: "/v1/whoami", as: alice})
	}
	var found []breakglass.LogEntry
	for _, e := range s.entries(t) {
		if e.Detail[breakglass.DetailCall] == "over_budget" {
			found = append(found, e)
		}
	}
	require.Len(t, found, 1, "one a minute")
	assert.Equal(t, breakglass.EntryDenied, found[0].Event)
	assert.Equal(t, "rate_limited", found[0].Reason)
	assert.Equal(t, alice, found[0].Actor)
	assert.Equal(t, "127.0.0.1", found[0].Detail["client_addr"])
	assert.Less(t, strings.Count(s.log.String(), `"status":429`), 100, "lines over the budget are bounded as a stranger's")
}

func TestABudgetComesBackAndIsRememberedInBoundedMemory(t *testing.T) {
	b := api.NewBudgets(0, 0)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for range 10 * api.DefaultRequestsPerCaller {
		require.Zero(t, b.SpendRequest(alice, now))
	}
	assert.Equal(t, 10*time.Millisecond, b.SpendRequest(alice, now))
	for range 10_000 {
		b.SpendRequest(alice, now)
	}
	assert.Equal(t, 10*time.Millisecond, b.SpendRequest(alice, now), "refused requests cost nothing: nobody is locked out")
	assert.Zero(t, b.SpendRequest(alice, now.Add(10*time.Millisecond)))
	assert.NotZero(t, b.SpendRequest(alice, now.Add(10*time.Millisecond)))
	assert.Zero(t, b.SpendRequest(bob, now), "another caller")
	for i := range 10_000 {
		b.SpendRequest(fmt.Sprint(i), now)
	}
	assert.Equal(t, 4096, b.Len())
}
