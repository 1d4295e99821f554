package awsiam

import (
	"breakglass/internal/breakglass"
)

// resolve returns the canonical name and the groups that the first matching rule
// gives to an identity; ok is false when no rule does, or when the name it gives
// can't be one. The account is part of every comparison, and so is the partition where it matters: role names are chosen by whoever
// runs an account.
func resolve(rules []Rule, id Identity) (name string, groups []string, ok bool) {
	for _, r := range rules {
		if !r.matches(id) {
			continue
		}
		name = r.Name
		if r.NameFrom == SessionName {
			name = id.Session + r.NameSuffix
		}
		name, problem := breakglass.CanonicalName(name)
		return name, r.Groups, problem == ""
	}
	return "", nil, false
}

func (r Rule) matches(id Identity) bool {
	if r.Account != id.Account || r.Partition != "" && r.Partition != id.Partition {
		return false
	}
	switch {
	case r.User != "":
		return r.User == id.User
	case r.Role != "":
		return r.Role == id.Role
	case r.PermissionSet != "":
		m := ssoRole.FindStringSubmatch(id.Role)
		return m != nil && m[1] == r.PermissionSet
	}
	return false
}
