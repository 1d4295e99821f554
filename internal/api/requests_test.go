package api_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// requests returns the access requests of a listing in one page.
func (s *server) requests(t testing.TB, as, query string) []breakglass.RequestView {
	t.Helper()
	var page struct{ Items []breakglass.RequestView }
	s.call(t, request{method: "GET", path: "/v1/requests?" + query, as: as}).into(200, &page)
	require.NotNil(t, page.Items, "an empty list is a list")
	return page.Items
}

func idsOf(requests []breakglass.RequestView) (ids []string) {
	for _, r := range requests {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestAnAccessRequestFromBeginningToEnd(t *testing.T) {
	s := start(t, options{})
	asked := s.ask(t, alice, "prod")
	p := s.call(t, post(alice, "/v1/requests", asking("prod"))).problem()
	assert.Equal(t, breakglass.CodeAlreadyRequested, p.Code)
	assert.Equal(t, asked.ID, p.AccessRequestID)
	assert.Equal(t, asked.ExpiresAt, p.ExpiresAt)

	for _, tc := range []struct {
		as, what, body string
		status         int
		code           breakglass.Code
	}{
		{alice, "approve", "", 403, breakglass.CodeForbidden},
		{alice, "deny", `{"reason":"x"}`, 403, breakglass.CodeForbidden},
		{bob, "approve", "", 404, breakglass.CodeRequestNotFound},
		{bob, "deny", `{"reason":"x"}`, 404, breakglass.CodeRequestNotFound},
		{bob, "cancel", "", 404, breakglass.CodeRequestNotFound},
		{auditor, "approve", "", 403, breakglass.CodeForbidden},
		{sam, "cancel", "", 403, breakglass.CodeForbidden},
	} {
		a := s.decide(t, tc.as, asked.ID, tc.what, tc.body)
		assert.Equal(t, tc.status, a.status, "%s %s: %s", tc.as, tc.what, a.body)
		assert.Equal(t, tc.code, a.problem().Code)
	}
	var view breakglass.RequestView
	s.decide(t, sam, asked.ID, "approve", `{}`).into(200, &view)
	var again breakglass.RequestView
	s.decide(t, sam, asked.ID, "approve", ``).into(200, &again)
	assert.Len(t, again.Approvals, 1, "each approver counts once")
	s.decide(t, sam, asked.ID, "deny", `{"reason":" freeze "}`).into(200, &view)
	assert.Equal(t, breakglass.RequestDenied, view.Status)
	assert.Equal(t, "freeze", view.EndedReason)
	for what, body := range map[string]string{"approve": "", "deny": `{"reason":"x"}`} {
		p := s.decide(t, sam, asked.ID, what, body).problem()
		assert.Equal(t, breakglass.CodeInvalidTransition, p.Code)
		assert.Equal(t, asked.ID, p.AccessRequestID)
	}
	assert.Equal(t, breakglass.CodeInvalidTransition, s.decide(t, alice, asked.ID, "cancel", "").problem().Code)

	second := s.ask(t, alice, "prod")
	view, again = breakglass.RequestView{}, breakglass.RequestView{}
	s.decide(t, alice, second.ID, "cancel", `{"reason":""}`).into(200, &view)
	assert.Equal(t, breakglass.RequestCancelled, view.Status)
	s.call(t, request{method: "GET", path: "/v1/requests/" + second.ID, as: alice}).into(200, &again)
	assert.Equal(t, view, again)
}

func TestWhatTheApprovalRulesDontTake(t *testing.T) {
	s := start(t, options{})
	long := strings.Replace(asking("prod"), "{", `{"duration_seconds":28800,`, 1)
	for _, tc := range []struct{ as, body string }{
		{auditor, asking("prod")}, {alice, asking("staging")}, {alice, long},
		{alice, strings.Replace(asking("ticketed"), `,"ticket":"CHG-2201"`, "", 1)},
	} {
		a := s.call(t, post(tc.as, "/v1/requests", tc.body))
		assert.Equal(t, 403, a.status, "%s", a.body)
		assert.Equal(t, breakglass.CodeRequestDenied, a.problem().Code)
	}
	// Nothing that was asked for under a wider rule is approved under a narrower one.
	asked := s.ask(t, alice, "prod")
	s.approving(t, strings.Replace(testApprovals, "max_duration: 4h", "max_duration: 1m", 1))
	assert.Equal(t, breakglass.CodeRequestDenied, s.decide(t, sam, asked.ID, "approve", "").problem().Code)

	auto := s.ask(t, alice, "auto")
	assert.Equal(t, breakglass.RequestApproved, auto.Status, "the rule needs nobody for it")
	assert.True(t, auto.AutoApproved)
}

func TestListsOfAccessRequests(t *testing.T) {
	s := start(t, options{})
	var all []string
	for _, as := range []string{alice, bob} {
		for _, profile := range []string{"prod", "shared", "auto"} {
			all = append([]string{s.ask(t, as, profile).ID}, all...)
		}
	}
	bobAuto, bobShared, bobProd, aliceAuto, aliceShared, aliceProd := all[0], all[1], all[2], all[3], all[4], all[5]
	for _, tc := range []struct {
		as, query string
		want      []string
	}{
		{auditor, "", all},
		{alice, "", []string{aliceAuto, aliceShared, aliceProd}},
		{alice, "requester=" + url.QueryEscape(strings.ToUpper(alice)), []string{aliceAuto, aliceShared, aliceProd}},
		{sam, "requester=" + url.QueryEscape(bob), []string{bobAuto, bobShared, bobProd}},
		{alice, "profile=shared", []string{aliceShared}},
		{alice, "status=approved", []string{aliceAuto}},
		{auditor, "status=pending&profile=prod", []string{bobProd, aliceProd}},
		{auditor, "status=denied", nil},
		{alice, "decidable=true", []string{bobShared}},
		{alice, "decidable=false", []string{aliceAuto, aliceShared, aliceProd}},
		{sam, "decidable=true", []string{bobProd, aliceProd}},
		{bot, "decidable=true", nil},
		{sam, "decidable=true&requester=" + url.QueryEscape(alice), []string{aliceProd}},
	} {
		assert.Equal(t, tc.want, idsOf(s.requests(t, tc.as, tc.query)), "%s %s", tc.as, tc.query)
	}
	assert.Equal(t, breakglass.CodeForbidden, s.call(t, request{method: "GET", path: "/v1/requests?requester=bob", as: alice}).problem().Code)

	for _, path := range []string{"/v1/requests?limit=2", "/v1/requests?limit=1&status=pending"} {
		var got []string
		for start := path; path != ""; {
			a := s.call(t, request{method: "GET", path: path, as: auditor})
			var page struct {
				Items      []breakglass.RequestView
				NextCursor string `json:"next_cursor"`
			}
			a.into(200, &page)
			for _, r := range page.Items {
				got = append(got, r.ID)
			}
			assert.Equal(t, page.NextCursor != "", a.next() != "")
			if path = a.next(); start == "/v1/requests?limit=2" && path == "" {
				assert.Equal(t, all, got)
			}
		}
		assert.Len(t, got, map[bool]int{true: 6, false: 4}[len(got) == 6])
	}
	s.clock.advance(25 * time.Hour)
	assert.Empty(t, s.requests(t, auditor, "status=pending"), "a request that waited too long is expired, recorded or not")
	assert.Empty(t, s.requests(t, sam, "decidable=true"))
	assert.Len(t, s.requests(t, auditor, "status=expired"), 6)
}
