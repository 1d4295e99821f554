package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// requestStates are those that an access request can be in, and how it is stored.
var requestStates = map[string]breakglass.RequestStatus{"request pending": breakglass.RequestPending, "request approved": breakglass.RequestApproved,
	"request unanswered": breakglass.RequestPending, "request over": breakglass.RequestApproved, "request denied": breakglass.RequestDenied,
	"request cancelled": breakglass.RequestCancelled, "request expired": breakglass.RequestExpired}

// putRequest stores an access request that relates to the caller as wanted. Who is
// no delegate decides about those of others on the profile "shared".
func (s *server) putRequest(t *testing.T, caller string, target breakglass.Target, state string) string {
	t.Helper()
	now := s.clock.Now().UTC().Truncate(time.Microsecond)
	r := breakglass.AccessRequest{ID: breakglass.NewID(), Requester: caller, Profile: "prod", Justification: "Rotate the certificate, CHG-2201",
		DurationSeconds: 3600, Status: requestStates[state], CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(time.Hour),
		ApprovalRule: "changes", ApprovalsRequired: 1, CorrelationID: "request-1"}
	switch target {
	case breakglass.TargetDecidable:
		r.Requester, r.Profile = stranger, "shared"
	case breakglass.TargetForeign:
		r.Requester = stranger
	}
	switch state {
	case "request approved":
		r.ApprovedAt, r.Approvals = now, []breakglass.Approval{{By: sam, At: now}}
	case "request unanswered", "request over", "request expired":
		r.CreatedAt, r.ExpiresAt = now.Add(-time.Hour), now
	case "request denied", "request cancelled":
		r.EndedAt, r.EndedBy, r.EndedReason = now, r.Requester, "done"
	}
	s.storeRequest(t, r)
	return r.ID
}

// storeRequest stores an access request in the place of whatever its requester has
// open on the profile.
func (s *server) storeRequest(t *testing.T, r breakglass.AccessRequest) {
	t.Helper()
	pair := breakglass.Pair{Person: r.Requester, Profile: r.Profile}
	require.NoError(t, s.store.Update(t.Context(), breakglass.Keys{Requests: pair}, func(tx breakglass.Tx) error {
		open, err := tx.FindOpenRequests(pair)
		if err != nil {
			return err
		}
		for _, earlier := range []*breakglass.AccessRequest{open.Pending, open.Approved} {
			if earlier == nil {
				continue
			}
			earlier.Status, earlier.EndedAt, earlier.EndedBy = breakglass.RequestCancelled, r.UpdatedAt, r.Requester
			if err := tx.PutAccessRequest(*earlier); err != nil {
				return err
			}
		}
		return tx.PutAccessRequest(r)
	}))
}

// accessRequests returns every stored access request.
func (s *server) accessRequests(t testing.TB) []breakglass.AccessRequest {
	t.Helper()
	requests, err := s.store.AccessRequests(t.Context(), breakglass.RequestQuery{Limit: 1000, Now: s.clock.Now()})
	require.NoError(t, err)
	return requests
}

// open says in which states a call changes an access request.
func open(call breakglass.Call, state string) bool {
	return state == "request pending" || state == "request approved" && call != breakglass.CallApprove
}

// A listing shows one's own access requests alone, and who decides sees those to
// decide.
func TestListsHoldNoForeignRequestForThoseWhoMayNotSeeIt(t *testing.T) {
	s := start(t, options{})
	for role, name := range holders() {
		for state := range requestStates {
			for _, target := range []breakglass.Target{breakglass.TargetOwn, breakglass.TargetDecidable, breakglass.TargetForeign} {
				s.put(t, name, target, state)
			}
		}
		pending := s.put(t, name, breakglass.TargetDecidable, "request pending")
		all := breakglass.Permit(breakglass.Principal{Name: name, Roles: []breakglass.Role{role}}, breakglass.CallRequests, breakglass.TargetForeign) == breakglass.Allow
		for _, query := range []string{"", "status=pending", "profile=prod", "status=denied", "requester=" + strings.ToUpper(name)} {
			foreign := false
			for _, r := range s.requests(t, name, query) {
				foreign = foreign || r.Requester != name
			}
			assert.Equal(t, all && !strings.HasPrefix(query, "requester="), foreign, "%s %q", name, query)
		}
		var want []string
		if role != breakglass.RoleDelegate {
			want = []string{pending}
		}
		assert.Equal(t, want, idsOf(s.requests(t, name, "decidable=true")), name)
	}
}

// everyDecision brings access requests to each of their ends that somebody calls for.
func (s *server) everyDecision(t testing.TB) {
	t.Helper()
	asked := s.ask(t, alice, "twice")
	for i, as := range []string{bob, "no-role"} {
		var view breakglass.RequestView
		s.decide(t, as, asked.ID, "approve", "").into(200, &view)
		require.Equal(t, []breakglass.RequestStatus{breakglass.RequestPending, breakglass.RequestApproved}[i], view.Status)
	}
	require.Equal(t, 200, s.decide(t, bob, asked.ID, "deny", `{"reason":"freeze"}`).status)
	require.Equal(t, 200, s.decide(t, alice, s.ask(t, alice, "shared").ID, "cancel", "").status)
}
