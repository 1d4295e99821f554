package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"breakglass/internal/breakglass"
)

// Token is a static bearer token of one principal. Only the hash of the token
// is known here: the SHA-256 of its bytes, 64 hex characters. A principal may
// have several tokens, so that one can be replaced without an interruption.
type Token struct {
	Name   string   `yaml:"name"`
	SHA256 string   `yaml:"sha256"`
	Groups []string `yaml:"groups"`
}

// Members are the holders of a role. Names are exact: there are no wildcards.
type Members struct {
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
}

// Roles says who holds which role.
type Roles map[breakglass.Role]Members

// Of returns the roles of a principal, in the order of breakglass.Roles.
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

// Static authenticates by static bearer tokens, and knows their owners. It is
// safe for concurrent use. Principals that it returns share their slices: they
// are not to be changed.
type Static struct {
	hashes [][sha256.Size]byte
	owners []breakglass.Principal // of hashes[i]
	byName map[string]breakglass.Principal
}

var (
	_ Authenticator        = (*Static)(nil)
	_ breakglass.Directory = (*Static)(nil)
)

// New returns the way in by static tokens. Its error joins every problem of
// the configuration.
func New(tokens []Token, roles Roles) (*Static, error) {
	s := &Static{byName: map[string]breakglass.Principal{}}
	c := checker{folded: map[string]string{}, used: map[[sha256.Size]byte]int{}}
	for i, t := range tokens {
		c.where = fmt.Sprintf("auth.tokens[%d]", i)
		hash := c.token(i, t)
		p := breakglass.Principal{Name: t.Name, Groups: sorted(t.Groups)}
		p.Roles = roles.Of(p.Name, p.Groups)
		if other, ok := s.byName[p.Name]; ok && !slices.Equal(other.Groups, p.Groups) {
			c.fault("groups of %q differ from those of its other token", p.Name)
		}
		s.byName[p.Name] = p
		s.hashes = append(s.hashes, hash)
		s.owners = append(s.owners, p)
	}
	c.roles(roles)
	if len(c.faults) > 0 {
		return nil, errors.Join(c.faults...)
	}
	return s, nil
}

func sorted(groups []string) []string {
	out := append([]string{}, groups...) // not nil: it is shown as a JSON array
	slices.Sort(out)
	return slices.Compact(out)
}

// Authenticate implements Authenticator. It compares the hash of the token with
// every configured one and takes the same time wherever, or whether, one
// matches.
func (s *Static) Authenticate(r *http.Request) (breakglass.Principal, error) {
	token, err := bearer(r)
	if err != nil {
		return breakglass.Principal{}, err
	}
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range s.hashes {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], s.hashes[i][:]), i, found)
	}
	if found < 0 {
		return breakglass.Principal{}, unauthenticated(ErrInvalidCredentials, wrongToken)
	}
	return s.owners[found], nil
}

// Lookup implements breakglass.Directory.
func (s *Static) Lookup(name string) (breakglass.Principal, bool) {
	p, ok := s.byName[name]
	return p, ok
}

// checker collects the faults of a configuration.
type checker struct {
	where  string
	faults []error
	folded map[string]string // names by their folded form
	used   map[[sha256.Size]byte]int
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("%s: %s", c.where, fmt.Sprintf(format, args...)))
}

func (c *checker) token(i int, t Token) (hash [sha256.Size]byte) {
	c.name("name", t.Name)
	if strings.HasPrefix(t.Name, ":") {
		c.fault("name %q: names that begin with a colon are the server's own", t.Name)
	}
	// alice and Alice would be two people to quotas and stacking.
	fold := strings.ToLower(t.Name)
	if other, ok := c.folded[fold]; ok && other != t.Name {
		c.fault("name %q differs from %q only in upper and lower case", t.Name, other)
	}
	c.folded[fold] = t.Name
	for _, g := range t.Groups {
		c.name("group", g)
	}
	raw, err := hex.DecodeString(t.SHA256)
	if err != nil || len(raw) != sha256.Size {
		c.fault("sha256 must be 64 hex characters: the SHA-256 of the token")
		return hash
	}
	hash = [sha256.Size]byte(raw)
	if hash == sha256.Sum256(nil) {
		c.fault("sha256 is that of an empty token")
	}
	if first, ok := c.used[hash]; ok {
		c.fault("sha256 is also that of auth.tokens[%d]: a token has one owner", first)
	}
	c.used[hash] = i
	return hash
}

func (c *checker) roles(roles Roles) {
	c.where = "roles"
	for role, m := range roles {
		if !slices.Contains(breakglass.Roles(), role) {
			c.fault("there is no role %q", role)
		}
		for _, name := range slices.Concat(m.Users, m.Groups) {
			c.name(string(role), name)
			if name == "*" {
				c.fault("%s: \"*\" has no meaning here; name the people or groups", role)
			}
		}
	}
}

func (c *checker) name(what, name string) {
	if problem := breakglass.CheckName(name); problem != "" {
		c.fault("%s %q %s", what, name, problem)
	}
}
