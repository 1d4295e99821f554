package breakglass_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestAnApprovalIsHeldToTheRuleOfItsDay(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	in := access()
	in.Duration = 2 * time.Hour
	r, err := w.Request(t.Context(), person("alice@example.com"), in)
	require.NoError(t, err)
	w.approvals = func(profile string) (breakglass.ApprovalRule, bool) { // shorter since then, and with another approver
		rule, ok := leads(1, "dave@example.com")(profile)
		rule.MaxDuration = time.Hour
		return rule, ok
	}
	_, err = w.Approve(t.Context(), person("carol@example.com"), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeRequestNotFound, err)
	_, err = w.Approve(t.Context(), person("dave@example.com"), r.ID, "", "")
	_ = requireCode(t, breakglass.CodeRequestDenied, err)
}

func TestAskingInALoopIsBounded(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	alice := person("alice@example.com")
	for range 10 {
		_, err := w.Cancel(t.Context(), alice, w.pending(t, alice.Name).ID, "", "")
		require.NoError(t, err)
	}
	_, err := w.Request(t.Context(), alice, access())
	assert.Positive(t, requireCode(t, breakglass.CodeRateLimited, err).RetryAfter)
	_, err = w.Request(t.Context(), person("bob@example.com"), access())
	require.NoError(t, err, "others may ask")
	w.at(t0.Add(time.Minute))
	_, err = w.Request(t.Context(), alice, access())
	require.NoError(t, err)
}

func TestAClockBehindTheTrailApprovesNothingAndTakesAwayAllTheSame(t *testing.T) {
	w := newWorld(t)
	w.approvals = leads(1, "carol@example.com")
	alice, carol := person("alice@example.com"), person("carol@example.com")
	r := w.pending(t, alice.Name)
	w.at(t0.Add(-time.Minute))
	_, err := w.Approve(t.Context(), carol, r.ID, "", "")
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	denied, err := w.Deny(t.Context(), carol, r.ID, "the clock is wrong", "")
	require.NoError(t, err)
	assert.Equal(t, breakglass.RequestDenied, denied.Status)
}

func TestAClockThatFallsBehindWhileCredentialsAreMadeWithholdsThemOnRecord(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	w.issue = func(breakglass.Grant) error { w.at(t0.Add(-time.Minute)); return nil } // or another server's trail goes ahead
	_, err = w.CredentialsFor(t.Context(), alice, "prod", "")
	e := requireCode(t, breakglass.CodeUnavailable, err)
	require.ErrorIs(t, e, breakglass.ErrClockBehind)
	trail := w.trail(t)
	require.Len(t, trail, 2, "exactly one entry explains what AWS has made")
	assert.Equal(t, breakglass.EntryCredentialsDenied, trail[1].Event)
	assert.Equal(t, "ASIATEST", trail[1].Detail[breakglass.DetailAccessKeyID])
	assert.Equal(t, ev.ID, trail[1].EventID)
}

func TestStoriesInALoopAreBounded(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	for range 20 {
		_, err := w.Why(t.Context(), alice, ev.ID)
		require.NoError(t, err)
	}
	_, err = w.Why(t.Context(), alice, ev.ID)
	assert.Positive(t, requireCode(t, breakglass.CodeRateLimited, err).RetryAfter)
	_, err = w.Why(t.Context(), person("sam@example.com", breakglass.RoleReviewer), ev.ID)
	require.NoError(t, err)
}
