package access

import (
	"fmt"
	"time"

	"breakglass/internal/rules"
	"breakglass/internal/rules/window"
	"breakglass/internal/yamlfile"
)

// defaultSession is the longest session where a rule doesn't say: it is what AWS
// gives by itself.
const defaultSession = time.Hour

// The effects of a rule.
const (
	allow = "allow"
	deny  = "deny"
)

type fileRule struct {
	Name       string             `yaml:"name"`
	Effect     string             `yaml:"effect"`
	Profiles   []string           `yaml:"profiles"`
	Users      []string           `yaml:"users"`
	Groups     []string           `yaml:"groups"`
	Time       *window.File       `yaml:"time"`
	MaxSession *yamlfile.Duration `yaml:"max_session"`
}

// Parse reads a file of access rules; name is what messages call it. The error
// is a yamlfile.Problems with everything that is wrong.
func Parse(name string, data []byte) (*Policy, error) {
	file, c := rules.Read(name, data, func(r fileRule) string { return r.Name },
		"for no standing access at all, leave access_file out of the configuration")
	p := &Policy{sha256: rules.SHA256(data)}
	for i, r := range file {
		p.rules = append(p.rules, r.rule(c, fmt.Sprintf("rules[%d]", i)))
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (r fileRule) rule(c *rules.Checker, at string) Rule {
	c.Profiles(at+".profiles", r.Profiles)
	out := Rule{Name: r.Name, Deny: r.Effect == deny, Profiles: r.Profiles, People: c.People(at, r.Users, r.Groups),
		Window: r.Time.Window(c, at+".time")}
	switch r.Effect {
	case allow:
		out.MaxSession = c.Session(at+".max_session", r.MaxSession, defaultSession)
	case deny:
		if r.MaxSession != nil {
			c.Add(at+".max_session", "has no meaning with effect: %s", deny)
		}
	case "":
		c.Add(at+".effect", "is required: %s or %s", allow, deny)
	default:
		c.Add(at+".effect", "%.64q is unknown: use %s or %s", r.Effect, allow, deny)
	}
	return out
}
