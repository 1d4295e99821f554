package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/policy"
	"breakglass/internal/yamlfile"
)

// rule wraps the lines of one rule, each on a line of its own from line 3 on.
func rule(lines ...string) string {
	return "version: \"1\"\nrules:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func TestEveryMistakeIsReportedWithItsLine(t *testing.T) {
	cases := []struct{ name, file, want string }{
		{"nothing", "", "1: is empty"},
		{"not YAML", "version: \"1\"\nrules: [\n", "is not YAML"},
		{"a list", "- a\n", "1: must be a mapping, not a list"},
		{"no version", "rules:\n  - {name: a, users: [a]}\n", `1: version: is required: write version: "1"`},
		{"another version", "version: 2\nrules:\n  - {name: a, users: [a]}\n", `1: version: "2" is unknown to this server, which knows "1"`},
		{"no rules", "version: \"1\"\n", "1: rules: needs at least one rule: a policy without one refuses everybody"},
		{"empty rules", "version: \"1\"\n\nrules: []\n", "3: rules: needs at least one rule"},
		{"rules of nothing", "version: \"1\"\nrules:\n", "2: rules: has no value: remove it, or give it one"},
		{"unknown field", rule("name: a", "user: [a]", "groups: [b]"), `4: rules[0]: unknown field "user"; did you mean "users"?`},
		{"a field twice", rule("name: a", "users: [a]", "users: [b]"), `5: rules[0]: "users" is there twice, first on line 4`},
		{"no name", rule("users: [a]"), "3: rules[0].name: is required"},
		{"a name in white space", rule("users: [a]", "name: ' a'"), "4: rules[0].name: must not begin or end with white space"},
		{"a name with a control character", rule("users: [a]", `name: "a\tb"`), "4: rules[0].name: must not contain control or invisible characters"},
		{"a name twice", rule("name: a", "users: [a]") + "  - name: a\n    users: [b]\n", `5: rules[1].name: "a" is the name of rules[0] on line 3 too`},
		{"nobody", rule("name: a", "profiles: [prod]"), `3: rules[0].users: needs at least one entry here or in groups; for everybody write users: ["*"]`},
		{"an empty user", rule("name: a", `users: [""]`), "4: rules[0].users[0]: must not be empty"},
		{"a user without value", rule("name: a", "users:", "  - bob", "  -"), "6: rules[0].users[1]: has no value"},
		{"a pattern for users", rule("name: a", `users: ["*@example.com"]`), `4: rules[0].users[0]: "*@example.com" would match nobody`},
		{"everybody as a group", rule("name: a", `groups: ["*"]`), `4: rules[0].groups[0]: "*" would match nobody`},
		{"a user twice", rule("name: a", "users: [a, b, a]"), `4: rules[0].users[2]: "a" is there twice`},
		{"a broken pattern", rule("name: a", "users: [a]", `profiles: [prod, "[a"]`), `5: rules[0].profiles[1]: "[a" is not a valid pattern`},
		{"an empty profile", rule("name: a", "users: [a]", `profiles: [""]`), "5: rules[0].profiles[0]: must not be empty"},
		{"unknown reason", rule("name: a", "users: [a]", "allowed_reason_codes: [incident, Security]"),
			`5: rules[0].allowed_reason_codes[1]: "Security" is unknown: use incident, maintenance, security, recovery or other`},
		{"two spellings of a user", rule("name: a", "users: [alice, ALICE]"), `4: rules[0].users[1]: "ALICE" is another spelling of "alice"`},
		{"a look-alike", rule("name: a", "users: [аlice]"), `4: rules[0].users[0]: must not mix letters of several scripts`},
		{"a reason twice", rule("name: a", "users: [a]", "allowed_reason_codes: [incident, incident]"), `5: rules[0].allowed_reason_codes[1]: "incident" is there twice`},
		{"duration of zero", rule("name: a", "users: [a]", "max_duration: 0s"), "5: rules[0].max_duration: must be whole seconds from 1s to 4h, not 0s"},
		{"duration over four hours", rule("name: a", "users: [a]", "max_duration: 4h0m1s"), "5: rules[0].max_duration: must be whole seconds from 1s to 4h, not 4h0m1s"},
		{"negative duration", rule("name: a", "users: [a]", "max_duration: -1h"), "5: rules[0].max_duration: must be whole seconds"},
		{"a session of under a minute", rule("name: a", "users: [a]", "max_session: 59s"), "5: rules[0].max_session: must be whole seconds from 1m to 12h, not 59s"},
		{"a session of over twelve hours", rule("name: a", "users: [a]", "max_session: 12h0m1s"), "5: rules[0].max_session: must be whole seconds from 1m to 12h, not 12h0m1s"},
		{"a session with half a second", rule("name: a", "users: [a]", "max_session: 60.5s"), "5: rules[0].max_session: must be whole seconds"},
		{"renewals below none", rule("name: a", "users: [a]", "max_renewals: -1"), "5: rules[0].max_renewals: must be from 0 to 1000, not -1"},
		{"too many renewals", rule("name: a", "users: [a]", "max_renewals: 1001"), "5: rules[0].max_renewals: must be from 0 to 1000, not 1001"},
		{"renewals in words", rule("name: a", "users: [a]", "max_renewals: any"), `5: rules[0].max_renewals: must be a whole number, not "any"`},
		{"extensions below none", rule("name: a", "users: [a]", "max_extensions: -1"), "5: rules[0].max_extensions: must be from 0 to 10, not -1"},
		{"too many extensions", rule("name: a", "users: [a]", "max_extensions: 11"), "5: rules[0].max_extensions: must be from 0 to 10, not 11"},
		{"max_age alone", rule("name: a", "users: [a]", "mfa: {max_age: 15m}"), "5: rules[0].mfa.max_age: has no meaning without required: true"},
		{"max_age of two days", rule("name: a", "users: [a]", "mfa: {required: true, max_age: 48h}"), "5: rules[0].mfa.max_age: must be whole seconds from 1s to 24h, not 48h0m0s"},
		{"max_age of nothing", rule("name: a", "users: [a]", "mfa: {required: true, max_age: 0s}"), "5: rules[0].mfa.max_age: must be whole seconds"},
		{"unknown in mfa", rule("name: a", "users: [a]", "mfa: {requierd: true}"), `5: rules[0].mfa: unknown field "requierd"; did you mean "required"?`},
		{"half seconds", rule("name: a", "users: [a]", "max_duration: 90.5s"), "5: rules[0].max_duration: must be whole seconds"},
		{"duration without unit", rule("name: a", "users: [a]", "max_duration: 3600"), `5: rules[0].max_duration: must be a duration with its unit, such as 30m or 2h, not "3600"`},
		{"ticket in words", rule("name: a", "users: [a]", "require_ticket: please"), `5: rules[0].require_ticket: must be true or false, not "please"`},
		{"time that says nothing", rule("name: a", "users: [a]", "time: {timezone: UTC}"), "5: rules[0].time: needs days, hours or both; leave time out for always"},
		{"unknown day", rule("name: a", "users: [a]", "time: {days: [monday, Tue]}"), `5: rules[0].time.days[1]: "Tue" is not a day`},
		{"a day twice", rule("name: a", "users: [a]", "time: {days: [monday, monday]}"), `5: rules[0].time.days[1]: "monday" is there twice`},
		{"no end", rule("name: a", "users: [a]", "time:", `  hours: {start: "22:00"}`), `6: rules[0].time.hours.end: is required, such as "06:00"`},
		{"no start", rule("name: a", "users: [a]", "time:", `  hours: {end: "06:00"}`), `6: rules[0].time.hours.start: is required, such as "22:00"`},
		{"an hour with one digit", rule("name: a", "users: [a]", `time: {hours: {start: "8:00", end: "17:00"}}`), `5: rules[0].time.hours.start: must be a time of day from 00:00 to 24:00 as HH:MM, not "8:00"`},
		{"the 25th hour", rule("name: a", "users: [a]", `time: {hours: {start: "08:00", end: "25:00"}}`), "5: rules[0].time.hours.end: must be a time of day"},
		{"after the 24th hour", rule("name: a", "users: [a]", `time: {hours: {start: "08:00", end: "24:01"}}`), "5: rules[0].time.hours.end: must be a time of day"},
		{"the 60th minute", rule("name: a", "users: [a]", `time: {hours: {start: "08:60", end: "09:00"}}`), "5: rules[0].time.hours.start: must be a time of day"},
		{"a start of 24:00", rule("name: a", "users: [a]", `time: {hours: {start: "24:00", end: "06:00"}}`), "5: rules[0].time.hours.start: must be before 24:00"},
		{"no time at all", rule("name: a", "users: [a]", `time: {hours: {start: "08:00", end: "08:00"}}`), "5: rules[0].time.hours: start and end are both 08:00"},
		{"unknown zone", rule("name: a", "users: [a]", "time:", "  days: [monday]", "  timezone: Mars/Olympus"), `7: rules[0].time.timezone: "Mars/Olympus" is not a time zone`},
		{"the machine's zone", rule("name: a", "users: [a]", "time: {days: [monday], timezone: Local}"), `5: rules[0].time.timezone: "Local" is not a time zone`},
		{"no zone", rule("name: a", "users: [a]", `time: {days: [monday], timezone: ""}`), `5: rules[0].time.timezone: "" is not a time zone`},
		{"a path as zone", rule("name: a", "users: [a]", "time: {days: [monday], timezone: ../../../etc/passwd}"), "is not a time zone"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := policy.Parse("policy.yaml", []byte(c.file))
			require.Error(t, err)
			assert.Nil(t, p)
			var problems yamlfile.Problems
			require.ErrorAs(t, err, &problems)
			assert.Len(t, problems, 1, "one mistake, one problem: %s", err)
			assert.Contains(t, err.Error(), c.want)
			assert.True(t, strings.HasPrefix(err.Error(), "policy.yaml:"), err)
		})
	}
}

func TestAllMistakesOfAFileAreReportedAtOnce(t *testing.T) {
	_, err := policy.Parse("p.yaml", []byte(`version: "3"
rules:
  - name: a
    usrs: [x]
    max_duration: 5h
    time:
      days: [caturday]
      hours: {start: "9:00", end: "17:00"}
      timezone: Mars
  - users: ["*", "b*"]
    profiles: ["["]
    allowed_reason_codes: [fun]
`))
	require.Error(t, err)
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.Join(strings.SplitN(line, ":", 4)[1:3], ":"))
	}
	assert.Equal(t, []string{"1: version", "3: rules[0].users", "4: rules[0]", "5: rules[0].max_duration", "7: rules[0].time.days[0]",
		"8: rules[0].time.hours.start", "9: rules[0].time.timezone", "10: rules[1].name", "10: rules[1].users[1]",
		"11: rules[1].profiles[0]", "12: rules[1].allowed_reason_codes[0]"}, got, err)
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(rulesFile), "alice@example.com", "oncall", "prod", "incident", int64(time.Hour), int64(1772946000))
	f.Add([]byte(rule("name: a", `users: ["*"]`, `time: {hours: {start: "02:30", end: "02:00"}, timezone: Africa/Casablanca}`)), "a", "", "b", "x", int64(-1), int64(-1<<40))
	f.Add([]byte("rules: [{name: a, users: ['*'], time: {days: [monday], timezone: Pacific/Apia}}]\nversion: 1"), "", "", "[", "", int64(1)<<62, int64(1)<<40)
	f.Fuzz(func(t *testing.T, data []byte, name, group, profile, reason string, duration, at int64) {
		p, err := policy.Parse("p.yaml", data)
		if err != nil {
			var problems yamlfile.Problems
			require.ErrorAs(t, err, &problems)
			require.NotEmpty(t, problems)
			for _, problem := range problems {
				require.Positive(t, problem.Line)
				require.NotContains(t, problem.Message, "\n")
			}
			return
		}
		subject := breakglass.Subject{Name: name, Groups: []string{group}}
		when := time.Unix(at, 0)
		r := breakglass.PolicyRequest{Subject: subject, Profile: profile, ReasonCode: breakglass.ReasonCode(reason), Duration: time.Duration(duration), At: when}
		d := p.Decide(r)
		offer, offered := p.Offer(subject, profile, when)
		switch {
		case d.Permit:
			require.True(t, offered, "what is permitted is offered")
			require.Equal(t, offer.Rule, d.Rule)
			require.LessOrEqual(t, r.Duration, d.MaxDuration)
			require.LessOrEqual(t, d.MaxDuration, breakglass.MaxDuration)
			terms, ok := p.Terms(subject, profile)
			require.True(t, ok)
			require.Equal(t, terms.Rule, d.Rule)
			require.True(t, p.Who(profile).Include(subject))
		default:
			require.NotEmpty(t, d.Condition)
			require.NotEmpty(t, d.Message)
			require.Equal(t, d.Rule != "", d.Allowed != nil)
		}
	})
}
