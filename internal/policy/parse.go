package policy

import (
	"fmt"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
	"breakglass/internal/rules/window"
	"breakglass/internal/yamlfile"
)

type fileRule struct {
	Name          string             `yaml:"name"`
	Profiles      []string           `yaml:"profiles"`
	Users         []string           `yaml:"users"`
	Groups        []string           `yaml:"groups"`
	ReasonCodes   []string           `yaml:"allowed_reason_codes"`
	Time          *window.File       `yaml:"time"`
	MaxDuration   *yamlfile.Duration `yaml:"max_duration"`
	MaxSession    *yamlfile.Duration `yaml:"max_session"`
	MaxRenewals   *int               `yaml:"max_renewals"`
	MaxExtensions *int               `yaml:"max_extensions"`
	RequireTicket bool               `yaml:"require_ticket"`
	MFA           *fileMFA           `yaml:"mfa"`
}

type fileMFA struct {
	Required bool               `yaml:"required"`
	MaxAge   *yamlfile.Duration `yaml:"max_age"`
}

// Parse reads a policy file; name is what messages call it. The error is a
// yamlfile.Problems with everything that is wrong.
func Parse(name string, data []byte) (*Policy, error) {
	file, c := rules.Read(name, data, func(r fileRule) string { return r.Name }, "a policy without one refuses everybody")
	p := &Policy{sha256: rules.SHA256(data)}
	for i, r := range file {
		p.rules = append(p.rules, r.rule(c, fmt.Sprintf("rules[%d]", i)))
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// maxExtensions bounds max_extensions: no event lasts beyond its longest life
// anyway, however often it is extended.
const maxExtensions = 10

func (r fileRule) rule(c *rules.Checker, at string) Rule {
	c.Profiles(at+".profiles", r.Profiles)
	return Rule{
		Name: r.Name, Profiles: r.Profiles, People: c.People(at, r.Users, r.Groups),
		ReasonCodes: r.reasonCodes(c, at+".allowed_reason_codes"), Window: r.Time.Window(c, at+".time"),
		MaxDuration:   c.Duration(at+".max_duration", r.MaxDuration, breakglass.MaxDuration, time.Second, breakglass.MaxDuration),
		MaxSession:    c.Session(at+".max_session", r.MaxSession, 0),
		MaxRenewals:   c.Renewals(at+".max_renewals", r.MaxRenewals),
		MaxExtensions: c.Count(at+".max_extensions", r.MaxExtensions, 0, 0, maxExtensions),
		RequireTicket: r.RequireTicket, MFA: r.MFA.requirement(c, at+".mfa"),
	}
}

// reasonCodes returns the codes that the rule allows: none written means all.
func (r fileRule) reasonCodes(c *rules.Checker, at string) []breakglass.ReasonCode {
	if len(r.ReasonCodes) == 0 {
		return breakglass.ReasonCodes()
	}
	codes := make([]breakglass.ReasonCode, len(r.ReasonCodes))
	for i, s := range r.ReasonCodes {
		codes[i] = breakglass.ReasonCode(s)
		if !codes[i].IsValid() {
			c.Add(fmt.Sprintf("%s[%d]", at, i), "%.64q is unknown: use %s", s, rules.List(breakglass.ReasonCodes(), "or"))
		}
	}
	c.Unique(at, r.ReasonCodes)
	return codes
}

// maxMFAAge bounds max_age: a login of another day proves nothing about tonight.
const maxMFAAge = 24 * time.Hour

func (m *fileMFA) requirement(c *rules.Checker, at string) breakglass.MFARequirement {
	if m == nil {
		return breakglass.MFARequirement{}
	}
	if m.MaxAge != nil && !m.Required {
		c.Add(at+".max_age", "has no meaning without required: true")
	}
	return breakglass.MFARequirement{Required: m.Required, MaxAge: c.Duration(at+".max_age", m.MaxAge, 0, time.Second, maxMFAAge)}
}
