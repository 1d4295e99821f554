package access_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/access"
	"breakglass/internal/breakglass"
	"breakglass/internal/yamlfile"
)

// rule wraps the lines of one rule, each on a line of its own from line 3 on.
func rule(lines ...string) string {
	return "version: \"1\"\nrules:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func TestEveryMistakeIsReportedWithItsLine(t *testing.T) {
	cases := []struct{ name, file, want string }{
		{"nothing", "", "1: is empty"},
		{"no version", "rules:\n  - {name: a, effect: allow, users: [a]}\n", `1: version: is required: write version: "1"`},
		{"no rules", "version: \"1\"\nrules: []\n", "2: rules: needs at least one rule: for no standing access at all, leave access_file out of the configuration"},
		{"unknown field", rule("name: a", "effect: allow", "users: [a]", "max_sesion: 1h"), `6: rules[0]: unknown field "max_sesion"; did you mean "max_session"?`},
		{"a field of the other file", rule("name: a", "effect: allow", "users: [a]", "allowed_reason_codes: [incident]"), `6: rules[0]: unknown field "allowed_reason_codes"`},
		{"no name", rule("effect: allow", "users: [a]"), "3: rules[0].name: is required"},
		{"a name twice", rule("name: a", "effect: allow", "users: [a]") + "  - {name: a, effect: deny, users: [a]}\n", `6: rules[1].name: "a" is the name of rules[0] on line 3 too`},
		{"no effect", rule("name: a", "users: [a]"), "3: rules[0].effect: is required: allow or deny"},
		{"unknown effect", rule("name: a", "users: [a]", "effect: Deny"), `5: rules[0].effect: "Deny" is unknown: use allow or deny`},
		{"an effect in a list", rule("name: a", "users: [a]", "effect: [deny]"), "5: rules[0].effect: must be a string, not a list"},
		{"nobody", rule("name: a", "effect: deny"), `3: rules[0].users: needs at least one entry here or in groups; for everybody write users: ["*"]`},
		{"a pattern for users", rule("name: a", "effect: deny", `users: ["*@example.com"]`), `5: rules[0].users[0]: "*@example.com" would match nobody`},
		{"everybody as a group", rule("name: a", "effect: deny", `groups: ["*"]`), `5: rules[0].groups[0]: "*" would match nobody`},
		{"two spellings of a user", rule("name: a", "effect: deny", "users: [alice, ALICE]"), `5: rules[0].users[1]: "ALICE" is another spelling of "alice"`},
		{"a broken pattern", rule("name: a", "effect: deny", "users: [a]", `profiles: ["[a"]`), `6: rules[0].profiles[0]: "[a" is not a valid pattern`},
		{"a session with deny", rule("name: a", "effect: deny", "users: [a]", "max_session: 1h"), "6: rules[0].max_session: has no meaning with effect: deny"},
		{"too short a session", rule("name: a", "effect: allow", "users: [a]", "max_session: 59s"), "6: rules[0].max_session: must be whole seconds from 1m to 12h, not 59s"},
		{"too long a session", rule("name: a", "effect: allow", "users: [a]", "max_session: 12h1s"), "6: rules[0].max_session: must be whole seconds from 1m to 12h, not 12h0m1s"},
		{"half a second", rule("name: a", "effect: allow", "users: [a]", "max_session: 90.5s"), "6: rules[0].max_session: must be whole seconds"},
		{"a session without unit", rule("name: a", "effect: allow", "users: [a]", "max_session: 3600"), `6: rules[0].max_session: must be a duration with its unit`},
		{"time that says nothing", rule("name: a", "effect: allow", "users: [a]", "time: {timezone: UTC}"), "6: rules[0].time: needs days, hours or both"},
		{"unknown zone", rule("name: a", "effect: allow", "users: [a]", "time: {days: [monday], timezone: Mars}"), `6: rules[0].time.timezone: "Mars" is not a time zone`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := access.Parse("access.yaml", []byte(c.file))
			require.Error(t, err)
			assert.Nil(t, p)
			var problems yamlfile.Problems
			require.ErrorAs(t, err, &problems)
			assert.Len(t, problems, 1, "one mistake, one problem: %s", err)
			assert.Contains(t, err.Error(), "access.yaml:"+c.want)
		})
	}
}

func TestAllMistakesOfAFileAreReportedAtOnce(t *testing.T) {
	_, err := access.Parse("a.yaml", []byte(`version: "3"
rules:
  - name: a
    usrs: [x]
    effect: forbid
    time:
      days: [caturday]
  - users: [b]
    effect: deny
    max_session: 1h
    profiles: ["["]
`))
	require.Error(t, err)
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.Join(strings.SplitN(line, ":", 4)[1:3], ":"))
	}
	assert.Equal(t, []string{"1: version", "3: rules[0].users", "4: rules[0]", "5: rules[0].effect", "7: rules[0].time.days[0]",
		"8: rules[1].name", "10: rules[1].max_session", "11: rules[1].profiles[0]"}, got, err)
}

func FuzzParseAccess(f *testing.F) {
	f.Add([]byte(rulesFile), "alice@example.com", "dba", "prod-db", int64(1772946000))
	f.Add([]byte(rule("name: a", "effect: allow", `users: ["*"]`, `time: {hours: {start: "02:30", end: "02:00"}, timezone: Africa/Casablanca}`)), "a", "", "b", int64(-1<<40))
	f.Add([]byte("rules: [{name: a, effect: deny, users: ['*'], time: {days: [monday], timezone: Pacific/Apia}}]\nversion: 1"), "x", "", "[", int64(1)<<40)
	f.Fuzz(func(t *testing.T, data []byte, name, group, profile string, at int64) {
		p, err := access.Parse("a.yaml", data)
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
		subject, when := breakglass.Subject{Name: name, Groups: []string{group}}, time.Unix(at, 0)
		d := p.Decide(subject, profile, when)
		require.True(t, d.Until.IsZero() || d.Until.After(when))
		switch {
		case d.Permit:
			require.NotEmpty(t, d.Rule)
			require.GreaterOrEqual(t, d.MaxSession, time.Minute)
			require.LessOrEqual(t, d.MaxSession, 12*time.Hour)
			require.True(t, p.Who(profile).Include(subject))
			if !d.Until.IsZero() {
				require.True(t, p.Decide(subject, profile, d.Until.Add(-time.Nanosecond)).Permit)
			}
		default:
			require.NotEmpty(t, d.Message)
			require.Zero(t, d.MaxSession)
		}
	})
}
