package oidc

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// Problem is a fault of the configuration. Path is that of the value below the
// list of issuers, such as [0].issuer.
type Problem struct {
	Path    string
	Message string
}

// asymmetric are the signatures that can be checked with what an issuer
// publishes. With none or HS256 anybody who knows the public key could sign.
var asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// scopeToken is the form of a scope (RFC 6749, section 3.3).
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`)

// Validate returns every fault of a list of issuers.
func Validate(list []Config) []Problem {
	v := &validation{}
	issuers, names := map[string]int{}, map[string]int{}
	for i, c := range list {
		v.at = fmt.Sprintf("[%d]", i)
		if first, dup := issuers[c.Issuer]; dup && c.Issuer != "" {
			v.add(".issuer", "is also that of [%d]", first)
		} else {
			issuers[c.Issuer] = i
		}
		if first, dup := names[c.Name]; dup && c.Name != "" {
			v.add(".name", "is also that of [%d]", first)
		} else {
			names[c.Name] = i
		}
		v.config(c)
	}
	return v.problems
}

type validation struct {
	at       string
	problems []Problem
}

func (v *validation) add(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{v.at + path, fmt.Sprintf(format, args...)})
}

func (v *validation) require(ok bool, path, format string, args ...any) {
	if !ok {
		v.add(path, format, args...)
	}
}

func (v *validation) config(c Config) {
	if c.Name != "" {
		v.text(".name", c.Name)
	}
	if problem := CheckIssuer(c.Issuer); problem != "" {
		v.add(".issuer", "%s", problem)
	}
	v.require(len(c.Audiences) > 0, ".audiences", "is required: without it a token that was made for another service would open this one")
	v.texts(".audiences", c.Audiences)
	v.texts(".authorized_parties", c.AuthorizedParties)
	for i, alg := range c.Algorithms {
		v.require(slices.Contains(asymmetric, alg), fmt.Sprintf(".algorithms[%d]", i), "%.32q is not accepted; there are %s", alg, strings.Join(asymmetric, ", "))
	}
	v.require(c.UsernameClaim != "", ".username_claim", "is required: it says who the caller is, such as email or sub")
	v.require(slices.Contains([]string{"", Required, NotRequired}, c.EmailVerified), ".email_verified", "must be %s or %s", Required, NotRequired)
	v.require(c.EmailVerified == "" || c.UsernameClaim == emailClaim, ".email_verified", "means something with username_claim: %s alone", emailClaim)
	for name, value := range c.RequiredClaims {
		v.require(name != "" && value != "", ".required_claims", "needs a name and a value for each claim")
	}
	v.prefix(".name_prefix", c.NamePrefix)
	v.prefix(".group_prefix", c.GroupPrefix)
	v.require(c.skew() >= 0 && c.skew() <= MaxClockSkew, ".clock_skew", "must be from 0s to %s", MaxClockSkew)
	v.require(c.kept() >= MinKeysKept && c.kept() <= MaxKeysKept, ".keys_kept", "must be from %s to %s", MinKeysKept, MaxKeysKept)
	v.require(c.maxLifetime() >= MinMaxLifetime && c.maxLifetime() <= MaxMaxLifetime, ".max_lifetime", "must be from %s to %s", MinMaxLifetime, MaxMaxLifetime)
	v.mfa(c.MFA)
	v.login(c)
}

func (v *validation) mfa(m *MFA) {
	if m == nil {
		return
	}
	v.require(len(m.AMR)+len(m.ACR) > 0, ".mfa", "needs a value of amr or acr that stands for a second factor")
	v.texts(".mfa.amr", m.AMR)
	v.texts(".mfa.acr", m.ACR)
	v.require(!slices.Contains(m.AMR, "pwd"), ".mfa.amr", "must not hold pwd: a password is the first factor")
}

func (v *validation) login(c Config) {
	if c.Login == nil {
		return
	}
	v.text(".login.client_id", c.Login.ClientID)
	v.require(c.Login.Token == "" || c.Login.Token == IDToken || c.Login.Token == AccessToken, ".login.token", "must be %s or %s", IDToken, AccessToken)
	for i, scope := range c.Login.Scopes {
		v.require(scopeToken.MatchString(scope), fmt.Sprintf(".login.scopes[%d]", i), "%.64q is not a scope", scope)
	}
	v.require(len(c.Login.Scopes) == 0 || slices.Contains(c.Login.Scopes, "openid"), ".login.scopes", "must hold openid")
	// The audience of an ID token is the client that asked for it.
	v.require(c.Login.LoginToken() != IDToken || slices.Contains(c.Audiences, c.Login.ClientID), ".audiences",
		"must hold login.client_id, because that is whom ID tokens are for")
}

func (v *validation) texts(path string, list []string) {
	for i, s := range list {
		v.text(fmt.Sprintf("%s[%d]", path, i), s)
	}
}

func (v *validation) text(path, s string) {
	if problem := breakglass.CheckName(s); problem != "" {
		v.add(path, "%s", problem)
	}
}

// prefix is like a name, but white space may stand at its end.
func (v *validation) prefix(path, s string) {
	if s == "" {
		return
	}
	if problem := breakglass.CheckName(s + "x"); problem != "" {
		v.add(path, "%s", problem)
	}
	v.require(!strings.HasPrefix(s, ":"), path, "must not begin with a colon: such names are the server's own")
}

// CheckIssuer returns what is wrong with the URL of an issuer, or "".
func CheckIssuer(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case issuer == "":
		return "is required"
	case err != nil || u.Hostname() == "":
		return fmt.Sprintf("%.256q must be a URL, such as https://login.example.com", issuer)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must hold no user, query or fragment"
	case !secure(u):
		return "must begin with https://: whoever can change its answers decides who gets in"
	}
	return ""
}

// secure reports https, or http that stays on this machine.
func secure(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// Warnings names what is allowed but rarely meant.
func Warnings(list []Config) []string {
	var w []string
	for i, c := range list {
		if c.EmailVerified == NotRequired {
			w = append(w, fmt.Sprintf("auth.oidc[%d].email_verified is %s: whoever can enter any address at %s logs in under that name", i, NotRequired, c.Title()))
		}
		if c.skew() > 5*time.Minute {
			w = append(w, fmt.Sprintf("auth.oidc %s: clock_skew is %s: expired tokens work for that long", c.Title(), c.skew()))
		}
	}
	return append(w, claimWarnings(list)...)
}
