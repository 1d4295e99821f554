package access_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/access"
	"breakglass/internal/breakglass"
)

var _ breakglass.StandingPolicy = (*access.Policy)(nil)

// In March 2026 the 4th is a Wednesday; Berlin is an hour ahead of UTC up to the
// 29th, then two.
const rulesFile = `version: "1"
rules:
  - name: no-contractors
    effect: deny
    profiles: ["prod*"]
    groups: [contractors]
  - name: freeze
    effect: deny
    profiles: [prod-db]
    users: ["*"]
    time: {days: [friday], hours: {start: "16:00", end: "24:00"}, timezone: Europe/Berlin}
  - name: dba-daytime
    effect: allow
    profiles: [prod-db]
    groups: [dba]
    time: {days: [monday, tuesday, wednesday, thursday, friday], hours: {start: "08:00", end: "18:00"}, timezone: Europe/Berlin}
    max_session: 30m
  - name: weekend
    effect: allow
    profiles: [prod-db]
    groups: [dba]
    time: {days: [saturday, sunday], timezone: Europe/Berlin}
    max_session: 12h
  - name: readers
    effect: allow
    profiles: [staging, "team/*"]
    users: [ALICE@example.com]
    groups: [dba]
  - name: root
    effect: allow
    users: [root]
`

func parse(t *testing.T, data string) *access.Policy {
	t.Helper()
	p, err := access.Parse("access.yaml", []byte(data))
	require.NoError(t, err)
	return p
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	require.NoError(t, err)
	return at
}

var (
	dba        = breakglass.Subject{Name: "dan@example.com", Groups: []string{"dba"}}
	contractor = breakglass.Subject{Name: "carl@example.com", Groups: []string{"dba", "contractors"}}
	alice      = breakglass.Subject{Name: "alice@example.com"}
	root       = breakglass.Subject{Name: "root"}
)

func TestTheFirstRuleWithinItsWindowDecides(t *testing.T) {
	p := parse(t, rulesFile)
	sum := sha256.Sum256([]byte(rulesFile))
	assert.Equal(t, hex.EncodeToString(sum[:]), p.SHA256())
	cases := []struct {
		name    string
		subject breakglass.Subject
		profile string
		at      string
		permit  bool
		rule    string
		until   string // empty: never
		session time.Duration
	}{
		{"by group, in the window", dba, "prod-db", "2026-03-04T12:00:00Z", true, "dba-daytime", "2026-03-04T17:00:00Z", 30 * time.Minute},
		{"at its start", dba, "prod-db", "2026-03-04T07:00:00Z", true, "dba-daytime", "2026-03-04T17:00:00Z", 30 * time.Minute},
		{"just before", dba, "prod-db", "2026-03-04T06:59:59.999999Z", false, "", "", 0},
		{"in its last instant", dba, "prod-db", "2026-03-04T16:59:59.999999Z", true, "dba-daytime", "2026-03-04T17:00:00Z", 30 * time.Minute},
		{"at its end", dba, "prod-db", "2026-03-04T17:00:00Z", false, "", "", 0},
		{"the deny rule above opens before the end", dba, "prod-db", "2026-03-06T12:00:00Z", true, "dba-daytime", "2026-03-06T15:00:00Z", 30 * time.Minute},
		{"when it opens", dba, "prod-db", "2026-03-06T15:00:00Z", false, "freeze", "2026-03-06T23:00:00Z", 0},
		{"up to its last instant", dba, "prod-db", "2026-03-06T22:59:59.999999Z", false, "freeze", "2026-03-06T23:00:00Z", 0},
		{"and then the next rule", dba, "prod-db", "2026-03-06T23:00:00Z", true, "weekend", "2026-03-08T23:00:00Z", 12 * time.Hour},
		{"saturday and sunday are one stretch", dba, "prod-db", "2026-03-07T12:00:00Z", true, "weekend", "2026-03-08T23:00:00Z", 12 * time.Hour},
		{"which is an hour shorter in March", dba, "prod-db", "2026-03-28T12:00:00Z", true, "weekend", "2026-03-29T22:00:00Z", 12 * time.Hour},
		{"and an hour longer in October", dba, "prod-db", "2026-10-24T12:00:00Z", true, "weekend", "2026-10-25T23:00:00Z", 12 * time.Hour},
		{"a deny rule above", contractor, "prod-db", "2026-03-04T12:00:00Z", false, "no-contractors", "", 0},
		{"is about its profiles alone", contractor, "staging", "2026-03-04T12:00:00Z", true, "readers", "", time.Hour},
		{"without a window: for ever, an hour at a time", alice, "staging", "2026-03-04T12:00:00Z", true, "readers", "", time.Hour},
		{"over slashes", alice, "team/a/b", "2026-03-04T12:00:00Z", true, "readers", "", time.Hour},
		{"another profile", alice, "prod", "2026-03-04T12:00:00Z", false, "", "", 0},
		{"no profiles are all of them", root, "anything", "2026-03-04T12:00:00Z", true, "root", "", time.Hour},
		{"but those above go first", root, "prod-db", "2026-03-06T15:00:00Z", false, "freeze", "2026-03-06T23:00:00Z", 0},
		{"and bound it while they are shut", root, "prod-db", "2026-03-04T12:00:00Z", true, "root", "2026-03-06T15:00:00Z", time.Hour},
		{"a group is not a user", breakglass.Subject{Name: "dba"}, "prod-db", "2026-03-04T12:00:00Z", false, "", "", 0},
		{"letter case of groups counts", breakglass.Subject{Name: "x", Groups: []string{"DBA"}}, "prod-db", "2026-03-04T12:00:00Z", false, "", "", 0},
		{"nobody", breakglass.Subject{Groups: []string{"dba"}}, "prod-db", "2026-03-04T12:00:00Z", false, "", "", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := p.Decide(c.subject, c.profile, instant(t, c.at))
			assert.Equal(t, c.permit, d.Permit)
			assert.Equal(t, c.rule, d.Rule)
			assert.Equal(t, c.session, d.MaxSession)
			assert.Equal(t, c.permit, d.Message == "", d.Message)
			want := time.Time{}
			if c.until != "" {
				want = instant(t, c.until).UTC()
			}
			assert.Equal(t, want, d.Until)
		})
	}
	assert.False(t, (&access.Policy{}).Decide(root, "prod", time.Now()).Permit, "the zero policy")
}

func TestRefusalsSayWhichRuleAndWhenAnotherOneOpens(t *testing.T) {
	p := parse(t, rulesFile)
	for _, c := range []struct {
		name    string
		subject breakglass.Subject
		profile string
		at      string
		want    string
	}{
		{"a deny rule for ever", contractor, "prod-db", "2026-03-04T12:00:00Z",
			`Access rule "no-contractors" keeps standing access to profile "prod-db" from you.`},
		{"a deny rule with a window", dba, "prod-db", "2026-03-06T15:30:00Z",
			`Access rule "freeze" keeps standing access to profile "prod-db" from you. It applies on Friday from 16:00 to 24:00 (Europe/Berlin), now until Saturday 2026-03-07 00:00 CET.`},
		{"nothing at all", alice, "prod-db", "2026-03-04T12:00:00Z", `No access rule gives you standing access to profile "prod-db" now.`},
		{"an allow rule that opens", dba, "prod-db", "2026-03-04T17:00:00Z",
			`No access rule gives you standing access to profile "prod-db" now. There is rule "dba-daytime". It is open only on Monday, Tuesday, Wednesday, Thursday and Friday from 08:00 to 18:00 (Europe/Berlin); there it is Wednesday 2026-03-04 18:00 CET now. It opens next in 14h, on Thursday 2026-03-05 08:00 CET.`},
		{"through the change to summer time", dba, "prod-db", "2026-03-29T22:00:00Z",
			`No access rule gives you standing access to profile "prod-db" now. There is rule "dba-daytime". It is open only on Monday, Tuesday, Wednesday, Thursday and Friday from 08:00 to 18:00 (Europe/Berlin); there it is Monday 2026-03-30 00:00 CEST now. It opens next in 8h, on Monday 2026-03-30 08:00 CEST.`},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, p.Decide(c.subject, c.profile, instant(t, c.at)).Message)
		})
	}
}

func TestARefusalPromisesNoOpeningThatADenyRuleTakes(t *testing.T) {
	p := parse(t, `version: "1"
rules:
  - {name: never-at-night, effect: deny, users: [dan], time: {hours: {start: "22:00", end: "06:00"}}}
  - {name: nights, effect: allow, users: [dan], time: {hours: {start: "23:00", end: "05:00"}}}
  - {name: later, effect: allow, users: [dan], time: {hours: {start: "12:00", end: "13:00"}}}
`)
	d := p.Decide(breakglass.Subject{Name: "dan"}, "prod", instant(t, "2026-03-04T14:00:00Z"))
	assert.Contains(t, d.Message, `There is rule "later".`)
	assert.Contains(t, d.Message, "It opens next in 22h")
	assert.NotContains(t, d.Message, "nights")
}

func TestWhoNamesThoseOfTheAllowRules(t *testing.T) {
	p := parse(t, rulesFile)
	assert.Equal(t, breakglass.People{Users: []string{"root"}, Groups: []string{"dba"}}, p.Who("prod-db"))
	assert.Equal(t, breakglass.People{Users: []string{"alice@example.com", "root"}, Groups: []string{"dba"}}, p.Who("team/x"))
	assert.Equal(t, breakglass.People{Users: []string{"root"}}, p.Who("other"))
}
