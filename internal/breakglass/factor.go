package breakglass

import (
	"errors"
	"time"
)

// Factor is a person's second factor as it is stored: the secret of a TOTP
// authenticator (RFC 6238), sealed, and what is known about its use. One without
// ConfirmedAt counts for nothing yet: its owner hasn't shown a code. One without
// Sealed is an invitation alone.
type Factor struct {
	Name        string // of the person, canonical
	Sealed      string // the secret, as SecondFactors sealed it under KeyID
	KeyID       string
	CreatedAt   time.Time
	ConfirmedAt time.Time
	// LastStep is the time step of the latest code that was accepted; codes of it
	// and of earlier ones are used up.
	LastStep int64
	// Failures counts wrong codes since the last right one, FailedAt is when the
	// latest of them came, and until LockedUntil no code is looked at.
	Failures    int
	FailedAt    time.Time
	LockedUntil time.Time
	// Invitation is the SHA-256, in hex, of the enrolment code that an admin gave
	// out; InvitedUntil is when it ends.
	Invitation   string
	InvitedUntil time.Time
}

// Confirmed reports whether the factor can be used.
func (f *Factor) Confirmed() bool { return f != nil && !f.ConfirmedAt.IsZero() }

// Limits of wrong codes. A code is one of a million and three are good at a
// time, so whoever holds a person's token has one chance in 70,000 before the
// first wait, and one in 1,100 for each day of trying without a break.
const (
	MaxWrongCodes   = 5               // after so many wrong codes …
	WrongCodeWait   = 5 * time.Minute // … no code is looked at for so long, and after every further one
	wrongCodeMemory = time.Hour       // wrong codes count until there was none for so long
)

// TOTPCode is a code from an authenticator. It is secret for as long as it is
// good: String hides it.
type TOTPCode string

// String keeps the code out of logs and errors.
func (c TOTPCode) String() string { return "TOTP code" }

// GoString hides the code from %#v.
func (c TOTPCode) GoString() string { return c.String() }

// MarshalJSON hides the code from anything that marshals by accident.
func (c TOTPCode) MarshalJSON() ([]byte, error) { return []byte(`"TOTP code"`), nil }

// CheckTOTP returns what is wrong with the form of a code, or "". It doesn't
// repeat the code.
func CheckTOTP(code string) string {
	if len(code) != 6 {
		return "must be 6 digits"
	}
	for _, c := range []byte(code) {
		if c < '0' || c > '9' {
			return "must be 6 digits"
		}
	}
	return ""
}

// SecondFactors makes and checks the secrets of authenticators.
type SecondFactors interface {
	// New makes a secret for that person.
	New(name string) (NewFactor, error)
	// Step returns the time step whose code this is, of those that are good at
	// that time; 0 when it is the code of none. It takes the same time whatever
	// the code is. An error means that the secret can't be opened.
	Step(f Factor, code TOTPCode, at time.Time) (step int64, err error)
	// Reseal seals the secret under the newest key; f is as it was when it
	// already is.
	Reseal(f Factor) (Factor, error)
}

// NewFactor is a secret that was made: sealed, and for its owner's eyes.
type NewFactor struct {
	Sealed string
	KeyID  string
	Secret string // base32, as authenticator apps take it
	URI    string // the same as otpauth://totp/…, which apps read as a QR code
}

// String keeps the secret out of logs and errors.
func (NewFactor) String() string { return "a new second factor" }

// GoString hides the secret from %#v.
func (n NewFactor) GoString() string { return n.String() }

// MFA is the configuration of second factors that the server itself checks.
type MFA struct {
	Factors SecondFactors
	// InvitationOnly says that the first enrolment needs a code from an admin.
	InvitationOnly bool
}

// MFARequirement is what a policy rule asks for.
type MFARequirement struct {
	Required bool
	// MaxAge bounds how long ago the provider's own second factor may have been
	// given (auth_time); zero: as long as the token lasts. A TOTP code is always
	// of this minute.
	MaxAge time.Duration
}

// MFAWanted tells a caller which second factor would do.
type MFAWanted struct {
	// Accepts lists the ways that would do for this caller on this server; empty
	// when none would, as for a delegate.
	Accepts []string `json:"accepts"`
	// Enrolled says that the caller has a TOTP authenticator that was confirmed.
	Enrolled      bool  `json:"enrolled"`
	MaxAgeSeconds int64 `json:"max_age_seconds,omitempty"`
}

// The ways of MFAWanted.Accepts.
const (
	MFAByTOTP = "totp" // a code in the field totp
	MFAByOIDC = "oidc" // a login with a second factor at the identity provider
)

// errWrongCode and errUsedCode are why a code doesn't count.
var (
	errWrongCode = errors.New("wrong code")
	errUsedCode  = errors.New("used code")
)

// factorUse is what became of a factor in a transaction.
type factorUse struct {
	after Factor // as it is to be stored
	wrong bool   // a wrong code was counted
}

// use judges a code. The caller has looked at LockedUntil. A result other than
// nil is to be stored whatever else the transaction decides: only so every
// guess counts and no code works twice.
func (m *MFA) use(f Factor, code TOTPCode, now time.Time) (*factorUse, error) {
	step, err := m.Factors.Step(f, code, now)
	switch {
	case err != nil:
		return nil, err
	case step == 0:
		if now.Sub(f.FailedAt) > wrongCodeMemory {
			f.Failures = 0
		}
		f.Failures, f.FailedAt = f.Failures+1, now
		if f.Failures >= MaxWrongCodes {
			f.LockedUntil = now.Add(WrongCodeWait)
		}
		return &factorUse{after: f, wrong: true}, errWrongCode
	case step <= f.LastStep:
		return nil, errUsedCode // it was good once: no guess, and nothing to count
	}
	f.LastStep, f.Failures, f.FailedAt, f.LockedUntil = step, 0, time.Time{}, time.Time{}
	if f, err = m.Factors.Reseal(f); err != nil {
		return nil, err
	}
	return &factorUse{after: f}, nil
}

// locked reports how long no code is looked at.
func (f *Factor) locked(now time.Time) time.Duration { return max(f.LockedUntil.Sub(now), 0) }
