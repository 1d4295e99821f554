package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
	"breakglass/internal/yamlfile"
)

// file is the form of a policy file.
type file struct {
	Version string     `yaml:"version"`
	Rules   []fileRule `yaml:"rules"`
}

type fileRule struct {
	Name          string             `yaml:"name"`
	Profiles      []string           `yaml:"profiles"`
	Users         []string           `yaml:"users"`
	Groups        []string           `yaml:"groups"`
	ReasonCodes   []string           `yaml:"allowed_reason_codes"`
	Time          *fileTime          `yaml:"time"`
	MaxDuration   *yamlfile.Duration `yaml:"max_duration"`
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
	f, at, problems := yamlfile.Decode[file](name, data)
	if len(problems) > 0 && f.Version == "" && len(f.Rules) == 0 {
		return nil, problems.Err() // nothing could be read: what is missing would only be noise
	}
	c := rules.NewChecker(at, problems)
	names := make([]string, len(f.Rules))
	for i, r := range f.Rules {
		names[i] = r.Name
	}
	c.Head(f.Version, names, "a policy without one refuses everybody")
	sum := sha256.Sum256(data)
	p := &Policy{sha256: hex.EncodeToString(sum[:])}
	for i, r := range f.Rules {
		p.rules = append(p.rules, r.rule(c, fmt.Sprintf("rules[%d]", i)))
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (r fileRule) rule(c *rules.Checker, at string) Rule {
	c.Profiles(at+".profiles", r.Profiles)
	if len(r.Users)+len(r.Groups) == 0 {
		c.Add(at+".users", `needs at least one entry here or in groups; for everybody write users: ["%s"]`, Everybody)
	}
	return Rule{
		Name: r.Name, Profiles: r.Profiles,
		Users:       canonical(c, at+".users", r.Users, Everybody, breakglass.CanonicalName),
		Groups:      canonical(c, at+".groups", r.Groups, "", breakglass.CanonicalGroup),
		ReasonCodes: r.reasonCodes(c, at+".allowed_reason_codes"), Window: r.Time.window(c, at+".time"),
		MaxDuration: r.maxDuration(c, at+".max_duration"), RequireTicket: r.RequireTicket,
		MFA: r.MFA.requirement(c, at+".mfa"),
	}
}

// canonical returns names in the form in which they compare, as form makes it.
// It refuses wildcards other than the given one, which would silently match
// nobody, and two spellings of one name.
func canonical(c *rules.Checker, at string, names []string, wildcard string, form func(string) (string, string)) []string {
	var out []string
	first := map[string]int{}
	for i, written := range names {
		item := fmt.Sprintf("%s[%d]", at, i)
		name, problem := form(written)
		if problem != "" {
			c.Add(item, "%s", problem)
			continue
		}
		if strings.Contains(name, "*") && name != wildcard {
			c.Add(item, `%.64q would match nobody: people and groups are named in full, and everybody is users: ["%s"]`, written, Everybody)
		}
		switch before, dup := first[name]; {
		case dup && names[before] == written:
			c.Add(item, "%.64q is there twice", written)
		case dup:
			c.Add(item, "%.64q is another spelling of %.64q", written, names[before])
		default:
			first[name] = i
		}
		out = append(out, name)
	}
	return out
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
			c.Add(fmt.Sprintf("%s[%d]", at, i), "%.64q is unknown: use %s", s, list(breakglass.ReasonCodes(), "or"))
		}
	}
	c.Unique(at, r.ReasonCodes)
	return codes
}

func (r fileRule) maxDuration(c *rules.Checker, at string) time.Duration {
	if r.MaxDuration == nil {
		return breakglass.MaxDuration
	}
	d := time.Duration(*r.MaxDuration)
	if d < time.Second || d > breakglass.MaxDuration || d%time.Second != 0 {
		c.Add(at, "must be whole seconds from 1s to %s, not %s", rules.Words(breakglass.MaxDuration), d)
	}
	return d
}

// maxMFAAge bounds max_age: a login of another day proves nothing about tonight.
const maxMFAAge = 24 * time.Hour

func (m *fileMFA) requirement(c *rules.Checker, at string) breakglass.MFARequirement {
	if m == nil {
		return breakglass.MFARequirement{}
	}
	need := breakglass.MFARequirement{Required: m.Required}
	if m.MaxAge == nil {
		return need
	}
	need.MaxAge = time.Duration(*m.MaxAge)
	if !m.Required {
		c.Add(at+".max_age", "has no meaning without required: true")
	}
	if need.MaxAge < time.Second || need.MaxAge > maxMFAAge || need.MaxAge%time.Second != 0 {
		c.Add(at+".max_age", "must be whole seconds from 1s to %s, not %s", rules.Words(maxMFAAge), need.MaxAge)
	}
	return need
}
