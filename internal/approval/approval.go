// Package approval says who approves access requests: approvals.yaml → the rule
// for a profile.
package approval

import (
	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
)

// Policy is the content of a file of approval rules. It never changes, so it is
// safe for concurrent use. Parse makes one; by the zero Policy nobody can ask
// for anything.
type Policy struct {
	rules  []rule
	sha256 string
}

type rule struct {
	profiles rules.Profiles
	breakglass.ApprovalRule
}

// SHA256 is the hex digest of the file.
func (p *Policy) SHA256() string { return p.sha256 }

// Find returns the first rule about the profile. It alone decides.
func (p *Policy) Find(profile string) (breakglass.ApprovalRule, bool) {
	for _, r := range p.rules {
		if r.profiles.Match(profile) {
			return r.ApprovalRule, true
		}
	}
	return breakglass.ApprovalRule{}, false
}
