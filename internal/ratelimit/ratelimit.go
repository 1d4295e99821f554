// Package ratelimit bounds how often the glass is broken. Decisions are pure
// functions of the rules, the history and the time; the service makes them
// inside the transaction that writes the event, so they hold exactly.
package ratelimit

import (
	"fmt"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
)

// Policy is the content of a rate-limit file. It never changes, so it is safe
// for concurrent use. Parse makes one.
type Policy struct {
	rules  []Rule
	sha256 string
}

// Rule bounds the invocations of some profiles. A zero limit doesn't limit.
type Rule struct {
	Name                string
	Profiles            rules.Profiles
	Cooldown            time.Duration // per user and profile, since that user's last invocation
	MaxPerUser          int           // per user over all profiles, in QuotaWindow
	MaxPerProfile       int           // per profile over all users, in QuotaWindow
	QuotaWindow         time.Duration
	EscalationThreshold int // of a user's invocations over all profiles, in QuotaWindow
}

// SHA256 is the hex digest of the file.
func (p *Policy) SHA256() string { return p.sha256 }

// CheckRateLimit applies the first rule for the profile.
func (p *Policy) CheckRateLimit(h breakglass.History, invoker, profile string, now time.Time) (breakglass.LimitDecision, error) {
	for _, r := range p.rules {
		if r.Profiles.Match(profile) {
			return attempt{Rule: r, history: h, invoker: invoker, profile: profile, now: now}.check()
		}
	}
	return breakglass.LimitDecision{Permit: true}, nil
}

// attempt is one invocation that a rule judges.
type attempt struct {
	Rule
	history          breakglass.History
	invoker, profile string
	now              time.Time
}

// check runs the limits in their fixed order. The first that refuses answers.
func (a attempt) check() (breakglass.LimitDecision, error) {
	for _, limit := range []func() (*breakglass.LimitDecision, error){a.cooldown, a.userQuota, a.profileQuota} {
		refusal, err := limit()
		if err != nil {
			return breakglass.LimitDecision{}, err
		}
		if refusal != nil {
			return *refusal, nil
		}
	}
	return a.escalation()
}

// cooldown allows an attempt at exactly last+cooldown. A last invocation that
// lies in the future, because the clock was set back, is inside the cooldown.
func (a attempt) cooldown() (*breakglass.LimitDecision, error) {
	if a.Cooldown == 0 {
		return nil, nil
	}
	last, err := a.history.GetLastByInvokerAndProfile(a.invoker, a.profile)
	if err != nil || last == nil {
		return nil, err
	}
	until := last.CreatedAt.Add(a.Cooldown)
	if !a.now.Before(until) {
		return nil, nil
	}
	return a.refuse(until, breakglass.LimitCooldown,
		"%q last invoked profile %q at %s, and rule %q asks for a pause of %s.",
		a.invoker, a.profile, clock(last.CreatedAt), a.Name, rules.Words(a.Cooldown)), nil
}

func (a attempt) userQuota() (*breakglass.LimitDecision, error) {
	if a.MaxPerUser == 0 {
		return nil, nil
	}
	t, err := a.history.CountByInvokerSince(a.invoker, a.since(), a.MaxPerUser)
	if err != nil || t.Count < a.MaxPerUser {
		return nil, err
	}
	return a.refuse(t.Oldest.Add(a.QuotaWindow), breakglass.LimitUserQuota,
		"%q has used up the %d invocations, over all profiles, that rule %q allows a user within %s.",
		a.invoker, a.MaxPerUser, a.Name, rules.Words(a.QuotaWindow)), nil
}

func (a attempt) profileQuota() (*breakglass.LimitDecision, error) {
	if a.MaxPerProfile == 0 {
		return nil, nil
	}
	t, err := a.history.CountByProfileSince(a.profile, a.since(), a.MaxPerProfile)
	if err != nil || t.Count < a.MaxPerProfile {
		return nil, err
	}
	return a.refuse(t.Oldest.Add(a.QuotaWindow), breakglass.LimitProfileQuota,
		"Profile %q has used up the %d invocations, by all users together, that rule %q allows within %s.",
		a.profile, a.MaxPerProfile, a.Name, rules.Words(a.QuotaWindow)), nil
}

// countBeyond is how far past the threshold an alert still counts exactly.
const countBeyond = 100

// escalation permits, and flags the invocation that reaches the threshold and
// every further one.
func (a attempt) escalation() (breakglass.LimitDecision, error) {
	permit := breakglass.LimitDecision{Permit: true, Rule: a.Name}
	if a.EscalationThreshold == 0 {
		return permit, nil
	}
	t, err := a.history.CountByInvokerSince(a.invoker, a.since(), a.EscalationThreshold+countBeyond)
	if err != nil {
		return breakglass.LimitDecision{}, err
	}
	if count := t.Count + 1; count >= a.EscalationThreshold {
		permit.Escalate, permit.Count, permit.Threshold = true, count, a.EscalationThreshold
	}
	return permit, nil
}

// since is the end of what no longer counts: an event created exactly one
// window ago has left it.
func (a attempt) since() time.Time { return a.now.Add(-a.QuotaWindow) }

// refuse says until when the limit holds.
func (a attempt) refuse(until time.Time, limit breakglass.Limit, format string, args ...any) *breakglass.LimitDecision {
	wait := until.Sub(a.now)
	return &breakglass.LimitDecision{Rule: a.Name, Limit: limit, RetryAfter: wait,
		Message: fmt.Sprintf(format, args...) + fmt.Sprintf(" The next attempt can succeed in %s, at %s.", rules.Words(wait), clock(until))}
}

// clock writes a time in whole seconds, rounded up: whoever waits for it is
// not too early.
func clock(t time.Time) string {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		t = whole.Add(time.Second)
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
