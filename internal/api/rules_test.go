package api_test

import (
	"slices"
	"time"

	"breakglass/internal/breakglass"
)

// standing is a standing policy, by profile.
type standing map[string]standingRule

// standingRule says who has access, and until when.
type standingRule struct {
	people breakglass.People
	until  time.Time
	deny   bool
}

func (s standing) Decide(subject breakglass.Subject, profile string, at time.Time) breakglass.StandingDecision {
	r := s[profile]
	switch {
	case !r.people.Include(subject), !r.until.IsZero() && !at.Before(r.until):
		return breakglass.StandingDecision{Message: "No rule is about you."}
	case r.deny:
		return breakglass.StandingDecision{Rule: "standing-" + profile, Message: "A rule says no."}
	}
	return breakglass.StandingDecision{Permit: true, Rule: "standing-" + profile, Until: r.until, MaxSession: time.Hour}
}
func (s standing) Who(profile string) breakglass.People { return s[profile].people }
func (s standing) SHA256() string                       { return rulesSHA256 }

// approvals are the approval rules, by profile; "*" is about all others.
type approvals map[string]breakglass.ApprovalRule

func (a approvals) Find(profile string) (breakglass.ApprovalRule, bool) {
	r, ok := a[profile]
	if !ok {
		r, ok = a[breakglass.Everybody]
	}
	return r, ok
}
func (a approvals) SHA256() string { return rulesSHA256 }

type profilesOf []string

func (p profilesOf) Match(name string) bool { return slices.Contains(p, name) }

type always struct{}

func (always) Contains(time.Time) bool { return true }

// testStanding gives the engineers one profile for good.
func testStanding() standing {
	return standing{"standing": {people: breakglass.People{Groups: []string{"engineers"}}}}
}

// testApprovals lets engineers ask for some profiles. Security approves for most of
// them; for "shared" whoever may ask approves the requests of others, and "auto"
// needs nobody.
func testApprovals() approvals {
	a := approvals{}
	for _, profile := range []string{"prod", "shared", "auto", "ticketed", "standing"} {
		r := breakglass.ApprovalRule{
			Terms:      breakglass.Terms{Rule: "changes-" + profile, MaxDuration: 4 * time.Hour},
			Requesters: breakglass.People{Groups: []string{"engineers"}}, Approvers: breakglass.People{Groups: []string{"security"}},
			Required: 1, MaxWait: 24 * time.Hour, RequireTicket: profile == "ticketed",
		}
		switch profile {
		case "shared":
			r.Approvers = r.Requesters
		case "auto":
			r.Auto = []breakglass.AutoApproval{{People: r.Requesters, Profiles: profilesOf{"auto"}, Window: always{}, MaxDuration: 4 * time.Hour}}
		}
		a[profile] = r
	}
	return a
}
