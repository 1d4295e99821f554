package authn

import (
	"fmt"
	"slices"

	"breakglass/internal/breakglass"
)

// Members are the holders of a role. Names are in full: there are no wildcards.
type Members struct {
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
}

// Roles says who holds which role.
type Roles map[breakglass.Role]Members

// Of returns the roles of a principal, in the order of breakglass.Roles. The
// names and groups on both sides are canonical.
func (r Roles) Of(name string, groups []string) []breakglass.Role {
	roles := []breakglass.Role{}
	for _, role := range breakglass.Roles() {
		m := r[role]
		if slices.Contains(m.Users, name) || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(m.Groups, g) }) {
			roles = append(roles, role)
		}
	}
	return roles
}

// Principal makes the one principal of an identity, whatever the way in: the
// name canonical, the groups in one form and order, and the roles. An identity
// whose name can't be that of a person is not let in.
//
// Groups in bad form are left out. Neither a policy rule nor a role can name
// them, so that takes no access away and gives none.
func (r Roles) Principal(id Identity) (breakglass.Principal, error) {
	name, problem := breakglass.LoginName(id.Name)
	if problem == "" {
		problem = reserved(name)
	}
	if problem != "" {
		return breakglass.Principal{}, InvalidBecause(fmt.Sprintf("The login is genuine, but its name can't be used here: it %s.", problem),
			fmt.Errorf("name %.256q %s", id.Name, problem))
	}
	groups := canonicalGroups(id.Groups)
	return breakglass.Principal{Name: name, Groups: groups, Roles: r.Of(name, groups), Via: id.Via, Assurance: id.Assurance}, nil
}

// reserved returns why a name is no caller's, or "".
func reserved(name string) string {
	switch {
	case name[0] == ':':
		return "must not begin with a colon: such names are the server's own"
	case name == "*":
		return "must not be *, which stands for everybody in policies"
	}
	return ""
}

func canonicalGroups(groups []string) []string {
	out := make([]string, 0, len(groups)) // not nil: it is shown as a JSON array
	for _, g := range groups {
		if group, problem := breakglass.CanonicalGroup(g); problem == "" {
			out = append(out, group)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// canonical is r with every name and group in the form in which they compare.
func (r Roles) canonical() Roles {
	out := Roles{}
	for role, m := range r {
		var users []string
		for _, u := range m.Users {
			users = append(users, breakglass.Canonical(u))
		}
		out[role] = Members{Users: users, Groups: canonicalGroups(m.Groups)}
	}
	return out
}
