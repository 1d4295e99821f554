package policy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

const termsFile = `version: "1"
rules:
  - name: narrow
    profiles: [prod]
    users: [alice@example.com]
    groups: [dba]
    allowed_reason_codes: [recovery]
    time: {days: [sunday]}
    max_duration: 2h
    max_session: 1m
    max_renewals: 0
    max_extensions: 10
  - name: wide
    profiles: ["prod*"]
    users: [bob@example.com, ALICE@example.com]
    groups: [oncall, dba]
    max_session: 12h
    max_renewals: 1000
  - name: plain
    profiles: [staging]
    users: ["*"]
`

func number(n int) *int { return &n }

func TestTermsAreThoseOfTheFirstRuleWhateverItsConditionsSay(t *testing.T) {
	p := parse(t, termsFile)
	for _, c := range []struct {
		subject breakglass.Subject
		profile string
		want    *breakglass.Terms
	}{
		{breakglass.Subject{Name: "alice@example.com"}, "prod",
			&breakglass.Terms{Rule: "narrow", MaxDuration: 2 * time.Hour, MaxSession: time.Minute, MaxRenewals: number(0), MaxExtensions: 10}},
		{breakglass.Subject{Name: "zoe", Groups: []string{"oncall", "dba"}}, "prod",
			&breakglass.Terms{Rule: "narrow", MaxDuration: 2 * time.Hour, MaxSession: time.Minute, MaxRenewals: number(0), MaxExtensions: 10}},
		{breakglass.Subject{Name: "alice@example.com"}, "prod-db",
			&breakglass.Terms{Rule: "wide", MaxDuration: 4 * time.Hour, MaxSession: 12 * time.Hour, MaxRenewals: number(1000)}},
		{breakglass.Subject{Name: "zoe"}, "staging", &breakglass.Terms{Rule: "plain", MaxDuration: 4 * time.Hour}},
		{breakglass.Subject{Name: "zoe"}, "prod", nil},
		{breakglass.Subject{}, "staging", nil},
		{breakglass.Subject{Name: "alice@example.com"}, "sandbox", nil},
	} {
		got, ok := p.Terms(c.subject, c.profile)
		require.Equal(t, c.want != nil, ok, "%v on %s", c.subject, c.profile)
		if ok {
			assert.Equal(t, *c.want, got)
		}
	}
}

func TestWhoNamesEverybodyOnceAndInOrder(t *testing.T) {
	p := parse(t, termsFile)
	assert.Equal(t, breakglass.People{Users: []string{"alice@example.com", "bob@example.com"}, Groups: []string{"dba", "oncall"}}, p.Who("prod"))
	assert.Equal(t, breakglass.People{Users: []string{"alice@example.com", "bob@example.com"}, Groups: []string{"dba", "oncall"}}, p.Who("prod-db"))
	assert.Equal(t, breakglass.People{Users: []string{"*"}}, p.Who("staging"))
	assert.Equal(t, breakglass.People{}, p.Who("sandbox"))
	assert.Equal(t, breakglass.People{Users: []string{"alice@example.com", "bob@example.com"}, Groups: []string{"dba", "oncall"}}, p.Who("prod"),
		"asking changes nothing")
}
