// Package policy decides who may break the glass: on which profile, for which
// reason, when and for how long. Decisions are pure functions of the policy
// and the request.
package policy

import (
	"slices"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
	"breakglass/internal/rules/window"
)

// Policy is the content of a policy file. It never changes, so it is safe for
// concurrent use. Parse makes one; the zero Policy allows nothing.
type Policy struct {
	rules  []Rule
	sha256 string
}

// Rule grants some people access to some profiles, under its conditions.
type Rule struct {
	Name          string
	Profiles      rules.Profiles
	People        breakglass.People
	ReasonCodes   []breakglass.ReasonCode // that are allowed; never empty
	Window        *window.Window          // nil: always
	MaxDuration   time.Duration
	MaxSession    time.Duration // zero: as long as the event lasts
	MaxRenewals   *int          // nil: any number
	MaxExtensions int
	RequireTicket bool
	MFA           breakglass.MFARequirement
}

// SHA256 is the hex digest of the file.
func (p *Policy) SHA256() string { return p.sha256 }

// FindPolicyRule returns the first rule for the subject and the profile; nil
// when there is none. It alone decides: when one of its conditions fails, no
// later rule is looked at.
func (p *Policy) FindPolicyRule(subject breakglass.Subject, profile string) *Rule {
	for i := range p.rules {
		if r := &p.rules[i]; r.Profiles.Match(profile) && r.People.Include(subject) {
			return r
		}
	}
	return nil
}

// Decide judges one invocation.
func (p *Policy) Decide(req breakglass.PolicyRequest) breakglass.PolicyDecision {
	rule := p.FindPolicyRule(req.Subject, req.Profile)
	if rule == nil {
		return noRule(req)
	}
	if failed := rule.failures(req); len(failed) > 0 {
		return rule.refuse(req, failed)
	}
	return breakglass.PolicyDecision{Permit: true, Rule: rule.Name, MaxDuration: rule.MaxDuration, MFA: rule.MFA}
}

// WantsMFA reports whether any rule asks for a second factor.
func (p *Policy) WantsMFA() bool {
	return slices.ContainsFunc(p.rules, func(r Rule) bool { return r.MFA.Required })
}

// Offer returns what the subject may invoke on the profile at that instant.
func (p *Policy) Offer(subject breakglass.Subject, profile string, at time.Time) (breakglass.Offer, bool) {
	rule := p.FindPolicyRule(subject, profile)
	if rule == nil || !rule.Window.Contains(at) {
		return breakglass.Offer{}, false
	}
	return breakglass.Offer{Rule: rule.Name, MaxDuration: rule.MaxDuration,
		ReasonCodes: slices.Clone(rule.ReasonCodes), TicketRequired: rule.RequireTicket,
		MFARequired: rule.MFA.Required}, true
}

// Terms returns what the rule about the subject and the profile says of events
// that are active already. Its window and its reason codes were looked at when
// the glass was broken.
func (p *Policy) Terms(subject breakglass.Subject, profile string) (breakglass.Terms, bool) {
	rule := p.FindPolicyRule(subject, profile)
	if rule == nil {
		return breakglass.Terms{}, false
	}
	return breakglass.Terms{Rule: rule.Name, MaxDuration: rule.MaxDuration, MaxSession: rule.MaxSession,
		MaxRenewals: rule.MaxRenewals, MaxExtensions: rule.MaxExtensions}, true
}

// Who names those whom a rule about the profile is about, whatever its conditions.
func (p *Policy) Who(profile string) breakglass.People {
	var lists []breakglass.People
	for _, r := range p.rules {
		if r.Profiles.Match(profile) {
			lists = append(lists, r.People)
		}
	}
	return rules.Union(lists...)
}
