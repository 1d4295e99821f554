package policy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/policy"
)

var _ breakglass.Policy = (*policy.Policy)(nil)

const rulesFile = `version: "1"
rules:
  - name: named
    profiles: [prod]
    users: [alice@example.com]
    allowed_reason_codes: [incident, recovery]
    time:
      days: [saturday, sunday]
      hours: {start: "22:00", end: "06:00"}
      timezone: America/New_York
    max_duration: 2h
    require_ticket: true
  - name: groups
    profiles: ["prod*", "team/*"]
    groups: [oncall, dba]
    max_duration: 30m
  - name: everybody
    profiles: [sandbox]
    users: ["*"]
  - name: odd-names
    profiles: ['we\[ird\]', "eu-[ab]-?"]
    users: ["ALICE@example.com"]
  - name: all-profiles
    users: [root]
`

// night is inside the window of the rule named: Saturday 23:00 in New York.
var night = time.Date(2026, 3, 8, 4, 0, 0, 0, time.UTC)

func parse(t *testing.T, data string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("policy.yaml", []byte(data))
	require.NoError(t, err)
	return p
}

func TestFirstRuleThatMatchesProfileAndPersonDecides(t *testing.T) {
	p := parse(t, rulesFile)
	cases := []struct {
		name    string
		subject breakglass.Subject
		profile string
		rule    string // empty: none
	}{
		{"by name", breakglass.Subject{Name: "alice@example.com"}, "prod", "named"},
		{"by name before group", breakglass.Subject{Name: "alice@example.com", Groups: []string{"oncall"}}, "prod", "named"},
		{"by group", breakglass.Subject{Name: "bob", Groups: []string{"x", "dba"}}, "prod", "groups"},
		{"by group and pattern", breakglass.Subject{Name: "bob", Groups: []string{"oncall"}}, "prod-db", "groups"},
		{"a pattern reaches over a slash", breakglass.Subject{Name: "bob", Groups: []string{"oncall"}}, "team/a/b", "groups"},
		{"everybody", breakglass.Subject{Name: "bob"}, "sandbox", "everybody"},
		{"nobody is not everybody", breakglass.Subject{}, "sandbox", ""},
		{"a user's name is no group", breakglass.Subject{Name: "oncall"}, "prod", ""},
		{"a group's name is no user", breakglass.Subject{Name: "bob", Groups: []string{"root"}}, "prod", ""},
		{"a group called * is not everybody", breakglass.Subject{Name: "bob", Groups: []string{"*"}}, "prod", ""},
		{"a name that is not canonical is nobody's", breakglass.Subject{Name: "Alice@example.com"}, "prod", ""},
		{"letter case of profiles counts", breakglass.Subject{Name: "alice@example.com"}, "Prod", ""},
		{"white space counts", breakglass.Subject{Name: "alice@example.com "}, "prod", ""},
		{"a profile is matched whole", breakglass.Subject{Name: "bob", Groups: []string{"oncall"}}, "preprod", ""},
		{"escaped brackets", breakglass.Subject{Name: "alice@example.com"}, "we[ird]", "odd-names"},
		{"class and single character", breakglass.Subject{Name: "alice@example.com"}, "eu-b-1", "odd-names"},
		{"not in the class", breakglass.Subject{Name: "alice@example.com"}, "eu-c-1", ""},
		{"one character is not two", breakglass.Subject{Name: "alice@example.com"}, "eu-b-11", ""},
		{"no profiles are every profile", breakglass.Subject{Name: "root"}, "what/ever", "all-profiles"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := p.FindPolicyRule(c.subject, c.profile)
			if c.rule == "" {
				require.Nil(t, r)
				return
			}
			require.NotNil(t, r)
			assert.Equal(t, c.rule, r.Name)
		})
	}
}

func TestDecideHoldsEveryConditionOfTheRule(t *testing.T) {
	p := parse(t, rulesFile)
	good := breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "alice@example.com"}, Profile: "prod",
		ReasonCode: breakglass.ReasonIncident, Duration: 2 * time.Hour, HasTicket: true, At: night}
	cases := []struct {
		name      string
		change    func(*breakglass.PolicyRequest)
		condition string // empty: permitted
		words     string
	}{
		{"all as asked", func(*breakglass.PolicyRequest) {}, "", ""},
		{"default duration", func(r *breakglass.PolicyRequest) { r.Duration = 0 }, "", ""},
		{"shortest duration", func(r *breakglass.PolicyRequest) { r.Duration = time.Second }, "", ""},
		{"other reason", func(r *breakglass.PolicyRequest) { r.ReasonCode = breakglass.ReasonOther },
			breakglass.ConditionReasonCode, `Reason code "other" is not allowed: use incident or recovery.`},
		{"unknown reason", func(r *breakglass.PolicyRequest) { r.ReasonCode = "boredom" }, breakglass.ConditionReasonCode, `"boredom"`},
		{"no reason", func(r *breakglass.PolicyRequest) { r.ReasonCode = "" }, breakglass.ConditionReasonCode, `""`},
		{"at the window's end", func(r *breakglass.PolicyRequest) { r.At = time.Date(2026, 3, 8, 10, 0, 0, 0, time.UTC) },
			breakglass.ConditionTime, "It is open only on Saturday and Sunday from 22:00 to 06:00 of the next day (America/New_York); " +
				"there it is Sunday 2026-03-08 06:00 EDT now. It opens next in 16h, on Sunday 2026-03-08 22:00 EDT."},
		{"a second too long", func(r *breakglass.PolicyRequest) { r.Duration += time.Second },
			breakglass.ConditionMaxDuration, "A duration of 2h0m1s is too long: ask for 2h or less."},
		{"negative duration", func(r *breakglass.PolicyRequest) { r.Duration = -time.Second }, breakglass.ConditionMaxDuration, "-1s"},
		{"no ticket", func(r *breakglass.PolicyRequest) { r.HasTicket = false },
			breakglass.ConditionTicket, "A ticket is required: add --ticket (`ticket` in the API)."},
		{"no rule", func(r *breakglass.PolicyRequest) { r.Subject.Name = "eve\x1b[2J" },
			breakglass.ConditionNoRule, `No policy rule lets "eve\x1b[2J" invoke profile "prod"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := good
			c.change(&r)
			d := p.Decide(r)
			assert.Equal(t, c.condition == "", d.Permit)
			assert.Equal(t, c.condition, d.Condition)
			if c.condition == "" {
				assert.Equal(t, breakglass.PolicyDecision{Permit: true, Rule: "named", MaxDuration: 2 * time.Hour}, d)
				return
			}
			assert.Contains(t, d.Message, c.words)
			if c.condition == breakglass.ConditionNoRule {
				assert.Empty(t, d.Rule)
				assert.Nil(t, d.Allowed, "only the service knows the profiles")
				return
			}
			assert.Equal(t, "named", d.Rule)
			assert.Contains(t, d.Message, `Policy rule "named"`)
			require.NotNil(t, d.Allowed)
			assert.Equal(t, []breakglass.ReasonCode{breakglass.ReasonIncident, breakglass.ReasonRecovery}, d.Allowed.ReasonCodes)
			assert.Equal(t, int64(7200), d.Allowed.MaxDurationSeconds)
			assert.True(t, d.Allowed.TicketRequired)
			assert.Equal(t, "on Saturday and Sunday from 22:00 to 06:00 of the next day (America/New_York)", d.Allowed.Window)
			if c.condition == breakglass.ConditionTime {
				assert.Equal(t, time.Date(2026, 3, 9, 2, 0, 0, 0, time.UTC), d.Allowed.NextWindow)
			} else {
				assert.Zero(t, d.Allowed.NextWindow, "it is open now")
			}
		})
	}
}

func TestRefusalNamesEveryFailedConditionAtOnce(t *testing.T) {
	d := parse(t, rulesFile).Decide(breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "alice@example.com"}, Profile: "prod",
		ReasonCode: breakglass.ReasonOther, Duration: 4 * time.Hour, At: night.Add(12 * time.Hour)})
	assert.Equal(t, breakglass.ConditionReasonCode, d.Condition, "the first in the order of the checks")
	for _, words := range []string{"Reason code", "It is open only", "too long", "A ticket is required"} {
		assert.Contains(t, d.Message, words)
	}
	assert.NotZero(t, d.Allowed.NextWindow)
}

func TestARefusingRuleIsNotFollowedByAnother(t *testing.T) {
	p := parse(t, `version: "1"
rules:
  - {name: strict, users: [alice], allowed_reason_codes: [security], max_duration: 1h}
  - {name: open, users: ["*"]}
`)
	d := p.Decide(breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "alice"}, Profile: "prod", ReasonCode: breakglass.ReasonIncident, At: night})
	assert.False(t, d.Permit)
	assert.Equal(t, "strict", d.Rule)
	d = p.Decide(breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "bob"}, Profile: "prod", ReasonCode: breakglass.ReasonIncident, At: night})
	assert.True(t, d.Permit)
	assert.Equal(t, 4*time.Hour, d.MaxDuration, "the absolute maximum when the rule says nothing")
}

func TestOfferIsWhatDecideWouldPermitNow(t *testing.T) {
	p := parse(t, rulesFile)
	alice := breakglass.Subject{Name: "alice@example.com"}
	o, ok := p.Offer(alice, "prod", night)
	require.True(t, ok)
	assert.Equal(t, breakglass.Offer{Rule: "named", MaxDuration: 2 * time.Hour, TicketRequired: true,
		ReasonCodes: []breakglass.ReasonCode{breakglass.ReasonIncident, breakglass.ReasonRecovery}}, o)

	o.ReasonCodes[0] = "changed"
	again, _ := p.Offer(alice, "prod", night)
	assert.Equal(t, breakglass.ReasonIncident, again.ReasonCodes[0], "the policy is not the caller's to change")

	_, ok = p.Offer(alice, "prod", night.Add(12*time.Hour))
	assert.False(t, ok, "the window is shut")
	_, ok = p.Offer(alice, "staging", night)
	assert.False(t, ok, "no rule")
	o, ok = p.Offer(breakglass.Subject{Name: "anybody"}, "sandbox", night)
	require.True(t, ok)
	assert.Equal(t, breakglass.ReasonCodes(), o.ReasonCodes, "no codes written are all codes")
}

func TestSHA256IsThatOfTheFile(t *testing.T) {
	sum := sha256.Sum256([]byte(rulesFile))
	assert.Equal(t, hex.EncodeToString(sum[:]), parse(t, rulesFile).SHA256())
}

func TestZeroPolicyAllowsNothing(t *testing.T) {
	d := new(policy.Policy).Decide(breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "root"}, Profile: "prod"})
	assert.False(t, d.Permit)
	assert.Equal(t, breakglass.ConditionNoRule, d.Condition)
}

func TestExamplePolicyIsAccepted(t *testing.T) {
	data, err := os.ReadFile("../../examples/policy.yaml")
	require.NoError(t, err)
	p := parse(t, string(data))
	d := p.Decide(breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "bob", Groups: []string{"oncall"}}, Profile: "prod",
		ReasonCode: breakglass.ReasonIncident, Duration: time.Hour, At: night})
	assert.True(t, d.Permit, d.Message)
}

func TestMFAIsAskedForByTheRuleThatDecides(t *testing.T) {
	p, err := policy.Parse("policy.yaml", []byte(`version: "1"
rules:
  - {name: strict, profiles: [prod], users: [alice], mfa: {required: true, max_age: 15m}}
  - {name: off, profiles: [staging], users: [alice], mfa: {required: false}}
  - {name: none, users: [alice]}
`))
	require.NoError(t, err)
	assert.True(t, p.WantsMFA())
	for profile, want := range map[string]breakglass.MFARequirement{"prod": {Required: true, MaxAge: 15 * time.Minute}, "staging": {}, "other": {}} {
		alice := breakglass.Subject{Name: "alice"}
		d := p.Decide(breakglass.PolicyRequest{Subject: alice, Profile: profile, ReasonCode: breakglass.ReasonIncident, At: time.Now()})
		assert.True(t, d.Permit)
		assert.Equal(t, want, d.MFA, profile)
		o, ok := p.Offer(alice, profile, time.Now())
		assert.True(t, ok)
		assert.Equal(t, want.Required, o.MFARequired)
	}
	plain, err := policy.Parse("policy.yaml", []byte("version: \"1\"\nrules:\n  - {name: a, users: [a]}\n"))
	require.NoError(t, err)
	assert.False(t, plain.WantsMFA())
}
