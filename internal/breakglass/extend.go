package breakglass

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Extension asks for more time on an active event.
type Extension struct {
	Justification string
	// Duration is how much longer; zero means the default, or what is left up to
	// the longest life of an event when that is less.
	Duration time.Duration
	// TOTP is the caller's code of this minute, where the rule asks for one.
	TOTP   TOTPCode
	CallID string
}

// Validate returns an *Error with every bad field, or nil.
func (in Extension) Validate() error {
	var bad []FieldError
	if problem := CheckJustification(in.Justification); problem != "" {
		bad = append(bad, FieldError{"justification", problem})
	}
	if problem := CheckDuration(in.Duration); problem != "" {
		bad = append(bad, FieldError{"duration_seconds", problem})
	}
	if in.TOTP != "" {
		if problem := CheckTOTP(string(in.TOTP)); problem != "" {
			bad = append(bad, FieldError{"totp", problem})
		}
	}
	if len(bad) > 0 {
		return InvalidRequest(bad)
	}
	return nil
}

// Extend moves the end of an event, by its invoker alone and as often as the
// rule allows, never past MaxDuration from its start. Refusals are recorded.
func (s *Service) Extend(ctx context.Context, caller Principal, id string, in Extension) (View, error) {
	in.Justification = strings.TrimSpace(in.Justification)
	out, err := s.extend(ctx, caller, id, in)
	if err != nil {
		e := AsError(err)
		s.recordCall(ctx, string(CallExtend), caller, askedFor(caller, id, in.CallID), e)
		return View{}, e
	}
	s.wakeFor(out.DueAt())
	return out, nil
}

func (s *Service) extend(ctx context.Context, caller Principal, id string, in Extension) (View, error) {
	if err := in.Validate(); err != nil {
		return View{}, err
	}
	if !IsID(id) {
		return View{}, notFound()
	}
	keys := Keys{EventID: id}
	if s.cfg.MFA != nil {
		keys.Factor = caller.Name
	}
	var out View
	var refused error
	err := s.cfg.Store.Update(ctx, keys, func(tx Tx) error {
		refused = nil
		ev, err := tx.Event(id)
		if ev, err = visible(caller, ev, err); err != nil {
			return err
		}
		if refusal := May(caller, CallExtend, targetOf(caller, ev)); refusal != nil {
			return refusal
		}
		now, err := s.begin(tx)
		if err != nil {
			return err
		}
		if ev.StatusAt(now) != StatusActive {
			return ended(ev.At(now))
		}
		d, by, err := s.decideExtension(tx, caller, ev, in, now)
		if err != nil && d.factor != nil { // as for an invocation, a code that was looked at is on record
			refused = err
			return s.settle(ctx, tx, caller, in.CallID, ev.Profile, d.factor, now)
		}
		if err != nil {
			return err
		}
		ev.Extensions++
		ev.UpdatedAt = now
		ev = ev.ending(ev.ExpiresAt.Add(by))
		out = ev.At(now)
		return s.commitExtension(ctx, tx, caller, ev, in, d, by, now)
	})
	if err == nil {
		err = refused
	}
	return out, err
}

// decideExtension asks the rule that is in force about more time: its own terms,
// and what it would say to an invocation of that length now.
func (s *Service) decideExtension(tx Tx, caller Principal, ev Event, in Extension, now time.Time) (d decision, by time.Duration, err error) {
	policy, err := s.policy()
	if err != nil {
		return d, 0, err
	}
	profile, err := s.profile(ev.Profile)
	if err != nil {
		return d, 0, err
	}
	subject := subjectFor(caller)
	terms, ok := policy.Terms(subject, ev.Profile)
	refuse := func(condition, format string, args ...any) (decision, time.Duration, error) {
		return d, 0, &Error{Code: CodeExtensionRefused, EventID: ev.ID, Rule: terms.Rule, Condition: condition,
			Message: fmt.Sprintf(format, args...), Stamps: map[string]string{DetailPolicySHA256: policy.SHA256()}}
	}
	room := profile.cap(MaxDuration) - ev.ExpiresAt.Sub(ev.CreatedAt)
	longest := min(profile.cap(terms.MaxDuration), room)
	switch {
	case !ok:
		return refuse(ConditionNoRule, "Policy no longer has a rule that lets you break the glass of %s.", ev.Profile)
	case terms.MaxExtensions == 0:
		return refuse(ConditionExtensions, "Policy rule %q allows no extension. Invoke again when the event is over, or close it and invoke now.", terms.Rule)
	case ev.Extensions >= terms.MaxExtensions:
		return refuse(ConditionExtensions, "Event %s was extended %d times, as often as policy rule %q allows.", ev.ID, ev.Extensions, terms.Rule)
	case room < time.Second:
		return refuse(ConditionMaxDuration, "Event %s ends %s after its start already, the longest that there is.", ev.ID, words(profile.cap(MaxDuration)))
	}
	if by = in.Duration; by == 0 {
		by = min(DefaultDuration, longest).Truncate(time.Second)
	}
	if by > longest {
		return refuse(ConditionMaxDuration, "Event %s can be extended by %s at most, not %s.", ev.ID, words(longest.Truncate(time.Second)), words(by))
	}
	asInvocation := Invocation{Profile: ev.Profile, ReasonCode: ev.ReasonCode, Ticket: ev.Ticket, Duration: by, TOTP: in.TOTP, RequestID: in.CallID}
	if err := s.checkPolicy(&d, subject, profile, asInvocation, now); err != nil {
		return d, 0, err
	}
	return d, by, s.checkMFA(tx, &d, caller, subject, asInvocation, now)
}

func (s *Service) commitExtension(ctx context.Context, tx Tx, caller Principal, ev Event, in Extension, d decision, by time.Duration, now time.Time) error {
	if err := tx.PutEvent(ev); err != nil {
		return err
	}
	if d.factor != nil {
		if err := tx.PutFactor(d.factor.after); err != nil {
			return err
		}
	}
	entry := entryFor(EntryExtended, caller.Name, now, ev)
	entry.Justification = in.Justification // the event keeps its own
	entry.Detail = callDetail(ev.RequestID, in.CallID)
	entry.put(DetailExtension, strconv.Itoa(ev.Extensions))
	entry.put(DetailExtendedBy, strconv.FormatInt(int64(by/time.Second), 10))
	entry.put(DetailPolicyRule, d.policy.Rule)
	entry.put(DetailPolicySHA256, d.policySHA256)
	entry.put(DetailMFA, d.mfa)
	entry.Detail = withCaller(caller, fromWhere(ctx, entry.Detail))
	return s.record(tx, entry, &ev)
}
