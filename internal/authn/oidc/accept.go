package oidc

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// refusal is why a token that the issuer signed is not accepted. Its text is
// for the caller, who has the token and can read it; detail is for the log.
type refusal struct{ message, detail string }

func (r *refusal) Error() string { return r.message + " " + r.detail }

func refuse(message, format string, args ...any) error {
	return &refusal{message, fmt.Sprintf(format, args...)}
}

const (
	elsewhere = "The token is not meant for this server."
	badClaims = "The token lacks what this server wants of it."
)

// accept checks the claims of a token whose signature, algorithm and issuer
// are good, and says who it speaks for, as the issuer spells it.
func (c Config) accept(cl claims, now time.Time) (authn.Identity, error) {
	if iss, err := cl.text("iss"); err != nil || iss != c.Issuer {
		return authn.Identity{}, refuse(elsewhere, "the issuer is another one")
	}
	if err := c.checkAudience(cl); err != nil {
		return authn.Identity{}, err
	}
	if err := checkKind(cl); err != nil {
		return authn.Identity{}, err
	}
	if err := c.checkTimes(cl, now); err != nil {
		return authn.Identity{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		if !cl.is(name, c.RequiredClaims[name]) {
			return authn.Identity{}, refuse(fmt.Sprintf("The claim %q of the token is not what this server requires.", name), "see required_claims")
		}
	}
	return c.identify(cl)
}

func (c Config) checkAudience(cl claims) error {
	audiences, err := cl.texts("aud")
	if err != nil {
		return refuse(elsewhere, "%v", err)
	}
	if !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(c.Audiences, a) }) {
		return refuse(elsewhere, "aud %.200q holds none of the audiences", audiences)
	}
	// OpenID Connect Core 1.0, section 3.1.3.7: with several audiences, azp says
	// who asked for the token. Any of them could otherwise use it here.
	if len(audiences) == 1 && len(c.AuthorizedParties) == 0 {
		return nil
	}
	party, err := cl.text("azp")
	if err != nil || !slices.Contains(c.parties(), party) {
		return refuse(elsewhere, "azp is none of the authorized parties")
	}
	return nil
}

// notBearer are claims of tokens that say something else than "the bearer is
// this person": a logout or another event (RFC 8417), a token that its bearer
// has to prove a key for (RFC 7800), one that somebody acts with for another
// (RFC 8693).
var notBearer = []string{"events", "cnf", "act"}

// checkKind refuses tokens that the same issuer signs for other purposes with
// the same audience. Some issuers say the kind in a claim instead of the header.
func checkKind(cl claims) error {
	for _, name := range notBearer {
		if _, there := cl[name]; there {
			return refuse(badClaims, "claim %q makes it no bearer token of a person", name)
		}
	}
	if _, there := cl["typ"]; !there {
		return nil
	}
	kind, err := cl.text("typ")
	if err != nil || slices.Contains([]string{"refresh", "offline", "logout"}, strings.ToLower(kind)) {
		return refuse(badClaims, "claim typ %.64q says that it is a token for the issuer itself", kind)
	}
	return nil
}

func (c Config) checkTimes(cl claims, now time.Time) error {
	exp, ok, err := cl.instant("exp")
	if err != nil || !ok {
		return refuse(badClaims, "exp is missing or no time")
	}
	if !now.Before(exp.Add(c.skew())) {
		return refuse("The token has expired: log in again.", "exp %s", exp.UTC().Format(time.RFC3339))
	}
	iat, ok, err := cl.instant("iat")
	if err != nil || !ok {
		return refuse(badClaims, "iat is missing or no time")
	}
	if exp.Sub(iat) > c.maxLifetime() {
		return refuse("The token is good for longer than this server takes tokens for.", "exp is %s after iat, max_lifetime is %s", exp.Sub(iat), c.maxLifetime())
	}
	nbf, _, err := cl.instant("nbf")
	if err != nil {
		return refuse(badClaims, "%v", err)
	}
	for _, start := range []time.Time{iat, nbf} {
		if start.After(now.Add(c.skew())) {
			return refuse("The token is from the future: the clocks of its issuer and this server differ.", "from %s", start.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// maxGroups bounds what a token can make every policy decision look at.
const maxGroups = 1000

func (c Config) identify(cl claims) (authn.Identity, error) {
	name, err := cl.text(c.UsernameClaim)
	if err != nil {
		return authn.Identity{}, refuse(fmt.Sprintf("The token must have the name of its owner in the claim %q, as a string.", c.UsernameClaim), "%v", err)
	}
	// An address that nobody verified is a name that its owner chose. An issuer
	// that says nothing about it hasn't said that it is verified.
	if c.UsernameClaim == emailClaim && c.EmailVerified != NotRequired && !cl.is("email_verified", "true") {
		return authn.Identity{}, refuse("The e-mail address in the token is not verified.", "email_verified is not true")
	}
	if name == "" || strings.HasPrefix(c.NamePrefix+name, ":") {
		return authn.Identity{}, refuse(fmt.Sprintf("The name in the claim %q of the token must not be empty and not begin with a colon.", c.UsernameClaim), "with name_prefix %q", c.NamePrefix)
	}
	source, err := c.source(cl)
	if err != nil {
		return authn.Identity{}, err
	}
	id := authn.Identity{Name: c.NamePrefix + name, Via: breakglass.Via{Method: breakglass.MethodOIDC, Source: source}, Assurance: assurance(cl)}
	id.Assurance.Factor = c.MFA.factor(id.Assurance)
	if problem := breakglass.CheckPersonName(id.Name); problem != "" {
		return authn.Identity{}, refuse(fmt.Sprintf("The name in the claim %q of the token can't be taken: it %s.", c.UsernameClaim, problem), "with name_prefix %q", c.NamePrefix)
	}
	if c.GroupsClaim != "" {
		groups, err := cl.texts(c.GroupsClaim)
		if err != nil {
			return authn.Identity{}, refuse(badClaims, "%v", err)
		}
		if len(groups) > maxGroups {
			return authn.Identity{}, refuse(badClaims, "claim %q has more than %d groups", c.GroupsClaim, maxGroups)
		}
		for _, g := range groups {
			id.Groups = append(id.Groups, c.GroupPrefix+g)
		}
	}
	return id, nil
}

// maxSubject bounds the subject in what is on record; longer ones stand there
// as their SHA-256. OpenID Connect allows 255 bytes.
const maxSubject = 255

// source is what vouches for the name: the issuer and, behind a #, which an
// issuer can't hold, the account. The claim that the name is made of can move to
// another account; the subject never does (OpenID Connect Core 1.0, section 2).
func (c Config) source(cl claims) (string, error) {
	if _, there := cl["sub"]; !there {
		return c.Issuer, nil // access tokens of some issuers
	}
	sub, err := cl.text("sub")
	if err != nil || sub == "" {
		return "", refuse(badClaims, "claim sub is empty or no string")
	}
	if len(sub) > maxSubject {
		return fmt.Sprintf("%s#sha256:%x", c.Issuer, sha256.Sum256([]byte(sub))), nil
	}
	var b strings.Builder
	for _, ch := range []byte(sub) {
		if ch <= ' ' || ch >= 0x7f || ch == '%' {
			fmt.Fprintf(&b, "%%%02X", ch)
			continue
		}
		b.WriteByte(ch)
	}
	return c.Issuer + "#" + b.String(), nil
}

// assurance is what the issuer says about how the person logged in. It is
// evidence for a rule that asks for it; what is malformed proves nothing.
func assurance(cl claims) breakglass.Assurance {
	var a breakglass.Assurance
	if methods, err := cl.texts("amr"); err == nil {
		a.Methods = methods
	}
	if class, err := cl.text("acr"); err == nil {
		a.Class = class
	}
	if at, ok, err := cl.instant("auth_time"); ok && err == nil {
		a.At = at.UTC()
	}
	return a
}
