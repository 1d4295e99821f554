package approval_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/approval"
	"breakglass/internal/breakglass"
	"breakglass/internal/yamlfile"
)

// rule wraps the lines of one rule, each on a line of its own: the name on line
// 3, the approvers on line 4, the rest from line 5 on.
func rule(lines ...string) string {
	return bare(append([]string{"name: a", "approvers: {groups: [leads]}"}, lines...)...)
}

func bare(lines ...string) string {
	return "version: \"1\"\nrules:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func TestEveryMistakeIsReportedWithItsLine(t *testing.T) {
	auto := func(item string) string {
		return rule("profiles: [prod]", "auto_approve:", "  - {users: [a]}", "  - "+item)
	}
	cases := []struct{ name, file, want string }{
		{"nothing", "", "1: is empty"},
		{"no version", "rules:\n  - {name: a, approvers: {users: [a]}}\n", `1: version: is required: write version: "1"`},
		{"no rules", "version: \"1\"\nrules: []\n", "2: rules: needs at least one rule: for no access requests at all, leave approvals_file out of the configuration"},
		{"unknown field", rule("approval: 2"), `5: rules[0]: unknown field "approval"; did you mean "approvals"?`},
		{"no name", bare("approvers: {users: [a]}"), "3: rules[0].name: is required"},
		{"a name twice", rule() + "  - {name: a, approvers: {users: [a]}}\n", `5: rules[1].name: "a" is the name of rules[0] on line 3 too`},
		{"a broken pattern", rule(`profiles: ["[a"]`), `5: rules[0].profiles[0]: "[a" is not a valid pattern`},
		{"no approvers", bare("name: a", "profiles: [prod]"), "3: rules[0].approvers: is required: who approves, as users, groups or both"},
		{"approvers of nobody", bare("name: a", "approvers: {users: []}"), "4: rules[0].approvers.users: needs at least one entry here or in groups"},
		{"approvers in a list", bare("name: a", "approvers: [carol]"), "4: rules[0].approvers: must be a mapping, not a list"},
		{"a pattern for approvers", bare("name: a", `approvers: {groups: ["lead*"]}`), `4: rules[0].approvers.groups[0]: "lead*" would match nobody`},
		{"two spellings of an approver", bare("name: a", "approvers: {users: [carol, Carol]}"), `4: rules[0].approvers.users[1]: "Carol" is another spelling of "carol"`},
		{"requesters of nobody", rule("requesters: {groups: []}"), "5: rules[0].requesters.users: needs at least one entry"},
		{"requesters without a value", rule("requesters:"), "5: rules[0].requesters: has no value"},
		{"no approvals", rule("approvals: 0"), "5: rules[0].approvals: must be from 1 to 5, not 0"},
		{"too many approvals", rule("approvals: 6"), "5: rules[0].approvals: must be from 1 to 5, not 6"},
		{"more approvals than approvers", bare("name: a", "approvers: {users: [b, c]}", "approvals: 3"),
			"5: rules[0].approvals: is 3, and approvers names 2: no request would ever be approved"},
		{"each requester is needed as an approver", bare("name: a", "approvers: {users: [b, c]}", "requesters: {users: [C, b]}", "approvals: 2"),
			"6: rules[0].approvals: is 2, and each requester is one of the approvers, who are no more: nobody approves their own request"},
		{"the only approver asks", bare("name: a", "approvers: {users: [b]}", "requesters: {users: [b]}"),
			"3: rules[0].approvals: is 1, and each requester is one of the approvers, who are no more: nobody"},
		{"a duration of zero", rule("max_duration: 0s"), "5: rules[0].max_duration: must be whole seconds from 1s to 8h, not 0s"},
		{"a duration over eight hours", rule("max_duration: 8h1s"), "5: rules[0].max_duration: must be whole seconds from 1s to 8h, not 8h0m1s"},
		{"half a second", rule("max_duration: 1.5s"), "5: rules[0].max_duration: must be whole seconds"},
		{"a wait of under a minute", rule("max_wait: 59s"), "5: rules[0].max_wait: must be whole seconds from 1m to 168h, not 59s"},
		{"a wait of over a week", rule("max_wait: 168h1s"), "5: rules[0].max_wait: must be whole seconds from 1m to 168h, not 168h0m1s"},
		{"too short a session", rule("max_session: 30s"), "5: rules[0].max_session: must be whole seconds from 1m to 12h, not 30s"},
		{"too many renewals", rule("max_renewals: 1001"), "5: rules[0].max_renewals: must be from 0 to 1000, not 1001"},
		{"extensions", rule("max_extensions: 1"), `5: rules[0]: unknown field "max_extensions"`},
		{"a ticket in words", rule("require_ticket: please"), `5: rules[0].require_ticket: must be true or false, not "please"`},
		{"automatic for nobody", auto("{profiles: [prod]}"), "8: rules[0].auto_approve[1].users: needs at least one entry here or in groups"},
		{"automatic for another profile", auto("{users: [b], profiles: [staging]}"), `8: rules[0].auto_approve[1].profiles[0]: "staging" is not one of the rule's profiles`},
		{"automatic for a broken pattern", auto(`{users: [b], profiles: ["["]}`), `8: rules[0].auto_approve[1].profiles[0]: "[" is not a valid pattern`},
		{"automatic for longer", rule("max_duration: 2h", "auto_approve:", "  - {users: [b], max_duration: 2h1s}"),
			"7: rules[0].auto_approve[0].max_duration: must be whole seconds from 1s to 2h, not 2h0m1s"},
		{"automatic at no time", auto("{users: [b], time: {timezone: UTC}}"), "8: rules[0].auto_approve[1].time: needs days, hours or both"},
		{"unknown in automatic", auto("{users: [b], ticket: x}"), `8: rules[0].auto_approve[1]: unknown field "ticket"`},
		{"automatic, not in a list", rule("auto_approve: {users: [b]}"), "5: rules[0].auto_approve: must be a list, not a mapping"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := approval.Parse("approvals.yaml", []byte(c.file))
			require.Error(t, err)
			assert.Nil(t, p)
			var problems yamlfile.Problems
			require.ErrorAs(t, err, &problems)
			assert.Len(t, problems, 1, "one mistake, one problem: %s", err)
			assert.Contains(t, err.Error(), "approvals.yaml:"+c.want)
		})
	}
}

func TestBoundsAreAllowedThemselves(t *testing.T) {
	for _, file := range []string{
		rule("approvals: 5", "max_duration: 1s", "max_wait: 1m", "max_session: 1m", "max_renewals: 0"),
		rule("approvals: 1", "max_duration: 8h", "max_wait: 168h", "max_session: 12h", "max_renewals: 1000"),
		bare("name: a", "approvers: {users: [b, c]}", "approvals: 2"),
		bare("name: a", "approvers: {users: [b, c]}", "approvals: 2", "requesters: {users: [b, d]}"),
		bare("name: a", "approvers: {users: [b, c]}", "approvals: 2", "requesters: {users: [b], groups: [g]}"),
		bare("name: a", `approvers: {users: ["*"]}`, "approvals: 5"),
		bare("name: a", "approvers: {users: [b], groups: [g]}", "approvals: 5"),
	} {
		_, err := approval.Parse("a.yaml", []byte(file))
		require.NoError(t, err, file)
	}
}

func TestAllMistakesOfAFileAreReportedAtOnce(t *testing.T) {
	_, err := approval.Parse("a.yaml", []byte(`version: "3"
rules:
  - name: a
    approvers: {user: [x]}
    approvals: 9
    max_wait: 1y
    auto_approve:
      - users: ["b*"]
        time:
          days: [caturday]
  - profiles: ["["]
    requesters: {users: []}
`))
	require.Error(t, err)
	var got []string
	for line := range strings.Lines(err.Error()) {
		got = append(got, strings.Join(strings.SplitN(line, ":", 4)[1:3], ":"))
	}
	assert.Equal(t, []string{"1: version", "4: rules[0].approvers", "5: rules[0].approvals", "6: rules[0].max_wait",
		"8: rules[0].auto_approve[0].users[0]", "10: rules[0].auto_approve[0].time.days[0]", "11: rules[1].name",
		"11: rules[1].profiles[0]", "11: rules[1].approvers", "12: rules[1].requesters.users"}, got, err)
}

func FuzzParseApprovals(f *testing.F) {
	f.Add([]byte(rulesFile), "carol@example.com", "oncall", "prod-db", int64(time.Hour), int64(1772946000))
	f.Add([]byte(rule(`auto_approve: [{users: ["*"], time: {hours: {start: "02:30", end: "02:00"}, timezone: Africa/Casablanca}}]`)), "a", "", "b", int64(-1), int64(-1<<40))
	f.Add([]byte("rules: [{name: a, approvers: {users: [a, b]}, approvals: 3}]\nversion: 1"), "", "", "[", int64(1)<<62, int64(1)<<40)
	f.Fuzz(func(t *testing.T, data []byte, name, group, profile string, duration, at int64) {
		p, err := approval.Parse("a.yaml", data)
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
		r, ok := p.Find(profile)
		if !ok {
			return
		}
		require.NotEmpty(t, r.Rule)
		require.NotEmpty(t, append(r.Approvers.Users, r.Approvers.Groups...))
		require.NotEmpty(t, append(r.Requesters.Users, r.Requesters.Groups...))
		require.True(t, r.Required >= 1 && r.Required <= breakglass.MaxApprovals)
		require.True(t, r.MaxDuration >= time.Second && r.MaxDuration <= breakglass.MaxRequestDuration)
		require.True(t, r.MaxWait >= time.Minute && r.MaxWait <= breakglass.MaxRequestWait)
		for _, a := range r.Auto {
			if a.Approves(breakglass.Subject{Name: name, Groups: []string{group}}, profile, time.Duration(duration), time.Unix(at, 0)) {
				require.LessOrEqual(t, time.Duration(duration), r.MaxDuration)
				require.NotEmpty(t, name)
			}
		}
	})
}
