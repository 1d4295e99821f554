package mfa

import (
	"crypto/rand"
	"encoding/base32"
	"net/url"
	"strings"
	"time"

	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
)

// Enrolments.
const (
	EnrolmentOpen  = "open"  // whoever has no second factor may enrol one
	EnrolmentAdmin = "admin" // the first enrolment needs a code from an admin
)

// Config is auth.mfa of the configuration.
type Config struct {
	// Keys seal the secrets at rest: the first one seals, all open. Every replica
	// has the same ones.
	Keys []session.KeySource `yaml:"keys"`
	// Enrolment is open or admin. It has no default, because either has a price.
	Enrolment string `yaml:"enrolment"`
	// Issuer is what authenticator apps show beside the name; default breakglass.
	Issuer string `yaml:"issuer"`
}

// Problem is one thing that is wrong with a Config. Path leads to it.
type Problem struct{ Path, Message string }

// Validate returns everything that is wrong with the configuration; it looks at
// nothing outside it.
func (c Config) Validate() []Problem {
	var ps []Problem
	if len(c.Keys) == 0 {
		ps = append(ps, Problem{"keys", "needs at least one key, as env or file: 32 bytes in base64, such as the output of: openssl rand -base64 32"})
	}
	for _, p := range session.Validate(c.Keys) {
		ps = append(ps, Problem{"keys" + p.Path, p.Message})
	}
	if c.Enrolment != EnrolmentOpen && c.Enrolment != EnrolmentAdmin {
		ps = append(ps, Problem{"enrolment", "must be admin (the first enrolment needs a code from an admin) or open (a token is enough for it: whoever steals one before its owner has enrolled has both factors)"})
	}
	// Apps split the label at the first colon (Key URI format).
	if problem := breakglass.CheckName(c.Issuer); c.Issuer != "" && (problem != "" || strings.Contains(c.Issuer, ":")) {
		ps = append(ps, Problem{"issuer", "must be a short name without a colon"})
	}
	return ps
}

// Factors implements breakglass.SecondFactors. It is safe for concurrent use.
type Factors struct {
	keys   keys
	issuer string
}

var _ breakglass.SecondFactors = (*Factors)(nil)

// New reads the keys. lookup is os.LookupEnv.
func New(c Config, lookup func(string) (string, bool)) (*Factors, error) {
	ks, err := loadKeys(c.Keys, lookup)
	if err != nil {
		return nil, err
	}
	f := &Factors{keys: ks, issuer: c.Issuer}
	if f.issuer == "" {
		f.issuer = "breakglass"
	}
	return f, nil
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// New implements breakglass.SecondFactors.
func (f *Factors) New(name string) (breakglass.NewFactor, error) {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails: crypto/rand aborts the program instead
	sealed, id := f.keys.seal(name, secret)
	text := encoding.EncodeToString(secret)
	return breakglass.NewFactor{Sealed: sealed, KeyID: id, Secret: text, URI: f.uri(name, text)}, nil
}

// uri is the key in the form that authenticator apps read. The parameters that
// are left out have the values that every app takes by default.
func (f *Factors) uri(name, secret string) string {
	return "otpauth://totp/" + url.PathEscape(f.issuer) + ":" + url.PathEscape(name) +
		"?secret=" + secret + "&issuer=" + url.QueryEscape(f.issuer)
}

// Step implements breakglass.SecondFactors.
func (f *Factors) Step(factor breakglass.Factor, given breakglass.TOTPCode, at time.Time) (int64, error) {
	secret, err := f.keys.open(factor.Name, factor.Sealed, factor.KeyID)
	if err != nil {
		return 0, err
	}
	return find(secret, string(given), at), nil
}

// Reseal implements breakglass.SecondFactors.
func (f *Factors) Reseal(factor breakglass.Factor) (breakglass.Factor, error) {
	if factor.KeyID == f.keys[0].id {
		return factor, nil
	}
	secret, err := f.keys.open(factor.Name, factor.Sealed, factor.KeyID)
	if err != nil {
		return factor, err
	}
	factor.Sealed, factor.KeyID = f.keys.seal(factor.Name, secret)
	return factor, nil
}
