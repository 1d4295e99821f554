package app

import (
	"fmt"
	"maps"
	"slices"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	profilerules "breakglass/internal/rules"
	"breakglass/internal/yamlfile"
)

// source is a file of rules as it was read.
type source struct {
	path string
	data []byte
}

// named is what rules of every kind say about profiles and people.
type named struct {
	Rules []struct {
		Profiles    []string      `yaml:"profiles"`
		Users       []string      `yaml:"users"`
		Groups      []string      `yaml:"groups"`
		Requesters  namedPeople   `yaml:"requesters"`
		Approvers   namedPeople   `yaml:"approvers"`
		AutoApprove []namedPeople `yaml:"auto_approve"`
	} `yaml:"rules"`
}

type namedPeople struct {
	Profiles []string `yaml:"profiles"`
	Users    []string `yaml:"users"`
	Groups   []string `yaml:"groups"`
}

// people are who can call the server, as far as its configuration knows.
type people struct{ users, groups map[string]bool }

// staticPeople knows the owners of static tokens. Another way in, whose people
// the configuration doesn't list, makes warnings about strangers guesses.
func staticPeople(cfg config.Config) people {
	p := people{users: map[string]bool{breakglass.Everybody: true}, groups: map[string]bool{}}
	for _, t := range cfg.Auth.Tokens {
		p.users[breakglass.Canonical(t.Name)] = true
		for _, g := range t.Groups {
			p.groups[g] = true
		}
	}
	return p
}

// strangers warns about names in rules and roles that nothing in the
// configuration has: a misspelt name grants nobody anything, at night.
func (c *checker) strangers(files ...*source) {
	known := staticPeople(c.Config)
	for _, role := range slices.Sorted(maps.Keys(c.Config.RoleMembers())) {
		m := c.Config.RoleMembers()[role]
		c.people(c.File, "roles."+string(role), m.Users, m.Groups, known)
	}
	for _, f := range files {
		if f == nil {
			continue
		}
		content, at, _ := yamlfile.Decode[named](f.path, f.data) // its problems are reported already
		for i, r := range content.Rules {
			path := fmt.Sprintf("rules[%d]", i)
			c.named(at, path, namedPeople{r.Profiles, r.Users, r.Groups}, known)
			c.named(at, path+".requesters", r.Requesters, known)
			c.named(at, path+".approvers", r.Approvers, known)
			for j, auto := range r.AutoApprove {
				c.named(at, fmt.Sprintf("%s.auto_approve[%d]", path, j), auto, known)
			}
		}
	}
}

func (c *checker) named(at *yamlfile.File, path string, n namedPeople, known people) {
	profiles := slices.Collect(maps.Keys(c.Config.Profiles))
	for j, pattern := range n.Profiles {
		if !slices.ContainsFunc(profiles, profilerules.Profiles{pattern}.Match) {
			c.warn(at.Problem(fmt.Sprintf("%s.profiles[%d]", path, j), fmt.Sprintf("no profile of the configuration is %.64q", pattern)))
		}
	}
	c.people(at, path, n.Users, n.Groups, known)
}

func (c *checker) people(at *yamlfile.File, path string, users, groups []string, known people) {
	if len(c.Config.Auth.OIDC) > 0 || c.Config.Auth.AWS != nil {
		return // people whom the configuration doesn't list
	}
	for i, u := range users {
		if !known.users[breakglass.Canonical(u)] && breakglass.CheckName(u) == "" {
			c.warn(at.Problem(fmt.Sprintf("%s.users[%d]", path, i), fmt.Sprintf("no token of auth.tokens belongs to %.64q", u)))
		}
	}
	for i, g := range groups {
		if !known.groups[g] && breakglass.CheckName(g) == "" {
			c.warn(at.Problem(fmt.Sprintf("%s.groups[%d]", path, i), fmt.Sprintf("no token of auth.tokens has the group %.64q", g)))
		}
	}
}
