package ratelimit_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/ratelimit"
)

var (
	_ breakglass.RateLimiter = (*ratelimit.Policy)(nil)
	_ breakglass.RateLimiter = ratelimit.None{}
)

var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// past is a history in memory, with the contract of the port.
type past struct {
	events []breakglass.Event // ascending by CreatedAt
	err    error
}

func (p *past) add(invoker, profile string, at time.Time) {
	p.events = append(p.events, breakglass.Event{Invoker: invoker, Profile: profile, CreatedAt: at})
}

func (p *past) count(match func(breakglass.Event) bool, since time.Time, atMost int) (breakglass.Tally, error) {
	var t breakglass.Tally
	for i := len(p.events) - 1; i >= 0 && t.Count < atMost; i-- {
		if e := p.events[i]; match(e) && e.CreatedAt.After(since) {
			t.Count, t.Oldest = t.Count+1, e.CreatedAt
		}
	}
	return t, p.err
}

func (p *past) CountByInvokerSince(invoker string, since time.Time, atMost int) (breakglass.Tally, error) {
	return p.count(func(e breakglass.Event) bool { return e.Invoker == invoker }, since, atMost)
}

func (p *past) CountByProfileSince(profile string, since time.Time, atMost int) (breakglass.Tally, error) {
	return p.count(func(e breakglass.Event) bool { return e.Profile == profile }, since, atMost)
}

func (p *past) GetLastByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	for i := len(p.events) - 1; i >= 0; i-- {
		if e := p.events[i]; e.Invoker == invoker && e.Profile == profile {
			return &e, p.err
		}
	}
	return nil, p.err
}

func parse(t *testing.T, data string) *ratelimit.Policy {
	t.Helper()
	p, err := ratelimit.Parse("ratelimit.yaml", []byte(data))
	require.NoError(t, err)
	return p
}

func one(t *testing.T, rule string) *ratelimit.Policy {
	t.Helper()
	return parse(t, "version: \"1\"\nrules:\n  - {name: r, "+rule+"}\n")
}

func check(t *testing.T, p *ratelimit.Policy, h breakglass.History, invoker, profile string, at time.Time) breakglass.LimitDecision {
	t.Helper()
	d, err := p.CheckRateLimit(h, invoker, profile, at)
	require.NoError(t, err)
	return d
}

func TestCooldownEndsExactly(t *testing.T) {
	p := one(t, "cooldown: 30m")
	h := &past{}
	assert.True(t, check(t, p, h, "alice", "prod", now).Permit, "the first invocation")
	h.add("alice", "prod", now)
	cases := []struct {
		name  string
		after time.Duration
		retry time.Duration // zero: permitted
	}{
		{"at once", 0, 30 * time.Minute},
		{"one microsecond early", 30*time.Minute - time.Microsecond, time.Microsecond},
		{"exactly", 30 * time.Minute, 0},
		{"later", time.Hour, 0},
		{"the clock was set back", -time.Hour, 90 * time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := check(t, p, h, "alice", "prod", now.Add(c.after))
			assert.Equal(t, c.retry == 0, d.Permit)
			assert.Equal(t, c.retry, d.RetryAfter)
			assert.Equal(t, "r", d.Rule)
			if !d.Permit {
				assert.Equal(t, breakglass.LimitCooldown, d.Limit)
			}
		})
	}
	assert.True(t, check(t, p, h, "bob", "prod", now).Permit, "another user")
	assert.True(t, check(t, p, h, "alice", "staging", now).Permit, "another profile")
	assert.Equal(t, `"alice" last invoked profile "prod" at 2026-03-04 12:00:00 UTC, and rule "r" asks for a pause of 30m. `+
		`The next attempt can succeed in 20m, at 2026-03-04 12:30:00 UTC.`,
		check(t, p, h, "alice", "prod", now.Add(10*time.Minute)).Message)
}

func TestUserQuotaCountsAllProfilesWithinTheWindow(t *testing.T) {
	p := one(t, "max_per_user: 2, quota_window: 24h")
	h := &past{}
	h.add("alice", "prod", now.Add(-24*time.Hour)) // has just left the window
	h.add("alice", "staging", now.Add(-23*time.Hour))
	h.add("bob", "prod", now.Add(-time.Hour))
	assert.True(t, check(t, p, h, "alice", "prod", now).Permit)

	h.add("alice", "prod", now)
	d := check(t, p, h, "alice", "prod", now)
	assert.False(t, d.Permit)
	assert.Equal(t, breakglass.LimitUserQuota, d.Limit)
	assert.Equal(t, time.Hour, d.RetryAfter, "when the older of the two leaves the window")
	assert.Equal(t, `"alice" has used up the 2 invocations, over all profiles, that rule "r" allows a user within 24h. `+
		`The next attempt can succeed in 1h, at 2026-03-04 13:00:00 UTC.`, d.Message)
	assert.False(t, check(t, p, h, "alice", "prod", now.Add(time.Hour-time.Nanosecond)).Permit)
	assert.True(t, check(t, p, h, "alice", "prod", now.Add(time.Hour)).Permit)
}

func TestProfileQuotaCountsAllUsersWithinTheWindow(t *testing.T) {
	p := one(t, "max_per_profile: 2, quota_window: 1h")
	h := &past{}
	h.add("alice", "prod", now.Add(-30*time.Minute))
	h.add("alice", "staging", now.Add(-20*time.Minute))
	assert.True(t, check(t, p, h, "bob", "prod", now).Permit)

	h.add("bob", "prod", now)
	d := check(t, p, h, "carol\x1b", "prod", now)
	assert.False(t, d.Permit)
	assert.Equal(t, breakglass.LimitProfileQuota, d.Limit)
	assert.Equal(t, 30*time.Minute, d.RetryAfter)
	assert.Contains(t, d.Message, `Profile "prod" has used up the 2 invocations, by all users together, that rule "r" allows within 1h.`)
	assert.True(t, check(t, p, h, "carol", "prod", now.Add(30*time.Minute)).Permit)
}

func TestLimitsAreCheckedInTheirOrder(t *testing.T) {
	h := &past{}
	for range 5 {
		h.add("alice", "prod", now)
	}
	for limit, rule := range map[breakglass.Limit]string{
		breakglass.LimitCooldown:     "cooldown: 1m, max_per_user: 1, max_per_profile: 1, quota_window: 1h, escalation_threshold: 1",
		breakglass.LimitUserQuota:    "max_per_user: 1, max_per_profile: 1, quota_window: 1h, escalation_threshold: 1",
		breakglass.LimitProfileQuota: "max_per_user: 6, max_per_profile: 1, quota_window: 1h, escalation_threshold: 1",
	} {
		d := check(t, one(t, rule), h, "alice", "prod", now)
		assert.False(t, d.Permit)
		assert.Equal(t, limit, d.Limit)
		assert.False(t, d.Escalate, "a refusal escalates nothing")
	}
}

func TestEscalationFlagsFromTheThresholdOnAndNeverBlocks(t *testing.T) {
	for name, rule := range map[string]string{
		"without quotas":           "escalation_threshold: 3, quota_window: 24h",
		"with a user quota":        "escalation_threshold: 3, quota_window: 24h, max_per_user: 100",
		"with a profile quota":     "escalation_threshold: 3, quota_window: 24h, max_per_profile: 100",
		"beside an unused timeout": "escalation_threshold: 3, quota_window: 24h, cooldown: 1ns",
	} {
		t.Run(name, func(t *testing.T) {
			p, h := one(t, rule), &past{}
			h.add("alice", "staging", now.Add(-24*time.Hour)) // has just left the window
			for n := 1; n <= 8; n++ {
				at := now.Add(time.Duration(n) * time.Second)
				d := check(t, p, h, "alice", []string{"prod", "staging"}[n%2], at)
				want := breakglass.LimitDecision{Permit: true, Rule: "r"}
				if n >= 3 {
					want.Escalate, want.Count, want.Threshold = true, n, 3
				}
				require.Equal(t, want, d, "invocation %d", n)
				h.add("alice", []string{"prod", "staging"}[n%2], at)
			}
			assert.False(t, check(t, p, h, "bob", "prod", now.Add(time.Minute)).Escalate)
		})
	}
}

func TestFirstRuleForTheProfileDecides(t *testing.T) {
	p := parse(t, `version: "1"
rules:
  - {name: databases, profiles: ["*-db"], cooldown: 1h}
  - {name: production, profiles: [prod, "team/*"], cooldown: 2h}
`)
	h := &past{}
	for _, profile := range []string{"prod-db", "prod", "team/a/b", "staging"} {
		h.add("alice", profile, now)
	}
	assert.Equal(t, "databases", check(t, p, h, "alice", "prod-db", now).Rule)
	assert.Equal(t, 2*time.Hour, check(t, p, h, "alice", "prod", now).RetryAfter)
	assert.Equal(t, "production", check(t, p, h, "alice", "team/a/b", now).Rule)
	assert.Equal(t, breakglass.LimitDecision{Permit: true}, check(t, p, h, "alice", "staging", now), "no rule, no limit")
	assert.Equal(t, breakglass.LimitDecision{Permit: true}, check(t, p, h, "alice", "Prod", now), "letter case counts")

	everything := one(t, "cooldown: 1h")
	assert.False(t, check(t, everything, h, "alice", "team/a/b", now).Permit, "no profiles are every profile")
	assert.False(t, check(t, one(t, `profiles: ["*"], cooldown: 1h`), h, "alice", "team/a/b", now).Permit, "* reaches over slashes")
}

func TestHistoryThatCannotBeReadPermitsNothing(t *testing.T) {
	broken := errors.New("disk on fire")
	h := &past{err: broken}
	h.add("alice", "prod", now.Add(-time.Hour))
	for _, rule := range []string{"cooldown: 1m", "max_per_user: 9, quota_window: 1h", "max_per_profile: 9, quota_window: 1h",
		"escalation_threshold: 9, quota_window: 1h"} {
		d, err := one(t, rule).CheckRateLimit(h, "alice", "prod", now)
		require.ErrorIs(t, err, broken)
		assert.False(t, d.Permit)
	}
}

func TestNoneLimitsNothing(t *testing.T) {
	d, err := ratelimit.None{}.CheckRateLimit(&past{err: errors.New("not asked")}, "alice", "prod", now)
	require.NoError(t, err)
	assert.Equal(t, breakglass.LimitDecision{Permit: true}, d)
	assert.Empty(t, ratelimit.None{}.SHA256())
}

func TestExampleRateLimitsAreAccepted(t *testing.T) {
	data, err := os.ReadFile("../../examples/ratelimit.yaml")
	require.NoError(t, err)
	p := parse(t, string(data))
	assert.Len(t, p.SHA256(), 64)
	assert.Equal(t, "production", check(t, p, &past{}, "alice", "prod", now).Rule)
}
