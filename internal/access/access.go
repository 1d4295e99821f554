// Package access decides who has access to a profile without asking anybody:
// access.yaml → a pure decision.
package access

import (
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
	"breakglass/internal/rules/window"
)

// Policy is the content of a file of access rules. It never changes, so it is
// safe for concurrent use. Parse makes one; the zero Policy allows nothing.
type Policy struct {
	rules  []Rule
	sha256 string
}

// Rule gives some people access to some profiles, or keeps it from them.
type Rule struct {
	Name       string
	Deny       bool
	Profiles   rules.Profiles
	People     breakglass.People
	Window     *window.Window // nil: always
	MaxSession time.Duration  // zero where Deny
}

// SHA256 is the hex digest of the file.
func (p *Policy) SHA256() string { return p.sha256 }

// about reports whether the rule is about the subject and the profile, at any time.
func (r *Rule) about(subject breakglass.Subject, profile string) bool {
	return r.Profiles.Match(profile) && r.People.Include(subject)
}

// Decide judges access to a profile at one instant. The first rule about both
// that is within its window decides; outside its window a rule is as if it
// weren't there.
func (p *Policy) Decide(subject breakglass.Subject, profile string, at time.Time) breakglass.StandingDecision {
	rule, until := p.find(subject, profile, at)
	switch {
	case rule == nil:
		return breakglass.StandingDecision{Message: p.noRule(subject, profile, at)}
	case rule.Deny:
		return breakglass.StandingDecision{Rule: rule.Name, Until: until, Message: rule.denial(profile, at)}
	}
	return breakglass.StandingDecision{Permit: true, Rule: rule.Name, Until: until, MaxSession: rule.MaxSession}
}

// find returns the rule that decides, and until when it does: its own window
// closes, or that of a deny rule above it opens. Zero is no end; no rule, nil.
func (p *Policy) find(subject breakglass.Subject, profile string, at time.Time) (rule *Rule, until time.Time) {
	for i := range p.rules {
		r := &p.rules[i]
		switch {
		case !r.about(subject, profile):
		case r.Window.Contains(at):
			return r, earlier(until, r.Window.Until(at))
		case r.Deny:
			until = earlier(until, r.Window.NextWindow(at))
		}
	}
	return nil, time.Time{}
}

// earlier returns the earlier of two instants of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Who names those whom an allow rule about the profile is about, whatever its
// window.
func (p *Policy) Who(profile string) breakglass.People {
	var lists []breakglass.People
	for _, r := range p.rules {
		if !r.Deny && r.Profiles.Match(profile) {
			lists = append(lists, r.People)
		}
	}
	return rules.Union(lists...)
}
