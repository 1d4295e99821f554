package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// Token is a static bearer token of one principal. Only the hash of the token
// is known here: the SHA-256 of its bytes, 64 hex characters. A principal may
// have several tokens, so that one can be replaced without an interruption.
type Token struct {
	Name   string   `yaml:"name"`
	SHA256 string   `yaml:"sha256"`
	Groups []string `yaml:"groups"`
	// Label tells the tokens of a principal apart in the audit trail.
	Label string `yaml:"label"`
	// NotBefore and Expires bound the token's life: it works from NotBefore on
	// and until just before Expires.
	NotBefore Instant `yaml:"not_before"`
	Expires   Instant `yaml:"expires"`
	// AllowedFrom are the networks that it works from; none means any address.
	AllowedFrom []string `yaml:"allowed_from"`
}

// Static authenticates by static bearer tokens, and knows their owners. It is
// safe for concurrent use. Principals that it returns share their slices: they
// are not to be changed.
type Static struct {
	now    func() time.Time
	roles  Roles
	hashes [][sha256.Size]byte
	tokens []known          // of hashes[i]
	byName map[string][]int // tokens of an owner
	denied Denied
}

// known is a token that somebody may present.
type known struct {
	owner              breakglass.Principal
	notBefore, expires time.Time
	from               []netip.Prefix
}

var (
	_ Authenticator        = (*Static)(nil)
	_ breakglass.Directory = (*Static)(nil)
)

// New returns the way in by static tokens. Its error joins every problem of
// the configuration.
func New(tokens []Token, roles Roles) (*Static, error) { return NewAt(tokens, roles, time.Now) }

// NewAt is New with a clock of the caller's, and names that no way in lets in.
func NewAt(tokens []Token, roles Roles, now func() time.Time, denied ...string) (*Static, error) {
	var errs []error
	for _, p := range Check(tokens, roles) {
		errs = append(errs, errors.New(p.Path+": "+p.Message))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s := &Static{now: now, roles: roles.canonical(), byName: map[string][]int{}, denied: DenyNames(denied)}
	for i, t := range tokens {
		hash, err := hex.DecodeString(t.SHA256)
		if err != nil {
			return nil, err // can't be: it is checked
		}
		via := breakglass.Via{Method: breakglass.MethodToken, Source: t.Label}
		// The configuration may write a name in any spelling, unlike a login.
		owner, err := s.roles.Principal(Identity{Name: breakglass.Canonical(t.Name), Groups: t.Groups, Via: via})
		if err != nil {
			return nil, fmt.Errorf("auth.tokens[%d]: %w", i, err)
		}
		k := known{owner: owner, notBefore: time.Time(t.NotBefore), expires: time.Time(t.Expires)}
		for _, network := range t.AllowedFrom {
			prefix, err := parseNetwork(network)
			if err != nil {
				return nil, err
			}
			k.from = append(k.from, prefix)
		}
		s.hashes = append(s.hashes, [sha256.Size]byte(hash))
		s.tokens = append(s.tokens, k)
		s.byName[owner.Name] = append(s.byName[owner.Name], i)
	}
	return s, nil
}

// Authenticate implements Authenticator.
func (s *Static) Authenticate(r *http.Request) (breakglass.Principal, error) {
	token, err := bearer(r)
	if err != nil {
		return breakglass.Principal{}, err
	}
	return s.principal(r, token)
}

// principal compares the hash of the token with every configured one and takes
// the same time wherever, or whether, one matches.
func (s *Static) principal(r *http.Request, token string) (breakglass.Principal, error) {
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i := range s.hashes {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], s.hashes[i][:]), i, found)
	}
	if found < 0 {
		return breakglass.Principal{}, errWrongToken
	}
	k := &s.tokens[found]
	if err := k.usable(r, s.now()); err != nil {
		return breakglass.Principal{}, err
	}
	if err := s.denied.check(k.owner); err != nil {
		return breakglass.Principal{}, err
	}
	return k.owner, nil
}

// letIn is the one principal of an identity that another way in has told,
// unless nobody of that name is let in.
func (s *Static) letIn(id Identity) (breakglass.Principal, error) {
	p, err := s.roles.Principal(id)
	if err == nil {
		err = s.denied.check(p)
	}
	if err != nil {
		return breakglass.Principal{}, err
	}
	return p, nil
}

var errWrongToken = unauthenticated(ErrInvalidCredentials, wrongToken)

// usable says whether the token works here and now. Whoever asks holds it, so
// the dates are no secret. From a place that it isn't meant for, it looks like
// any wrong token: there it is probably in the wrong hands.
func (k *known) usable(r *http.Request, now time.Time) error {
	switch {
	case len(k.from) > 0 && !within(k.from, ClientAddr(r)):
		return Invalid(fmt.Errorf("a token of %q was used from %s, where it is not allowed", k.owner.Name, ClientAddr(r)))
	case !k.started(now):
		return InvalidBecause(fmt.Sprintf("This token is not valid before %s.", k.notBefore.Format(time.RFC3339)),
			fmt.Errorf("a token of %q is not valid yet", k.owner.Name))
	case k.ended(now):
		return InvalidBecause(fmt.Sprintf("This token expired at %s. Ask the operators of this server for a new one.", k.expires.Format(time.RFC3339)),
			fmt.Errorf("a token of %q has expired", k.owner.Name))
	}
	return nil
}

func (k *known) started(now time.Time) bool { return !now.Before(k.notBefore) }
func (k *known) ended(now time.Time) bool   { return !k.expires.IsZero() && !now.Before(k.expires) }

func within(networks []netip.Prefix, addr netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// Lookup implements breakglass.Directory. Whoever has no token that is valid now
// is nobody, and so is who is denied: what belonged to an owner is not to be had
// in their name after their last token has ended.
func (s *Static) Lookup(name string) (breakglass.Principal, bool) {
	now := s.now()
	name = breakglass.Canonical(name)
	if s.denied.Has(name) {
		return breakglass.Principal{}, false
	}
	for _, i := range s.byName[name] {
		if k := &s.tokens[i]; k.started(now) && !k.ended(now) {
			p := k.owner // its groups are those of all tokens of the name
			p.Via = breakglass.Via{}
			return p, true
		}
	}
	return breakglass.Principal{}, false
}

// parseNetwork reads a network such as 10.0.0.0/8, or a single address.
func parseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%.64q must be a network such as 10.0.0.0/8, or an address", s)
		}
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%.64q must be a network such as 10.0.0.0/8, or an address", s)
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("%.64q has bits beyond its mask: write %s", s, prefix.Masked())
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%.64q must be written as an IPv4 network", s)
	}
	return prefix, nil
}
