package breakglass_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// always lets everybody in by standing policy, for sessions of that length.
func always(rule string, session time.Duration) func(breakglass.Subject, string, time.Time) breakglass.StandingDecision {
	return func(breakglass.Subject, string, time.Time) breakglass.StandingDecision {
		return breakglass.StandingDecision{Permit: true, Rule: rule, MaxSession: session}
	}
}

func (w *world) last(t *testing.T) breakglass.LogEntry {
	t.Helper()
	trail := w.trail(t)
	require.NotEmpty(t, trail)
	return trail[len(trail)-1]
}

func TestWhatAWSMadeIsExplainedAlthoughTheCallerHungUp(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	for _, link := range []breakglass.Link{breakglass.LinkBreakglass, breakglass.LinkPolicy} {
		if link == breakglass.LinkPolicy {
			w.access = always("day", time.Hour)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		w.issue = func(breakglass.Grant) error { hangUp(); return nil }
		_, err = w.CredentialsFor(ctx, alice, "prod", "")
		require.NoError(t, err)
		entry := w.last(t)
		assert.Equal(t, breakglass.EntryCredentialsIssued, entry.Event)
		assert.Equal(t, string(link), entry.Detail[breakglass.DetailGrantedBy])
	}
	now, err := w.Check(t.Context(), alice, ev.ID)
	require.NoError(t, err)
	assert.Equal(t, 1, now.Sessions)
}

// A session may exist although the answer of AWS was lost: what it would be
// named leads to the reason, each time.
func TestAFailureOfAWSSaysWhatItWasAskedFor(t *testing.T) {
	w := newWorld(t)
	w.access = always("day", time.Hour)
	w.issue = func(breakglass.Grant) error {
		return &breakglass.Error{Code: breakglass.CodeCredentialsRefused, Temporary: true, Message: "No answer."}
	}
	seen := map[string]bool{}
	for range 3 {
		_, err := w.CredentialsFor(t.Context(), person("alice@example.com"), "prod", "")
		_ = requireCode(t, breakglass.CodeCredentialsRefused, err)
		d := w.last(t).Detail
		assert.Equal(t, "day", d[breakglass.DetailAccessRule])
		assert.Equal(t, "policy", d[breakglass.DetailGrantedBy])
		require.False(t, seen[d[breakglass.DetailDecisionID]], "no decision hides another")
		seen[d[breakglass.DetailDecisionID]] = true
	}
	story, err := w.Why(t.Context(), person("alice@example.com"), w.last(t).Detail[breakglass.DetailDecisionID])
	require.NoError(t, err)
	assert.Len(t, story.Entries, 1)
}

func TestCredentialsThatARuleNoLongerAllowsAreWithheld(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	w.access = always("day", 12*time.Hour)
	w.issue = func(breakglass.Grant) error { // a shorter session, while AWS answers
		w.access = always("day", time.Minute)
		return nil
	}
	_, err := w.CredentialsFor(t.Context(), alice, "prod", "")
	_ = requireCode(t, breakglass.CodePolicyDenied, err)
	assert.Equal(t, breakglass.EntryCredentialsDenied, w.last(t).Event)

	w.access = always("day", time.Minute)
	w.issue = func(breakglass.Grant) error { w.access = always("night", time.Minute); return nil }
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	require.NoError(t, err)
	assert.Equal(t, "night", w.last(t).Detail[breakglass.DetailAccessRule], "the rule that allows it when it is given")

	w.access = func(breakglass.Subject, string, time.Time) breakglass.StandingDecision {
		return breakglass.StandingDecision{}
	}
	w.issue = func(breakglass.Grant) error { return nil }
	_, err = w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	w.terms = func(breakglass.Subject, string) (breakglass.Terms, bool) {
		return breakglass.Terms{Rule: "other", MaxDuration: time.Hour}, true
	}
	out, err := w.CredentialsFor(t.Context(), alice, "prod", "")
	require.NoError(t, err)
	assert.Equal(t, "other", out.Grant.Rule)
	assert.Equal(t, "other", w.last(t).Detail[breakglass.DetailPolicyRule], "that of the file whose hash stands beside it")
}

func TestAnApproverWhomTheRuleNoLongerNamesDoesNotCount(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(2, "bob@example.com", "carol@example.com", "dave@example.com")
	r := w.pending(t, "alice@example.com")
	_, err := w.Approve(t.Context(), person("bob@example.com"), r.ID, "", "")
	require.NoError(t, err)
	w.approvals = leads(2, "carol@example.com", "dave@example.com")
	got, err := w.Approve(t.Context(), person("carol@example.com"), r.ID, "", "")
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestPending, got.Status)
	got, err = w.Approve(t.Context(), person("dave@example.com"), r.ID, "", "")
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestApproved, got.Status)
	require.Len(t, got.Approvals, 2)
	assert.Equal(t, "carol@example.com", got.Approvals[0].By)
}

func TestWhatIsToBeDecidedIsFoundBehindWhatIsNot(t *testing.T) {
	w := newWorld(t)
	w.approvals = func(profile string) (breakglass.ApprovalRule, bool) {
		approver := map[string]string{"prod": "carol@example.com", "staging": "dave@example.com"}[profile]
		rule, _ := leads(1, approver)("prod")
		return rule, true
	}
	wanted := w.pending(t, "alice@example.com")
	for i := range 250 {
		in := access()
		in.Profile = "staging"
		_, err := w.Request(t.Context(), person(fmt.Sprintf("user-%d", i)), in)
		require.NoError(t, err)
	}
	list := func(who string, limit int) (got []breakglass.RequestView, more bool) {
		got, more, err := w.AccessRequests(t.Context(), person(who), breakglass.RequestQuery{Limit: limit}, true)
		require.NoError(t, err)
		return got, more
	}
	require.Eventually(t, func() bool { // an index may lag behind
		got, more := list("dave@example.com", 240)
		return len(got) == 240 && more
	}, 20*time.Second, 50*time.Millisecond)
	got, more := list("carol@example.com", 10)
	require.Len(t, got, 1)
	assert.Equal(t, wanted.ID, got[0].ID)
	assert.False(t, more)
	got, _ = list("bob@example.com", 10)
	assert.Empty(t, got)
}

func TestAStoryTellsOfAttemptsToThoseWhoMayReadTheTrail(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	r := w.pending(t, "alice@example.com")
	ctx := breakglass.WithOrigin(t.Context(), breakglass.Origin{ClientAddr: "192.0.2.7"})
	_, err := w.Approve(ctx, person("alice@example.com"), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeForbidden, err)
	_, err = w.Approve(ctx, person("mallory@example.com"), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeRequestNotFound, err)
	_, err = w.Approve(ctx, person("carol@example.com"), r.ID, "", "")
	require.NoError(t, err)
	_, err = w.CredentialsFor(ctx, person("alice@example.com"), "prod", "")
	require.NoError(t, err)
	actors := func(who breakglass.Principal) (names []string, secret bool) {
		story, err := w.Why(t.Context(), who, r.ID)
		require.NoError(t, err)
		for _, e := range story.Entries {
			names = append(names, e.Actor)
			secret = secret || e.Detail[breakglass.DetailClientAddr] != "" || e.Detail[breakglass.DetailAccessKeyID] != ""
		}
		return names, secret
	}
	names, shown := actors(person("sam@example.com", breakglass.RoleAuditor))
	assert.Equal(t, []string{"alice@example.com", "alice@example.com", "mallory@example.com", "carol@example.com", "alice@example.com"}, names)
	assert.True(t, shown)
	names, shown = actors(person("alice@example.com"))
	assert.Equal(t, []string{"alice@example.com", "alice@example.com", "carol@example.com", "alice@example.com"}, names)
	assert.True(t, shown)
	_, shown = actors(person("carol@example.com"))
	assert.False(t, shown, "an approver learns neither addresses nor keys")
}

func TestASessionOfAnotherNameIsNobodysStory(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	_, err = w.Why(t.Context(), alice, "alice@example.com."+ev.ID)
	require.NoError(t, err)
	sam := person("sam@example.com", breakglass.RoleReviewer)
	for _, name := range []string{"mallory." + ev.ID, "." + ev.ID, "x.alice@example.com." + ev.ID} {
		_, err = w.Why(t.Context(), sam, name)
		_ = requireCode(t, breakglass.CodeEventNotFound, err)
	}
}
