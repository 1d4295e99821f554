package breakglass_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// leads lets everybody ask for prod, and some people approve.
func leads(required int, approvers ...string) func(string) (breakglass.ApprovalRule, bool) {
	return func(profile string) (breakglass.ApprovalRule, bool) {
		return breakglass.ApprovalRule{
			Terms:      breakglass.Terms{Rule: "leads", MaxDuration: 4 * time.Hour},
			Requesters: breakglass.People{Users: []string{breakglass.Everybody}}, Approvers: breakglass.People{Users: approvers},
			Required: required, MaxWait: 12 * time.Hour,
		}, profile == "prod"
	}
}

func access() breakglass.NewRequest {
	return breakglass.NewRequest{Profile: "prod", Justification: " Add the index of INC-4711 ", Ticket: "INC-4711", CallID: "call-1"}
}

func (w *world) pending(t *testing.T, who string) breakglass.RequestView {
	t.Helper()
	r, err := w.Request(t.Context(), person(who), access())
	require.NoError(t, err)
	require.Equal(t, breakglass.RequestPending, r.Status)
	return r
}

func TestAnApprovedRequestGivesAccessUntilItsEnd(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	alice, carol := person("alice@example.com"), person("carol@example.com")
	r := w.pending(t, alice.Name)
	assert.Equal(t, "Add the index of INC-4711", r.Justification)
	assert.EqualValues(t, 3600, r.DurationSeconds)
	assert.Equal(t, t0.Add(12*time.Hour), r.ExpiresAt)
	_, err := w.CredentialsFor(t.Context(), alice, "prod", "call-2")
	e := requireCode(t, breakglass.CodeAccessDenied, err)
	require.Len(t, e.Links, 3)
	assert.Equal(t, breakglass.OutcomePending, e.Links[1].Outcome)

	w.at(t0.Add(time.Hour))
	r, err = w.Approve(t.Context(), carol, r.ID, "fine", "call-3")
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestApproved, r.Status)
	end := t0.Add(2 * time.Hour)
	assert.Equal(t, end, r.ExpiresAt, "the access begins with the approval")
	assert.Equal(t, []breakglass.Approval{{By: carol.Name, At: t0.Add(time.Hour), Comment: "fine"}}, r.Approvals)

	w.at(end.Add(-time.Second))
	c, err := w.CredentialsFor(t.Context(), alice, "prod", "call-4")
	require.NoError(t, err)
	assert.Equal(t, breakglass.LinkRequest, c.Grant.Link)
	assert.Equal(t, r.ID, c.Grant.AccessRequestID())
	assert.Empty(t, c.Grant.EventID())
	assert.Equal(t, end, c.Expiration)
	w.at(end)
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "call-5")
	assert.Equal(t, breakglass.OutcomeExpired, requireCode(t, breakglass.CodeAccessDenied, err).Links[1].Outcome)

	trail := w.trail(t)
	require.Equal(t, []string{"request.created", "credentials.denied access_denied", "request.approved", "credentials.issued", "credentials.denied access_denied"}, w.types(t))
	assert.Equal(t, "0 of 1", trail[0].Detail[breakglass.DetailApprovals])
	assert.Equal(t, "1 of 1", trail[2].Detail[breakglass.DetailApprovals])
	assert.Equal(t, "fine", trail[2].Detail[breakglass.DetailComment])
	assert.Equal(t, `policy: absent; request: pending "leads" "`+r.ID+`"; breakglass: absent "open"`, trail[1].Detail[breakglass.DetailLinks])
	issued := trail[3].Detail
	for key, want := range map[string]string{
		breakglass.DetailAccessRequestID: r.ID, breakglass.DetailGrantedBy: "request", breakglass.DetailApprovalRule: "leads",
		breakglass.DetailApprovalSHA256: "sha", breakglass.DetailAccessKeyID: "ASIATEST", breakglass.DetailSession: "1",
		breakglass.DetailRoleSessionName: "alice@example.com." + r.ID, breakglass.DetailCallRequestID: "call-4",
		breakglass.DetailLinks: `policy: absent; request: allowed "leads" "` + r.ID + `"`, breakglass.DetailGrantedUntil: "2026-03-01T04:00:00Z",
	} {
		assert.Equal(t, want, issued[key], key)
	}
	assert.Equal(t, "call-1", trail[3].RequestID)
}

func TestNobodyApprovesTheirOwnRequest(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, breakglass.Everybody)
	r := w.pending(t, "alice@example.com")
	requester := person("alice@example.com", breakglass.Roles()...)
	_, err := w.Approve(t.Context(), requester, r.ID, "", "")
	_ = requireCode(t, breakglass.CodeForbidden, err)
	_, err = w.Approve(t.Context(), person("bot", breakglass.RoleDelegate), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeRequestNotFound, err)
	_, err = w.Approve(t.Context(), person("bot", breakglass.RoleDelegate, breakglass.RoleReviewer), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeForbidden, err)
	now, err := w.AccessRequest(t.Context(), requester, r.ID)
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestPending, now.Status)
	assert.Empty(t, now.Approvals)
	list, _, err := w.AccessRequests(t.Context(), person("alice@example.com"), breakglass.RequestQuery{Limit: 10}, true)
	require.NoError(t, err)
	assert.Empty(t, list, "one's own request is not for oneself to decide")
}

func TestTwoApprovalsAreThoseOfTwoPeople(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(2, "carol@example.com", "dave@example.com")
	r := w.pending(t, "alice@example.com")
	carol := person("carol@example.com")
	for range 2 { // the second time changes nothing
		got, err := w.Approve(t.Context(), carol, r.ID, "", "")
		require.NoError(t, err)
		require.Equal(t, breakglass.RequestPending, got.Status)
		require.Len(t, got.Approvals, 1)
	}
	_, err := w.CredentialsFor(t.Context(), person("alice@example.com"), "prod", "")
	_ = requireCode(t, breakglass.CodeAccessDenied, err)
	got, err := w.Approve(t.Context(), person("dave@example.com"), r.ID, "", "")
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestApproved, got.Status)
	got, err = w.Approve(t.Context(), carol, r.ID, "", "") // a repeated call, after its answer was lost
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestApproved, got.Status)
	assert.Equal(t, []string{"request.created", "request.endorsed", "credentials.denied access_denied", "request.approved"}, w.types(t))
}

func TestApproversAtOnceCountOnceEach(t *testing.T) {
	w := newWorld(t)
	w.from(t0)
	w.approvals = leads(2, "carol@example.com", "dave@example.com")
	for i := range 20 {
		alice := fmt.Sprintf("alice-%d@example.com", i)
		r := w.pending(t, alice)
		var wg sync.WaitGroup
		for range 3 {
			for _, who := range []string{"carol@example.com", "dave@example.com"} {
				wg.Go(func() {
					_, err := w.Approve(t.Context(), person(who), r.ID, "", "")
					assert.NoError(t, err)
				})
			}
		}
		wg.Wait()
		got, err := w.AccessRequest(t.Context(), person(alice), r.ID)
		require.NoError(t, err)
		require.Equal(t, breakglass.RequestApproved, got.Status)
		require.Len(t, got.Approvals, 2)
		require.NotEqual(t, got.Approvals[0].By, got.Approvals[1].By)
	}
}

// Of a decision, a denial and a cancellation at once, one comes first, and what
// comes after it sees it.
func TestDecisionsRaceToOneEnd(t *testing.T) {
	w := newWorld(t)
	w.from(t0)
	w.approvals = leads(1, "carol@example.com", "dave@example.com")
	for i := range 20 {
		alice := person(fmt.Sprintf("alice-%d@example.com", i))
		r := w.pending(t, alice.Name)
		var denied, cancelled error
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = w.Approve(t.Context(), person("carol@example.com"), r.ID, "", "") })
		wg.Go(func() { _, denied = w.Deny(t.Context(), person("dave@example.com"), r.ID, "not tonight", "") })
		wg.Go(func() { _, cancelled = w.Cancel(t.Context(), alice, r.ID, "", "") })
		wg.Wait()
		require.NotEqual(t, denied == nil, cancelled == nil, "one of the two ended it")
		got, err := w.AccessRequest(t.Context(), alice, r.ID)
		require.NoError(t, err)
		want := breakglass.RequestCancelled
		if denied == nil {
			want = breakglass.RequestDenied
		}
		require.Equal(t, want, got.Status)
		_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
		_ = requireCode(t, breakglass.CodeAccessDenied, err)
	}
}

func TestAWithdrawnApprovalRenewsNothing(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	alice, carol := person("alice@example.com"), person("carol@example.com")
	approved := func() breakglass.RequestView {
		r, err := w.Approve(t.Context(), carol, w.pending(t, alice.Name).ID, "", "")
		require.NoError(t, err)
		_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
		require.NoError(t, err)
		return r
	}
	r := approved()
	got, err := w.Deny(t.Context(), carol, r.ID, "on second thought", "")
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestDenied, got.Status)
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	e := requireCode(t, breakglass.CodeAccessDenied, err)
	assert.Equal(t, breakglass.OutcomeWithdrawn, e.Links[1].Outcome)
	assert.Contains(t, e.Links[1].Message, "withdrawn by carol@example.com")

	approved()
	w.approvals = func(string) (breakglass.ApprovalRule, bool) { return breakglass.ApprovalRule{}, false }
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	assert.Equal(t, breakglass.OutcomeWithdrawn, requireCode(t, breakglass.CodeAccessDenied, err).Links[1].Outcome, "its rule is gone")
}

func TestPromise03CredentialsAreWithheldWhenTheApprovalIsWithdrawnMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	alice, carol := person("alice@example.com"), person("carol@example.com")
	r, err := w.Approve(t.Context(), carol, w.pending(t, alice.Name).ID, "", "")
	require.NoError(t, err)
	w.issue = func(breakglass.Grant) error { // STS is slow, and somebody withdraws the approval
		_, err := w.Deny(t.Context(), carol, r.ID, "on second thought", "")
		return err
	}
	out, err := w.CredentialsFor(t.Context(), alice, "prod", "")
	_ = requireCode(t, breakglass.CodeInvalidTransition, err)
	assert.Zero(t, out.Credentials)
	trail := w.trail(t)
	last := trail[len(trail)-1]
	assert.Equal(t, breakglass.EntryCredentialsDenied, last.Event)
	assert.Equal(t, "ASIATEST", last.Detail[breakglass.DetailAccessKeyID], "the call of AssumeRole is explained")
	now, err := w.AccessRequest(t.Context(), alice, r.ID)
	require.NoError(t, err)
	assert.Zero(t, now.Sessions)
}

func TestStandingAccessEndsWithItsRule(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	until := t0.Add(10 * time.Minute)
	w.access = func(_ breakglass.Subject, _ string, at time.Time) breakglass.StandingDecision {
		if !at.Before(until) {
			return breakglass.StandingDecision{Message: "It is closed."}
		}
		return breakglass.StandingDecision{Permit: true, Rule: "day", Until: until, MaxSession: time.Hour}
	}
	out, err := w.CredentialsFor(t.Context(), alice, "prod", "call-9")
	require.NoError(t, err)
	assert.Equal(t, breakglass.LinkPolicy, out.Grant.Link)
	assert.Equal(t, until, out.Expiration)
	w.issue = func(breakglass.Grant) error { // the rule is changed while STS answers
		until = t0.Add(time.Minute)
		return nil
	}
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	_ = requireCode(t, breakglass.CodePolicyDenied, err)
	until = t0
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	_ = requireCode(t, breakglass.CodeAccessDenied, err)
	trail := w.trail(t)
	assert.Equal(t, []string{"credentials.issued", "credentials.denied policy_denied", "credentials.denied access_denied"}, w.types(t))
	d := trail[0].Detail
	assert.Equal(t, "day", d[breakglass.DetailAccessRule])
	assert.Equal(t, "alice@example.com."+d[breakglass.DetailDecisionID], d[breakglass.DetailRoleSessionName])
	assert.Equal(t, "call-9", trail[0].RequestID)
	assert.NotContains(t, d, breakglass.DetailPolicyRule)

	story, err := w.Why(t.Context(), alice, d[breakglass.DetailRoleSessionName])
	require.NoError(t, err)
	assert.Equal(t, breakglass.StorySession, story.Kind)
	assert.Equal(t, []breakglass.LogEntry{trail[0]}, story.Entries)
	_, err = w.Why(t.Context(), person("bob@example.com"), d[breakglass.DetailRoleSessionName])
	_ = requireCode(t, breakglass.CodeEventNotFound, err)
	_, err = w.Why(t.Context(), person("sam@example.com", breakglass.RoleAuditor), d[breakglass.DetailDecisionID])
	require.NoError(t, err)
}

func TestADenyRuleDoesNotStopBreakGlass(t *testing.T) {
	w := newWorld(t)
	w.access = func(breakglass.Subject, string, time.Time) breakglass.StandingDecision {
		return breakglass.StandingDecision{Rule: "no-contractors", Message: "Denied."}
	}
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	out, err := w.CredentialsFor(t.Context(), alice, "prod", "")
	require.NoError(t, err)
	assert.Equal(t, ev.ID, out.Grant.EventID())
}

func TestRenewalsAreCountedExactly(t *testing.T) {
	w := newWorld(t)
	w.from(t0)
	two := 2
	w.terms = func(breakglass.Subject, string) (breakglass.Terms, bool) {
		return breakglass.Terms{Rule: "open", MaxDuration: time.Hour, MaxRenewals: &two, MaxSession: 10 * time.Minute}, true
	}
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			if i%2 == 0 {
				_, errs[i] = w.CredentialsFor(t.Context(), alice, "prod", "")
			} else {
				_, errs[i] = w.Credentials(t.Context(), alice, ev.ID, "")
			}
		})
	}
	wg.Wait()
	issued := 0
	for _, err := range errs {
		var refused *breakglass.Error
		if err == nil {
			issued++
		} else if assert.ErrorAs(t, err, &refused) {
			assert.Contains(t, []breakglass.Code{breakglass.CodePolicyDenied, breakglass.CodeAccessDenied}, refused.Code)
		}
	}
	assert.Equal(t, 3, issued, "the first and two renewals")
	now, err := w.Check(t.Context(), alice, ev.ID)
	require.NoError(t, err)
	assert.Equal(t, 3, now.Sessions)
}

func TestOneRequestWaitsPerPersonAndProfile(t *testing.T) {
	w := newWorld(t)
	w.from(t0)
	w.approvals = leads(1, "carol@example.com")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.Request(t.Context(), person("alice@example.com"), access()) })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
			continue
		}
		assert.NotEmpty(t, requireCode(t, breakglass.CodeAlreadyRequested, err).AccessRequestID)
	}
	assert.Equal(t, 1, made)
}

func TestANewApprovalTakesThePlaceOfTheFormer(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	alice, carol := person("alice@example.com"), person("carol@example.com")
	first, err := w.Approve(t.Context(), carol, w.pending(t, alice.Name).ID, "", "")
	require.NoError(t, err)
	w.at(t0.Add(50 * time.Minute))
	second, err := w.Approve(t.Context(), carol, w.pending(t, alice.Name).ID, "", "")
	require.NoError(t, err)
	old, err := w.AccessRequest(t.Context(), alice, first.ID)
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestCancelled, old.Status)
	assert.Contains(t, old.EndedReason, second.ID)
	out, err := w.CredentialsFor(t.Context(), alice, "prod", "")
	require.NoError(t, err)
	assert.Equal(t, second.ID, out.Grant.ID)
	assert.Equal(t, t0.Add(110*time.Minute), out.Expiration)
}

func TestARequestMayNeedNobody(t *testing.T) {
	w := newWorld(t)
	w.approvals = func(profile string) (breakglass.ApprovalRule, bool) {
		rule, ok := leads(1, "carol@example.com")(profile)
		rule.Auto = []breakglass.AutoApproval{{People: breakglass.People{Groups: []string{"g-alice@example.com"}}, MaxDuration: time.Hour,
			Profiles: every{}, Window: until(t0.Add(time.Minute))}}
		return rule, ok
	}
	alice := person("alice@example.com")
	in := access()
	in.Duration = time.Hour + time.Second
	r, err := w.Request(t.Context(), alice, in)
	require.NoError(t, err)
	require.Equal(t, breakglass.RequestPending, r.Status, "too long")
	_, err = w.Cancel(t.Context(), alice, r.ID, "", "")
	require.NoError(t, err)
	require.Equal(t, breakglass.RequestPending, w.pending(t, "bob@example.com").Status, "not one of them")

	in.Duration = time.Hour
	r, err = w.Request(t.Context(), alice, in)
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestApproved, r.Status)
	assert.True(t, r.AutoApproved)
	trail := w.trail(t)
	last := trail[len(trail)-1]
	assert.Equal(t, breakglass.SystemActor, last.Actor)
	assert.Equal(t, "true", last.Detail[breakglass.DetailAutoApproved])
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	require.NoError(t, err)

	w.at(t0.Add(time.Minute))
	r, err = w.Request(t.Context(), alice, in)
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestPending, r.Status, "outside its window")
}

type every struct{}

func (every) Match(string) bool { return true }

type until time.Time

func (u until) Contains(at time.Time) bool { return at.Before(time.Time(u)) }

func TestRequestsAreSeenByThoseWhomTheyConcern(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	r := w.pending(t, "alice@example.com")
	for name, c := range map[string]struct {
		who  breakglass.Principal
		code breakglass.Code
	}{
		"the requester": {person("alice@example.com"), ""},
		"an approver":   {person("carol@example.com"), ""},
		"a reviewer":    {person("sam@example.com", breakglass.RoleReviewer), ""},
		"an auditor":    {person("sam@example.com", breakglass.RoleAuditor), ""},
		"somebody":      {person("bob@example.com"), breakglass.CodeRequestNotFound},
		"a delegate":    {person("bot", breakglass.RoleDelegate), breakglass.CodeRequestNotFound},
	} {
		_, err := w.AccessRequest(t.Context(), c.who, r.ID)
		_, whyErr := w.Why(t.Context(), c.who, r.ID)
		if c.code == "" {
			require.NoError(t, err, name)
			require.NoError(t, whyErr, name)
			continue
		}
		seen := requireCode(t, c.code, err)
		_, err = w.AccessRequest(t.Context(), c.who, "0123456789abcdef")
		require.Equal(t, requireCode(t, c.code, err).Message, seen.Message, "the same words as for one that never was")
		_ = requireCode(t, breakglass.CodeEventNotFound, whyErr)
	}
	mine, _, err := w.AccessRequests(t.Context(), person("bob@example.com"), breakglass.RequestQuery{Limit: 10}, false)
	require.NoError(t, err)
	assert.Empty(t, mine)
	_, _, err = w.AccessRequests(t.Context(), person("bob@example.com"), breakglass.RequestQuery{Limit: 10, Requester: "alice@example.com"}, false)
	_ = requireCode(t, breakglass.CodeForbidden, err)
	require.Eventually(t, func() bool { // an index may lag behind
		list, more, err := w.AccessRequests(t.Context(), person("carol@example.com"), breakglass.RequestQuery{Limit: 10}, true)
		return err == nil && !more && len(list) == 1 && list[0].ID == r.ID
	}, 10*time.Second, 10*time.Millisecond)
}

func TestRequestsThatTheRulesDoNotTake(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	for name, c := range map[string]struct {
		change func(*breakglass.NewRequest)
		rule   func(*breakglass.ApprovalRule)
		code   breakglass.Code
	}{
		"an unknown profile":  {change: func(r *breakglass.NewRequest) { r.Profile = "nope" }, code: breakglass.CodeProfileUnknown},
		"nobody to ask":       {change: func(r *breakglass.NewRequest) { r.Profile = "staging" }, code: breakglass.CodeRequestDenied},
		"too long for a rule": {change: func(r *breakglass.NewRequest) { r.Duration = 5 * time.Hour }, code: breakglass.CodeRequestDenied},
		"too long at all":     {change: func(r *breakglass.NewRequest) { r.Duration = 9 * time.Hour }, code: breakglass.CodeInvalidRequest},
		"no reason":           {change: func(r *breakglass.NewRequest) { r.Justification = "because" }, code: breakglass.CodeInvalidRequest},
		"no ticket": {change: func(r *breakglass.NewRequest) { r.Ticket = "" },
			rule: func(r *breakglass.ApprovalRule) { r.RequireTicket = true }, code: breakglass.CodeRequestDenied},
		"somebody else's rule": {rule: func(r *breakglass.ApprovalRule) { r.Requesters = breakglass.People{Groups: []string{"dba"}} }, code: breakglass.CodeRequestDenied},
	} {
		w.approvals = func(profile string) (breakglass.ApprovalRule, bool) {
			rule, ok := leads(1, "carol@example.com")(profile)
			if c.rule != nil {
				c.rule(&rule)
			}
			return rule, ok
		}
		in := access()
		if c.change != nil {
			c.change(&in)
		}
		_, err := w.Request(t.Context(), person("alice, "+name), in) // identical refusals of one person are counted
		_ = requireCode(t, c.code, err)
		trail := w.trail(t)
		last := trail[len(trail)-1]
		assert.Equal(t, breakglass.EntryDenied, last.Event, name)
		assert.Equal(t, "request", last.Detail[breakglass.DetailCall], name)
		assert.Equal(t, string(c.code), last.Reason, name)
	}
}

func TestRequestsExpireOnRecordOnce(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	waiting := w.pending(t, "alice@example.com")
	approved, err := w.Approve(t.Context(), person("carol@example.com"), w.pending(t, "bob@example.com").ID, "", "")
	require.NoError(t, err)
	w.from(approved.ExpiresAt.Add(-200 * time.Millisecond))
	stop := w.run(t)
	require.Eventually(t, func() bool { return w.count(t, breakglass.EntryRequestExpired) == 1 }, 10*time.Second, 10*time.Millisecond)
	stop()
	w.from(waiting.ExpiresAt.Add(-200 * time.Millisecond))
	stop = w.run(t)
	require.Eventually(t, func() bool { return w.count(t, breakglass.EntryRequestExpired) == 2 }, 10*time.Second, 10*time.Millisecond)
	stop()
	for _, r := range []breakglass.RequestView{waiting, approved} {
		stored, err := w.store.AccessRequest(t.Context(), r.ID)
		require.NoError(t, err)
		assert.Equal(t, breakglass.RequestExpired, stored.Status)
		story, err := w.Why(t.Context(), person("sam@example.com", breakglass.RoleReviewer), r.ID)
		require.NoError(t, err)
		assert.Equal(t, breakglass.EntryRequestExpired, story.Entries[len(story.Entries)-1].Event)
	}
}

func TestUnreadableApprovalRulesStopRequestsAlone(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	r := w.pending(t, "alice@example.com")
	service := breakglass.New(breakglass.Config{
		Store: w.store, Journal: w.store, Issuer: w, Directory: w, Profiles: []breakglass.Profile{{Name: "prod"}},
		Policy:    func() (breakglass.Policy, error) { return w, nil },
		Limits:    func() (breakglass.RateLimiter, error) { return w, nil },
		Access:    func() (breakglass.StandingPolicy, error) { return nil, errors.New("line 3") },
		Approvals: func() (breakglass.ApprovalPolicy, error) { return nil, errors.New("line 3") },
		Sinks:     func(breakglass.EntryType, string) []string { return nil },
		Now:       func() time.Time { return t0.Add(time.Minute) },
	})
	_, err := service.Request(t.Context(), person("bob@example.com"), access())
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	_, err = service.Approve(t.Context(), person("carol@example.com"), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeRequestNotFound, err)
	_, err = service.CredentialsFor(t.Context(), person("alice@example.com"), "prod", "")
	e := requireCode(t, breakglass.CodeUnavailable, err)
	assert.Len(t, e.Links, 3)
	_, err = service.Invoke(t.Context(), person("alice@example.com"), request("prod"))
	require.NoError(t, err)
	_, err = service.CredentialsFor(t.Context(), person("alice@example.com"), "prod", "")
	require.NoError(t, err, "break-glass works without the others")
}
