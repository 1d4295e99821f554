package rules

import (
	"fmt"
	"slices"
	"strings"

	"breakglass/internal/breakglass"
)

// People checks the users and groups below a path, of which there must be one
// at least, and makes their names canonical.
func (c *Checker) People(at string, users, groups []string) breakglass.People {
	if len(users)+len(groups) == 0 {
		c.Add(at+".users", `needs at least one entry here or in groups; for everybody write users: ["%s"]`, breakglass.Everybody)
	}
	return breakglass.People{
		Users:  c.canonical(at+".users", users, breakglass.Everybody, breakglass.CanonicalName),
		Groups: c.canonical(at+".groups", groups, "", breakglass.CanonicalGroup),
	}
}

// canonical returns names in the form in which they compare, as form makes it.
// It refuses wildcards other than the given one, which would silently match
// nobody, and two spellings of one name.
func (c *Checker) canonical(at string, names []string, wildcard string, form func(string) (string, string)) []string {
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
			c.Add(item, `%.64q would match nobody: people and groups are named in full, and everybody is users: ["%s"]`, written, breakglass.Everybody)
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

// Union is everybody who is in one of the lists: each once, in order.
func Union(lists ...breakglass.People) breakglass.People {
	var all breakglass.People
	for _, p := range lists {
		all.Users, all.Groups = append(all.Users, p.Users...), append(all.Groups, p.Groups...)
	}
	for _, names := range []*[]string{&all.Users, &all.Groups} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return all
}
