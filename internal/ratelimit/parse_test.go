package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/ratelimit"
	"breakglass/internal/yamlfile"
)

// rule wraps the lines of one rule, each on a line of its own from line 3 on.
func rule(lines ...string) string {
	return "version: \"1\"\nrules:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func TestEveryMistakeIsReportedWithItsLine(t *testing.T) {
	cases := []struct{ name, file, want string }{
		{"nothing", "", "1: is empty"},
		{"no version", "rules:\n  - {name: a, cooldown: 1m}\n", "1: version: is required"},
		{"no rules", "version: \"1\"\n", "1: rules: needs at least one rule: for no limits at all, leave rate_limit_file out of the configuration"},
		{"unknown field", rule("name: a", "cooldown: 1m", "cool_down: 1m"), `5: rules[0]: unknown field "cool_down"; did you mean "cooldown"?`},
		{"no name", rule("cooldown: 1m"), "3: rules[0].name: is required"},
		{"a name twice", rule("name: a", "cooldown: 1m") + "  - name: a\n    cooldown: 2m\n", `5: rules[1].name: "a" is the name of rules[0] on line 3 too`},
		{"no limit", rule("name: a", "profiles: [prod]"), "3: rules[0]: limits nothing"},
		{"a broken pattern", rule("name: a", "cooldown: 1m", `profiles: ['a\']`), "5: rules[0].profiles[0]:"},
		{"a profile twice", rule("name: a", "cooldown: 1m", "profiles: [b, b]"), `5: rules[0].profiles[1]: "b" is there twice`},
		{"cooldown of zero", rule("name: a", "cooldown: 0s"), "4: rules[0].cooldown: must be more than 0s and at most 720h, not 0s; leave it out for none"},
		{"negative cooldown", rule("name: a", "cooldown: -1m"), "4: rules[0].cooldown: must be more than 0s"},
		{"cooldown over 30 days", rule("name: a", "cooldown: 720h0m1s"), "4: rules[0].cooldown: must be more than 0s and at most 720h"},
		{"cooldown without unit", rule("name: a", "cooldown: 30"), "4: rules[0].cooldown: must be a duration with its unit"},
		{"cooldown that overflows", rule("name: a", "cooldown: 9999999999h"), "4: rules[0].cooldown: must be a duration"},
		{"cooldown without value", rule("name: a", "cooldown:"), "4: rules[0].cooldown: has no value"},
		{"quota without window", rule("name: a", "max_per_user: 1"), "3: rules[0].quota_window: is required"},
		{"profile quota without window", rule("name: a", "max_per_profile: 1"), "3: rules[0].quota_window: is required"},
		{"threshold without window", rule("name: a", "escalation_threshold: 1"), "3: rules[0].quota_window: is required"},
		{"window without quota", rule("name: a", "cooldown: 1m", "quota_window: 24h"), "5: rules[0].quota_window: has no use"},
		{"window over 366 days", rule("name: a", "max_per_user: 1", "quota_window: 8785h"), "5: rules[0].quota_window: must be more than 0s and at most 8784h, not 8785h"},
		{"quota of zero", rule("name: a", "quota_window: 1h", "max_per_user: 0"), "5: rules[0].max_per_user: must be from 1 to 10000, not 0; leave it out for none"},
		{"negative quota", rule("name: a", "quota_window: 1h", "max_per_profile: -1"), "5: rules[0].max_per_profile: must be from 1 to 10000, not -1"},
		{"quota too large", rule("name: a", "quota_window: 1h", "max_per_profile: 10001"), "5: rules[0].max_per_profile: must be from 1 to 10000"},
		{"quota that overflows", rule("name: a", "quota_window: 1h", "max_per_user: 99999999999999999999"), "5: rules[0].max_per_user: must be a whole number"},
		{"half an invocation", rule("name: a", "quota_window: 1h", "max_per_user: 1.5"), "5: rules[0].max_per_user: must be a whole number"},
		{"threshold of zero", rule("name: a", "quota_window: 1h", "escalation_threshold: 0"), "5: rules[0].escalation_threshold: must be from 1 to 10000"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := ratelimit.Parse("ratelimit.yaml", []byte(c.file))
			require.Error(t, err)
			assert.Nil(t, p)
			var problems yamlfile.Problems
			require.ErrorAs(t, err, &problems)
			assert.Len(t, problems, 1, "one mistake, one problem: %s", err)
			assert.Contains(t, err.Error(), "ratelimit.yaml:"+c.want[:1]+":")
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

func TestAllMistakesOfAFileAreReportedAtOnce(t *testing.T) {
	_, err := ratelimit.Parse("r.yaml", []byte("rules:\n  - cooldown: 0s\n    max_per_user: 0\n  - name: b\n    quota_window: 1h\n"))
	require.Error(t, err)
	for _, want := range []string{"r.yaml:1: version:", "r.yaml:2: rules[0].name:", "r.yaml:2: rules[0].cooldown:",
		"r.yaml:2: rules[0].quota_window:", "r.yaml:3: rules[0].max_per_user:", "r.yaml:4: rules[1]: limits nothing"} {
		assert.Contains(t, err.Error(), want)
	}
}

func TestLargestValuesAreAccepted(t *testing.T) {
	p := parse(t, rule("name: a", "cooldown: 720h", "quota_window: 8784h", "max_per_user: 10000", "max_per_profile: 10000", "escalation_threshold: 10000"))
	assert.True(t, check(t, p, &past{}, "alice", "prod", now).Permit)
}

func FuzzParseRateLimits(f *testing.F) {
	f.Add([]byte(rule("name: a", "cooldown: 30m", "max_per_user: 3", "max_per_profile: 10", "quota_window: 24h", "escalation_threshold: 2")), "alice", "prod", int64(0))
	f.Add([]byte("version: 1\nrules: [{name: a, profiles: ['[a-c]*'], cooldown: 1ns}]"), "bob", "b", int64(-1<<40))
	f.Add([]byte("version: 1\nrules: [{name: a, max_per_user: 1, quota_window: 1µs}]"), "bob", "b", int64(1<<40))
	f.Fuzz(func(t *testing.T, data []byte, invoker, profile string, seconds int64) {
		p, err := ratelimit.Parse("r.yaml", data)
		if err != nil {
			var problems yamlfile.Problems
			require.ErrorAs(t, err, &problems)
			require.NotEmpty(t, problems)
			return
		}
		at := time.Unix(seconds, 0)
		h := &past{events: []breakglass.Event{{Invoker: invoker, Profile: profile, CreatedAt: at.Add(-time.Minute)}, {Invoker: invoker, Profile: profile, CreatedAt: at}}}
		d, err := p.CheckRateLimit(h, invoker, profile, at)
		require.NoError(t, err)
		if !d.Permit {
			require.Positive(t, d.RetryAfter)
			require.NotEmpty(t, d.Rule)
			require.NotEmpty(t, d.Limit)
			require.NotEmpty(t, d.Message)
		}
	})
}
