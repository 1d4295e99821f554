package authn

import (
	"fmt"

	"breakglass/internal/breakglass"
)

// Denied are the names, canonical, of those whom no way in lets in, however
// good their token is. It ends at once what one person has: tokens of an
// identity provider and sessions can't be taken back one by one.
type Denied map[string]bool

// DeniedMessage is what whoever is denied is told, once they have proved who
// they are.
const DeniedMessage = "This login is genuine, but this server doesn't let its owner in any more (auth.denied). Ask the operators."

// DenyNames returns the names in any spelling as Denied.
func DenyNames(names []string) Denied {
	d := Denied{}
	for _, n := range names {
		d[breakglass.Canonical(n)] = true
	}
	return d
}

// Has reports whether a canonical name is denied.
func (d Denied) Has(name string) bool { return d[name] }

func (d Denied) check(p breakglass.Principal) error {
	if !d.Has(p.Name) {
		return nil
	}
	return InvalidBecause(DeniedMessage, fmt.Errorf("%q is denied and came by %s", p.Name, p.Via))
}

// CheckDenied returns everything that is wrong with a list of names to deny.
func CheckDenied(names []string) []Problem {
	var ps []Problem
	for i, n := range names {
		if problem := breakglass.CheckPersonName(n); problem != "" {
			ps = append(ps, Problem{Path: fmt.Sprintf("auth.denied[%d]", i), Message: problem})
		}
	}
	return ps
}
