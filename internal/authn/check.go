package authn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"breakglass/internal/breakglass"
)

// Problem is one thing that is wrong with a configuration. Message quotes no
// token and no hash.
type Problem struct {
	Path    string // as in auth.tokens[0].name
	Message string
}

// maxLabel bounds the label of a token, in bytes.
const maxLabel = 64

// Check returns everything that is wrong with tokens and roles.
func Check(tokens []Token, roles Roles) []Problem {
	c := checker{spelled: map[string]string{}, used: map[[sha256.Size]byte]int{}, groups: map[string][]string{}}
	for i, t := range tokens {
		c.token(fmt.Sprintf("auth.tokens[%d]", i), i, t)
	}
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		c.role(role, roles[role])
	}
	return c.problems
}

// checker collects the problems of a configuration.
type checker struct {
	problems []Problem
	spelled  map[string]string // names as they are written, by their canonical form
	used     map[[sha256.Size]byte]int
	groups   map[string][]string // by canonical name
}

func (c *checker) add(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) token(path string, i int, t Token) {
	name, ok := c.user(path+".name", t.Name)
	for j, g := range t.Groups {
		c.group(fmt.Sprintf("%s.groups[%d]", path, j), g)
	}
	groups := canonicalGroups(t.Groups)
	if first, seen := c.groups[name]; ok && seen && !slices.Equal(first, groups) {
		c.add(path+".groups", "differ from those of another token of %q: a principal has one set of groups", t.Name)
	}
	c.groups[name] = groups
	c.hash(path+".sha256", i, t.SHA256)
	if problem := breakglass.CheckName(t.Label); t.Label != "" && problem != "" {
		c.add(path+".label", "%s", problem)
	} else if len(t.Label) > maxLabel {
		c.add(path+".label", "must have at most %d characters", maxLabel)
	}
	if !t.Expires.IsZero() && !time.Time(t.NotBefore).Before(time.Time(t.Expires)) {
		c.add(path+".expires", "must be later than not_before")
	}
	for j, network := range t.AllowedFrom {
		if _, err := parseNetwork(network); err != nil {
			c.add(fmt.Sprintf("%s.allowed_from[%d]", path, j), "%s", err)
		}
	}
	if t.AllowedFrom != nil && len(t.AllowedFrom) == 0 {
		c.add(path+".allowed_from", "must name a network, or be left out: an empty list would be taken for any address")
	}
}

func (c *checker) hash(path string, i int, text string) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		// The value may be a token put here by mistake: it is not repeated.
		c.add(path, "must be the SHA-256 of the token as 64 hex characters: breakglassd token new prints both")
		return
	}
	hash := [sha256.Size]byte(raw)
	if hash == sha256.Sum256(nil) {
		c.add(path, "is the SHA-256 of nothing")
	}
	if first, ok := c.used[hash]; ok {
		c.add(path, "is the same token as auth.tokens[%d]", first)
		return
	}
	c.used[hash] = i
}

func (c *checker) role(role breakglass.Role, m Members) {
	path := "roles." + string(role)
	if !slices.Contains(breakglass.Roles(), role) {
		c.add(path, "there is no such role")
	}
	for i, u := range m.Users {
		c.user(fmt.Sprintf("%s.users[%d]", path, i), u)
	}
	for i, g := range m.Groups {
		at := fmt.Sprintf("%s.groups[%d]", path, i)
		if c.group(at, g); g == "*" {
			c.add(at, `"*" has no meaning here: name the groups`)
		}
	}
}

// user checks a name and returns its canonical form.
func (c *checker) user(path, written string) (name string, ok bool) {
	name, problem := breakglass.CanonicalName(written)
	if problem == "" {
		problem = reserved(name)
	}
	if problem != "" {
		c.add(path, "%s", problem)
		return "", false
	}
	if other, seen := c.spelled[name]; seen && other != written {
		c.add(path, "%q is another spelling of %q: write one name in one way, best as %q", written, other, name)
	}
	c.spelled[name] = written
	return name, true
}

func (c *checker) group(path, name string) {
	if _, problem := breakglass.CanonicalGroup(name); problem != "" {
		c.add(path, "%s", problem)
	}
}
