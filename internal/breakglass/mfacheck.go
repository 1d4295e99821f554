package breakglass

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The values of DetailMFA beside "oidc:" and the amr or acr value.
const (
	mfaNone = "none"
	mfaTOTP = "totp"
)

// authTimeTolerance is how far the clocks of an identity provider and of this
// server may be apart.
const authTimeTolerance = time.Minute

// checkMFA asks for the second factor that the rule wants. A code that was sent
// is judged, whatever else would do: nobody learns by trying that a guess went
// unnoticed.
func (s *Service) checkMFA(tx Tx, d *decision, caller Principal, subject Subject, in Invocation, now time.Time) error {
	need := d.policy.MFA
	if d.mfa = mfaNone; !need.Required {
		return nil
	}
	refuse := func(code Code, wanted *MFAWanted, format string, args ...any) error {
		return &Error{Code: code, Rule: d.policy.Rule, MFA: wanted, Message: fmt.Sprintf(format, args...),
			Stamps: map[string]string{DetailPolicySHA256: d.policySHA256}}
	}
	if subject.Name != caller.Name {
		return refuse(CodeMFARequired, &MFAWanted{Accepts: []string{}},
			"Policy rule %q asks for a second factor, and nobody can give that of somebody else: %s has to invoke %q in person.",
			d.policy.Rule, subject.Name, in.Profile)
	}
	var factor *Factor
	if s.cfg.MFA != nil {
		var err error
		if factor, err = tx.FindFactor(caller.Name); err != nil {
			return err
		}
	}
	wanted := s.mfaWanted(caller, factor, need)
	byProvider := caller.Assurance.satisfies(need, now)
	switch {
	case in.TOTP == "" && byProvider:
		d.mfa = string(MethodOIDC) + ":" + caller.Assurance.Factor
		return nil
	case !factor.Confirmed() && byProvider: // the code is one of nothing
		d.mfa = string(MethodOIDC) + ":" + caller.Assurance.Factor
		return nil
	case !factor.Confirmed():
		return refuse(CodeMFARequired, wanted, "Policy rule %q asks for a second factor. %s", d.policy.Rule, wanted.words())
	case factor.locked(now) > 0:
		return lockedOut(factor, d.policy.Rule, now)
	case in.DryRun: // a question that leaves no trace must not tell good codes from bad ones
		d.mfa = mfaTOTP
		return nil
	case in.TOTP == "":
		return refuse(CodeMFARequired, wanted, "Policy rule %q asks for a second factor. %s", d.policy.Rule, wanted.words())
	}
	var err error
	if d.factor, err = s.cfg.MFA.use(*factor, in.TOTP, now); err != nil {
		e := codeRefused(err)
		if e.Code == CodeMFAInvalid {
			return refuse(e.Code, wanted, "%s", e.Message)
		}
		return e
	}
	d.mfa = mfaTOTP
	return nil
}

// satisfies reports whether the provider has seen a second factor, and that not
// too long ago.
func (a Assurance) satisfies(need MFARequirement, now time.Time) bool {
	if a.Factor == "" {
		return false
	}
	if need.MaxAge == 0 {
		return true
	}
	return !a.At.IsZero() && !a.At.After(now.Add(authTimeTolerance)) && now.Sub(a.At) <= need.MaxAge
}

func (s *Service) mfaWanted(caller Principal, factor *Factor, need MFARequirement) *MFAWanted {
	w := &MFAWanted{Accepts: []string{}, Enrolled: factor.Confirmed(), MaxAgeSeconds: int64(need.MaxAge / time.Second)}
	if s.cfg.MFA != nil {
		w.Accepts = append(w.Accepts, MFAByTOTP)
	}
	if caller.Via.Method == MethodOIDC {
		w.Accepts = append(w.Accepts, MFAByOIDC)
	}
	return w
}

// words say what to do.
func (w *MFAWanted) words() string {
	var totp, oidc string
	for _, way := range w.Accepts {
		switch {
		case way == MFAByTOTP && w.Enrolled:
			totp = "Send the code that your authenticator shows now (`totp`)."
		case way == MFAByTOTP:
			totp = "Enrol an authenticator with `bgctl mfa enrol`, then send its code."
		case way == MFAByOIDC && w.MaxAgeSeconds > 0:
			oidc = fmt.Sprintf(" A login with a second factor at your identity provider counts for %s.", time.Duration(w.MaxAgeSeconds)*time.Second)
		case way == MFAByOIDC:
			oidc = " A login with a second factor at your identity provider does as well, where this server takes its word."
		}
	}
	if totp == "" && oidc == "" {
		return "This server checks none itself, and takes the word of identity providers alone: log in at one, with a second factor."
	}
	return totp + oidc
}

func lockedOut(f *Factor, rule string, now time.Time) error {
	return &Error{Code: CodeRateLimited, Limit: LimitMFAAttempts, Rule: rule, RetryAfter: f.locked(now),
		Message: fmt.Sprintf("There were %d wrong codes. No code is looked at until %s; if it wasn't you, tell security: somebody has your token.",
			f.Failures, f.LockedUntil.Format(time.RFC3339))}
}

// codeRefused puts the result of MFA.use in words for the caller.
func codeRefused(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, errWrongCode):
		return &Error{Code: CodeMFAInvalid, Message: "The code is wrong. Codes change every 30 seconds; take the one that your authenticator shows now."}
	case errors.Is(err, errUsedCode):
		return &Error{Code: CodeMFAInvalid, Message: "The code was used already, or is older than the one used last. Wait for the next one."}
	}
	return &Error{Code: CodeUnavailable, Cause: err,
		Message: "The server can't open the secret of your authenticator. An operator has to put the key back with which it was sealed (auth.mfa.keys), or an admin resets the authenticator."}
}

// settle stores what became of a factor whose code didn't lead to anything.
func (s *Service) settle(ctx context.Context, tx Tx, caller Principal, requestID, profile string, use *factorUse, now time.Time) error {
	if err := tx.PutFactor(use.after); err != nil || !use.wrong {
		return err
	}
	return s.record(tx, LogEntry{
		Timestamp: now, Event: EntryMFAFailed, RequestID: requestID, Actor: caller.Name, Invoker: caller.Name, Profile: profile,
		Reason: string(CodeMFAInvalid), Detail: withCaller(caller, fromWhere(ctx, map[string]string{DetailMFAFailures: strconv.Itoa(use.after.Failures)})),
	}, nil)
}
