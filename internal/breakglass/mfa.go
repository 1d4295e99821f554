package breakglass

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A person can begin this many enrolments at once, and one more in each refill:
// each is an entry of the trail.
const (
	enrolBurst  = 5
	enrolRefill = time.Minute
)

// InvitationLifetime is how long an enrolment code from an admin is good.
const InvitationLifetime = 24 * time.Hour

// MFAStatus is what a person may know about their own second factor.
type MFAStatus struct {
	Enrolled           bool      `json:"enrolled"` // and confirmed
	ConfirmedAt        time.Time `json:"confirmed_at,omitzero"`
	Pending            bool      `json:"pending"` // enrolled, and waiting for the first code
	LockedUntil        time.Time `json:"locked_until,omitzero"`
	InvitationRequired bool      `json:"invitation_required"` // to enrol, a code from an admin is needed
}

// MFAStatus returns the state of the caller's own second factor.
func (s *Service) MFAStatus(ctx context.Context, caller Principal) (MFAStatus, error) {
	var out MFAStatus
	err := s.cfg.Store.Update(ctx, Keys{Factor: caller.Name}, func(tx Tx) error {
		f, err := tx.FindFactor(caller.Name)
		if err != nil {
			return err
		}
		out = MFAStatus{InvitationRequired: s.cfg.MFA.InvitationOnly && !f.Confirmed()}
		if f == nil {
			return nil
		}
		out.Enrolled, out.ConfirmedAt, out.Pending = f.Confirmed(), f.ConfirmedAt, !f.Confirmed() && f.Sealed != ""
		if f.locked(s.now()) > 0 {
			out.LockedUntil = f.LockedUntil
		}
		return nil
	})
	return out, err
}

// EnrolMFA makes a new secret for the caller. It counts for nothing until
// ConfirmMFA; one that was confirmed stays until it is removed. The invitation
// is the code of an admin, where one is needed.
func (s *Service) EnrolMFA(ctx context.Context, caller Principal, invitation, requestID string) (NewFactor, error) {
	made, err := s.cfg.MFA.Factors.New(caller.Name)
	wait := s.enrolling.spend(caller.Name, s.now())
	if err == nil {
		err = s.changeMFA(ctx, caller, caller.Name, requestID, func(tx Tx, f *Factor, now time.Time) (EntryType, error) {
			if f.Confirmed() {
				return "", &Error{Code: CodeMFAEnrolled, Message: "You have an authenticator already. To replace it, remove it first: " +
					"`bgctl mfa remove` asks for a code of it. If it is lost, an admin can reset it."}
			}
			next := Factor{Name: caller.Name, Sealed: made.Sealed, KeyID: made.KeyID, CreatedAt: now}
			if s.cfg.MFA.InvitationOnly {
				if !f.invitedBy(invitation, now) {
					return "", &Error{Code: CodeForbidden, Message: "Here an enrolment begins with a code from an admin (`bgctl mfa invite NAME`), which is good for one enrolment within 24 hours. This one isn't."}
				}
				next.Invitation, next.InvitedUntil = f.Invitation, f.InvitedUntil // until it is confirmed, it can begin anew
			}
			if wait > 0 {
				return "", &Error{Code: CodeRateLimited, RetryAfter: wait, Message: "You began to enrol several times just now. Confirm the latest one, or try again later."}
			}
			return EntryMFAEnrolling, tx.PutFactor(next)
		})
	}
	if err != nil {
		return NewFactor{}, err
	}
	return made, nil
}

// ConfirmMFA puts the secret of EnrolMFA in force, for whoever shows that their
// authenticator has it.
func (s *Service) ConfirmMFA(ctx context.Context, caller Principal, code TOTPCode, requestID string) error {
	return s.changeMFA(ctx, caller, caller.Name, requestID, func(tx Tx, f *Factor, now time.Time) (EntryType, error) {
		switch {
		case f == nil || f.Sealed == "":
			return "", &Error{Code: CodeMFANotEnrolled, Message: "There is nothing to confirm: begin with `bgctl mfa enrol`."}
		case f.Confirmed():
			return "", &Error{Code: CodeMFAEnrolled, Message: "Your authenticator is confirmed already."}
		}
		use, err := s.cfg.MFA.judge(f, code, now)
		if err != nil {
			return "", s.settled(ctx, tx, caller, requestID, use, err, now)
		}
		use.after.ConfirmedAt, use.after.Invitation, use.after.InvitedUntil = now, "", time.Time{}
		return EntryMFAEnrolled, tx.PutFactor(use.after)
	})
}

// RemoveMFA removes the caller's own second factor, for whoever has it.
func (s *Service) RemoveMFA(ctx context.Context, caller Principal, code TOTPCode, requestID string) error {
	return s.changeMFA(ctx, caller, caller.Name, requestID, func(tx Tx, f *Factor, now time.Time) (EntryType, error) {
		if !f.Confirmed() {
			return "", notEnrolled("You have")
		}
		if use, err := s.cfg.MFA.judge(f, code, now); err != nil {
			return "", s.settled(ctx, tx, caller, requestID, use, err, now)
		}
		return EntryMFARemoved, tx.DeleteFactor(caller.Name)
	})
}

// ResetMFA removes the second factor of somebody else, whose authenticator is
// lost. Admins alone can, and not their own: a stolen token of an admin would
// make the factor worthless.
func (s *Service) ResetMFA(ctx context.Context, caller Principal, name, requestID string) error {
	name = Canonical(name)
	return s.changeMFA(ctx, caller, name, requestID, func(tx Tx, f *Factor, _ time.Time) (EntryType, error) {
		if err := adminOfOthers(caller, CallMFAReset, name); err != nil {
			return "", err
		}
		if f == nil {
			return "", notEnrolled(name + " has")
		}
		return EntryMFARemoved, tx.DeleteFactor(name)
	})
}

// Invitation is an enrolment code that an admin gives to a person. It is secret.
type Invitation struct {
	Name      string    `json:"name"`
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
}

// String keeps the code out of logs and errors.
func (i Invitation) String() string { return "invitation of " + i.Name }

// GoString hides the code from %#v.
func (i Invitation) GoString() string { return i.String() }

// InviteMFA makes an enrolment code for somebody else who has no second factor.
// Only its hash is kept; a new one replaces it.
func (s *Service) InviteMFA(ctx context.Context, caller Principal, name, requestID string) (Invitation, error) {
	name = Canonical(name)
	b := make([]byte, 15)
	_, _ = rand.Read(b) // never fails: crypto/rand aborts the program instead
	out := Invitation{Name: name, Code: base32.StdEncoding.EncodeToString(b)}
	err := s.changeMFA(ctx, caller, name, requestID, func(tx Tx, f *Factor, now time.Time) (EntryType, error) {
		if err := adminOfOthers(caller, CallMFAInvite, name); err != nil {
			return "", err
		}
		if f.Confirmed() {
			return "", &Error{Code: CodeMFAEnrolled, Message: fmt.Sprintf("%s has an authenticator already. If it is lost, reset it first.", name)}
		}
		out.ExpiresAt = now.Add(InvitationLifetime)
		return EntryMFAInvited, tx.PutFactor(Factor{Name: name, CreatedAt: now, Invitation: invitationHash(out.Code), InvitedUntil: out.ExpiresAt})
	})
	if err != nil {
		return Invitation{}, err
	}
	return out, nil
}

// CheckInvitation returns what is wrong with the form of an enrolment code, or
// "". It doesn't repeat the code.
func CheckInvitation(code string) string {
	if len(code) != 24 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return "must be the 24 capital letters and digits that an admin gave you"
	}
	return ""
}

// ChecksMFA reports whether the server checks second factors itself. Without, the
// other methods about them must not be called.
func (s *Service) ChecksMFA() bool { return s.cfg.MFA != nil }

// changeMFA runs one change of a person's second factor, and records it; what is
// refused is recorded too. change says what kind of entry it is; its error
// refuses, and committed carries one whose writes count all the same.
func (s *Service) changeMFA(ctx context.Context, caller Principal, name, requestID string,
	change func(tx Tx, f *Factor, now time.Time) (EntryType, error)) error {
	var refused error
	if problem := CheckPersonName(name); problem != "" {
		return InvalidRequest([]FieldError{{Field: "name", Message: problem}})
	}
	err := s.cfg.Store.Update(ctx, Keys{Factor: name}, func(tx Tx) error {
		refused = nil
		now, err := s.begin(tx)
		if err != nil {
			return err
		}
		f, err := tx.FindFactor(name)
		if err != nil {
			return err
		}
		typ, err := change(tx, f, now)
		var done *committed
		if errors.As(err, &done) {
			refused = done.refusal
			return nil
		}
		if err != nil {
			return err
		}
		return s.record(tx, LogEntry{Timestamp: now, Event: typ, RequestID: requestID, Actor: caller.Name, Invoker: name,
			Detail: withCaller(caller, fromWhere(ctx, nil))}, nil)
	})
	if err == nil && refused == nil {
		return nil
	}
	if refused != nil {
		return refused // its entry was written with it
	}
	e := AsError(err)
	entry := LogEntry{RequestID: requestID, Invoker: caller.Name}
	if name != caller.Name {
		entry.Detail = map[string]string{DetailRequestedInvoker: name}
	}
	s.recordRefusal(ctx, EntryMFAFailed, caller, entry, e)
	return e
}

// committed is a refusal whose transaction is committed all the same: it counts
// a wrong code.
type committed struct{ refusal error }

func (c *committed) Error() string { return c.refusal.Error() }

// settled stores a wrong code and makes the refusal.
func (s *Service) settled(ctx context.Context, tx Tx, caller Principal, requestID string, use *factorUse, err error, now time.Time) error {
	if use == nil {
		return codeRefused(err)
	}
	if err := s.settle(ctx, tx, caller, requestID, "", use, now); err != nil {
		return err
	}
	return &committed{codeRefused(err)}
}

// judge is use for a factor that may be locked.
func (m *MFA) judge(f *Factor, code TOTPCode, now time.Time) (*factorUse, error) {
	if f.locked(now) > 0 {
		return nil, lockedOut(f, "", now)
	}
	return m.use(*f, code, now)
}

func notEnrolled(whoHas string) error {
	return &Error{Code: CodeMFANotEnrolled, Message: whoHas + " no authenticator."}
}

func adminOfOthers(caller Principal, call Call, name string) error {
	if refusal := May(caller, call, TargetServer); refusal != nil {
		return refusal
	}
	if caller.Name == name {
		return &Error{Code: CodeForbidden, Message: "Nobody may do this for themselves, or a stolen token would be enough: ask another admin."}
	}
	return nil
}

// invitedBy reports whether the code is the one of an admin.
func (f *Factor) invitedBy(code string, now time.Time) bool {
	return f != nil && f.Invitation != "" && now.Before(f.InvitedUntil) &&
		subtle.ConstantTimeCompare([]byte(invitationHash(code)), []byte(f.Invitation)) == 1
}

func invitationHash(code string) string {
	sum := sha256.Sum256([]byte("breakglass invitation:" + code))
	return hex.EncodeToString(sum[:])
}
