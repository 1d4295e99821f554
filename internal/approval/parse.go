package approval

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
	"breakglass/internal/rules/window"
	"breakglass/internal/yamlfile"
)

// minWait is the shortest time that a request can wait: nobody approves anything
// within less.
const minWait = time.Minute

type fileRule struct {
	Name          string             `yaml:"name"`
	Profiles      []string           `yaml:"profiles"`
	Requesters    *filePeople        `yaml:"requesters"`
	Approvers     *filePeople        `yaml:"approvers"`
	Approvals     *int               `yaml:"approvals"`
	MaxDuration   *yamlfile.Duration `yaml:"max_duration"`
	MaxWait       *yamlfile.Duration `yaml:"max_wait"`
	RequireTicket bool               `yaml:"require_ticket"`
	MaxSession    *yamlfile.Duration `yaml:"max_session"`
	MaxRenewals   *int               `yaml:"max_renewals"`
	AutoApprove   []fileAuto         `yaml:"auto_approve"`
}

type filePeople struct {
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
}

type fileAuto struct {
	Users       []string           `yaml:"users"`
	Groups      []string           `yaml:"groups"`
	Profiles    []string           `yaml:"profiles"`
	Time        *window.File       `yaml:"time"`
	MaxDuration *yamlfile.Duration `yaml:"max_duration"`
}

// Parse reads a file of approval rules; name is what messages call it. The error
// is a yamlfile.Problems with everything that is wrong.
func Parse(name string, data []byte) (*Policy, error) {
	file, c := rules.Read(name, data, func(r fileRule) string { return r.Name },
		"for no access requests at all, leave approvals_file out of the configuration")
	p := &Policy{sha256: rules.SHA256(data)}
	for i, r := range file {
		p.rules = append(p.rules, rule{r.Profiles, r.rule(c, fmt.Sprintf("rules[%d]", i))})
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (r fileRule) rule(c *rules.Checker, at string) breakglass.ApprovalRule {
	c.Profiles(at+".profiles", r.Profiles)
	out := breakglass.ApprovalRule{
		Terms: breakglass.Terms{Rule: r.Name,
			MaxDuration: c.Duration(at+".max_duration", r.MaxDuration, breakglass.MaxRequestDuration, time.Second, breakglass.MaxRequestDuration),
			MaxSession:  c.Session(at+".max_session", r.MaxSession, 0),
			MaxRenewals: c.Renewals(at+".max_renewals", r.MaxRenewals)},
		Requesters:    breakglass.People{Users: []string{breakglass.Everybody}},
		Required:      c.Count(at+".approvals", r.Approvals, 1, 1, breakglass.MaxApprovals),
		RequireTicket: r.RequireTicket,
		MaxWait:       c.Duration(at+".max_wait", r.MaxWait, breakglass.DefaultRequestWait, minWait, breakglass.MaxRequestWait),
	}
	if r.Requesters != nil && c.Clean(at+".requesters") {
		out.Requesters = c.People(at+".requesters", r.Requesters.Users, r.Requesters.Groups)
	}
	switch {
	case r.Approvers == nil:
		c.Add(at+".approvers", "is required: who approves, as users, groups or both")
	case c.Clean(at + ".approvers"):
		out.Approvers = c.People(at+".approvers", r.Approvers.Users, r.Approvers.Groups)
		r.enough(c, at, out)
	}
	for i, auto := range r.AutoApprove {
		out.Auto = append(out.Auto, auto.approval(c, fmt.Sprintf("%s.auto_approve[%d]", at, i), r.Profiles, out.MaxDuration))
	}
	return out
}

// enough refuses a rule by which no request could ever be approved: nobody
// approves their own, and each approver counts once. Who is in a group isn't
// known here.
func (r fileRule) enough(c *rules.Checker, at string, out breakglass.ApprovalRule) {
	if !c.Clean(at+".approvers") || !c.Clean(at+".approvals") || !c.Clean(at+".requesters") || !listed(out.Approvers) {
		return
	}
	people := len(out.Approvers.Users)
	outsider := func(user string) bool { return !slices.Contains(out.Approvers.Users, user) }
	switch {
	case out.Required > people:
		c.Add(at+".approvals", "is %d, and approvers names %d: no request would ever be approved", out.Required, people)
	case out.Required == people && listed(out.Requesters) && !slices.ContainsFunc(out.Requesters.Users, outsider):
		c.Add(at+".approvals", "is %d, and each requester is one of the approvers, who are no more: nobody approves their own request, so none would ever be approved", people)
	}
}

// listed reports whether the people are known one by one.
func listed(p breakglass.People) bool {
	return len(p.Groups) == 0 && !slices.Contains(p.Users, breakglass.Everybody)
}

// approval checks one item of auto_approve against the rule that it is in.
func (a fileAuto) approval(c *rules.Checker, at string, profiles rules.Profiles, longest time.Duration) breakglass.AutoApproval {
	c.Profiles(at+".profiles", a.Profiles)
	for i, profile := range a.Profiles {
		if !strings.ContainsAny(profile, `*?[\`) && !profiles.Match(profile) {
			c.Add(fmt.Sprintf("%s.profiles[%d]", at, i), "%.64q is not one of the rule's profiles", profile)
		}
	}
	return breakglass.AutoApproval{
		People: c.People(at, a.Users, a.Groups), Profiles: rules.Profiles(a.Profiles), Window: a.Time.Window(c, at+".time"),
		MaxDuration: c.Duration(at+".max_duration", a.MaxDuration, longest, time.Second, longest),
	}
}
