package approval_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/approval"
	"breakglass/internal/breakglass"
)

var _ breakglass.ApprovalPolicy = (*approval.Policy)(nil)

const rulesFile = `version: "1"
rules:
  - name: prod
    profiles: [prod, "prod-*"]
    requesters: {groups: [engineers]}
    approvers: {users: [CAROL@example.com], groups: [leads]}
    approvals: 2
    max_duration: 4h
    max_wait: 12h
    require_ticket: true
    max_session: 30m
    max_renewals: 10
    auto_approve:
      - {groups: [oncall], profiles: [prod-db], time: {days: [saturday, sunday], timezone: Europe/Berlin}, max_duration: 1h}
      - {users: [root]}
  - name: plain
    approvers: {users: ["*"]}
`

func parse(t *testing.T, data string) *approval.Policy {
	t.Helper()
	p, err := approval.Parse("approvals.yaml", []byte(data))
	require.NoError(t, err)
	return p
}

func TestTheFirstRuleAboutAProfileDecides(t *testing.T) {
	p := parse(t, rulesFile)
	sum := sha256.Sum256([]byte(rulesFile))
	assert.Equal(t, hex.EncodeToString(sum[:]), p.SHA256())
	for _, profile := range []string{"prod", "prod-db"} {
		r, ok := p.Find(profile)
		require.True(t, ok)
		ten := 10
		assert.Equal(t, breakglass.Terms{Rule: "prod", MaxDuration: 4 * time.Hour, MaxSession: 30 * time.Minute, MaxRenewals: &ten}, r.Terms)
		assert.Equal(t, breakglass.People{Groups: []string{"engineers"}}, r.Requesters)
		assert.Equal(t, breakglass.People{Users: []string{"carol@example.com"}, Groups: []string{"leads"}}, r.Approvers)
		assert.Equal(t, 2, r.Required)
		assert.Equal(t, 12*time.Hour, r.MaxWait)
		assert.True(t, r.RequireTicket)
		assert.Len(t, r.Auto, 2)
	}
	_, ok := (&approval.Policy{}).Find("prod")
	assert.False(t, ok, "the zero policy")
	_, ok = parse(t, "version: \"1\"\nrules:\n  - {name: a, profiles: [prod], approvers: {users: [a]}}\n").Find("prod2")
	assert.False(t, ok)
}

func TestWhatARuleDoesNotSay(t *testing.T) {
	r, ok := parse(t, rulesFile).Find("staging")
	require.True(t, ok)
	assert.Equal(t, breakglass.ApprovalRule{
		Terms:      breakglass.Terms{Rule: "plain", MaxDuration: 8 * time.Hour},
		Requesters: breakglass.People{Users: []string{"*"}}, Approvers: breakglass.People{Users: []string{"*"}},
		Required: 1, MaxWait: 24 * time.Hour,
	}, r)
	assert.True(t, r.Requesters.Include(breakglass.Subject{Name: "anybody"}))
	assert.False(t, r.Requesters.Include(breakglass.Subject{}))
}

func TestAutomaticApprovalNeedsEverythingToFit(t *testing.T) {
	r, ok := parse(t, rulesFile).Find("prod-db")
	require.True(t, ok)
	oncall, saturday := breakglass.Subject{Name: "olga", Groups: []string{"oncall"}}, time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	fits := func(s breakglass.Subject, profile string, d time.Duration, at time.Time) bool {
		for _, a := range r.Auto {
			if a.Approves(s, profile, d, at) {
				return true
			}
		}
		return false
	}
	assert.True(t, fits(oncall, "prod-db", time.Hour, saturday))
	assert.False(t, fits(oncall, "prod-db", time.Hour+time.Second, saturday), "too long")
	assert.False(t, fits(oncall, "prod", time.Hour, saturday), "another profile of the rule")
	assert.False(t, fits(breakglass.Subject{Name: "olga"}, "prod-db", time.Hour, saturday), "somebody else")
	assert.True(t, fits(oncall, "prod-db", time.Hour, time.Date(2026, 3, 6, 23, 0, 0, 0, time.UTC)), "midnight in Berlin")
	assert.False(t, fits(oncall, "prod-db", time.Hour, time.Date(2026, 3, 6, 22, 59, 59, 0, time.UTC)), "too early")
	assert.False(t, fits(oncall, "prod-db", time.Hour, time.Date(2026, 3, 8, 23, 0, 0, 0, time.UTC)), "too late")

	root := breakglass.Subject{Name: "root"}
	for _, profile := range []string{"prod", "prod-db"} {
		assert.True(t, fits(root, profile, 4*time.Hour, saturday), "profiles, time and duration are those of the rule")
	}
	assert.False(t, fits(root, "prod", 4*time.Hour+time.Second, saturday))
}
