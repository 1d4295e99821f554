package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/ratelimit"
)

// limits are one rule as the test made it up; zero means none.
type limits struct {
	cooldown, window                    time.Duration
	perUser, perProfile, escalationFrom int
}

func randomLimits(r *rand.Rand) limits {
	l := limits{}
	for l == (limits{}) {
		if r.IntN(2) == 0 {
			l.cooldown = time.Duration(1+r.IntN(20)) * time.Minute
		}
		l.perUser, l.perProfile, l.escalationFrom = max(0, r.IntN(7)-2), max(0, r.IntN(9)-2), max(0, r.IntN(6)-2)
	}
	if l.perUser+l.perProfile+l.escalationFrom > 0 {
		l.window = time.Duration(5+r.IntN(60)) * time.Minute
	}
	return l
}

func (l limits) yaml() string {
	var fields []string
	add := func(name string, set bool, value any) {
		if set {
			fields = append(fields, fmt.Sprintf("%s: %v", name, value))
		}
	}
	add("cooldown", l.cooldown > 0, l.cooldown)
	add("quota_window", l.window > 0, l.window)
	add("max_per_user", l.perUser > 0, l.perUser)
	add("max_per_profile", l.perProfile > 0, l.perProfile)
	add("escalation_threshold", l.escalationFrom > 0, l.escalationFrom)
	return strings.Join(fields, ", ")
}

// refusedBy says by the words of the rule alone which limit an invocation at
// that time would break, given all that happened.
func (l limits) refusedBy(events []breakglass.Event, invoker, profile string, at time.Time) breakglass.Limit {
	user, onProfile, cooling := 0, 0, false
	for _, e := range events {
		age := at.Sub(e.CreatedAt)
		if e.Invoker == invoker && e.Profile == profile && age < l.cooldown {
			cooling = true
		}
		if age < l.window && e.Invoker == invoker {
			user++
		}
		if age < l.window && e.Profile == profile {
			onProfile++
		}
	}
	switch {
	case cooling:
		return breakglass.LimitCooldown
	case l.perUser > 0 && user >= l.perUser:
		return breakglass.LimitUserQuota
	case l.perProfile > 0 && onProfile >= l.perProfile:
		return breakglass.LimitProfileQuota
	}
	return ""
}

// order is the order of the checks; permitted comes after all of them.
var order = map[breakglass.Limit]int{breakglass.LimitCooldown: 1, breakglass.LimitUserQuota: 2, breakglass.LimitProfileQuota: 3, "": 4}

func TestLimitsHoldExactlyInRandomHistories(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	refusals := map[breakglass.Limit]int{}
	for range 150 {
		l := randomLimits(r)
		p, h, at := one(t, l.yaml()), &past{}, now
		for range 120 {
			// Whole minutes, so that the ends of cooldowns and windows are met exactly.
			at = at.Add(time.Duration(r.IntN(4)) * time.Minute)
			invoker, profile := fmt.Sprintf("user-%d", r.IntN(3)), fmt.Sprintf("profile-%d", r.IntN(3))
			d := check(t, p, h, invoker, profile, at)
			require.Equal(t, l.refusedBy(h.events, invoker, profile, at), d.Limit, "%s at %s", l.yaml(), at)
			require.Equal(t, d.Limit == "", d.Permit)
			refusals[d.Limit]++
			if d.Permit {
				h.add(invoker, profile, at)
				requireNeverOver(t, l, h.events, at, d)
				continue
			}
			requireExactRetry(t, p, h, invoker, profile, at, d)
		}
	}
	require.Len(t, refusals, 4, "every outcome was met")
}

// requireNeverOver counts what a window that ends now holds.
func requireNeverOver(t *testing.T, l limits, events []breakglass.Event, at time.Time, d breakglass.LimitDecision) {
	t.Helper()
	users, profiles := map[string]int{}, map[string]int{}
	for _, e := range events {
		if at.Sub(e.CreatedAt) < l.window {
			users[e.Invoker]++
			profiles[e.Profile]++
		}
	}
	granted := events[len(events)-1]
	for name, n := range users {
		require.False(t, l.perUser > 0 && n > l.perUser, "%s has %d of %d", name, n, l.perUser)
	}
	for name, n := range profiles {
		require.False(t, l.perProfile > 0 && n > l.perProfile, "%s has %d of %d", name, n, l.perProfile)
	}
	require.Equal(t, l.escalationFrom > 0 && users[granted.Invoker] >= l.escalationFrom, d.Escalate)
	if d.Escalate {
		require.Equal(t, users[granted.Invoker], d.Count)
		require.Equal(t, l.escalationFrom, d.Threshold)
	}
}

// requireExactRetry: who waits that long passes the limit, who comes a
// nanosecond earlier doesn't.
func requireExactRetry(t *testing.T, p *ratelimit.Policy, h *past, invoker, profile string, at time.Time, d breakglass.LimitDecision) {
	t.Helper()
	require.Positive(t, d.RetryAfter)
	early := check(t, p, h, invoker, profile, at.Add(d.RetryAfter-1))
	require.Equal(t, d.Limit, early.Limit)
	after := check(t, p, h, invoker, profile, at.Add(d.RetryAfter))
	require.Greater(t, order[after.Limit], order[d.Limit])
}
