package breakglass

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Invocation is a request to break the glass.
type Invocation struct {
	Profile       string
	ReasonCode    ReasonCode
	Justification string
	Ticket        string
	// Invoker is for whom a delegate asks; empty means the caller.
	Invoker string
	// Duration is how long; zero means the default, or the cap when lower.
	Duration time.Duration
	// IdempotencyKey makes repeating the call safe; empty means none.
	IdempotencyKey string
	RequestID      string
	// DryRun decides but changes and records nothing.
	DryRun bool
	// TOTP is the caller's code of this minute; empty means none. It is no part of
	// what was asked for: a repeated call has another one.
	TOTP TOTPCode
}

// Validate returns an *Error with every bad field, or nil.
func (in Invocation) Validate() error {
	var bad []FieldError
	add := func(field, problem string) {
		if problem != "" {
			bad = append(bad, FieldError{Field: field, Message: problem})
		}
	}
	add("profile", CheckName(in.Profile))
	add("reason_code", CheckReasonCode(in.ReasonCode))
	add("justification", CheckJustification(in.Justification))
	add("ticket", CheckTicket(in.Ticket))
	if in.Invoker != "" {
		add("invoker", CheckPersonName(in.Invoker))
	}
	add("duration_seconds", CheckDuration(in.Duration))
	if in.TOTP != "" {
		add("totp", CheckTOTP(string(in.TOTP)))
	}
	if len(bad) > 0 {
		return InvalidRequest(bad)
	}
	return nil
}

// CheckReasonCode returns what is wrong with a reason code, or "".
func CheckReasonCode(r ReasonCode) string {
	if !r.IsValid() {
		return "must be one of " + joinCodes(ReasonCodes())
	}
	return ""
}

// CheckDuration returns what is wrong with a requested duration, or "". Zero
// asks for the default.
func CheckDuration(d time.Duration) string {
	if d != 0 && (d < MinDuration || d > MaxDuration || d%time.Second != 0) {
		return fmt.Sprintf("must be whole seconds from %d to %d (4 hours)", int(MinDuration.Seconds()), int(MaxDuration.Seconds()))
	}
	return ""
}

// Seconds is a duration of n seconds, clamped instead of overflowing.
func Seconds(n int64) time.Duration {
	if limit := int64(math.MaxInt64 / time.Second); n > limit || n < -limit {
		return time.Duration(math.MaxInt64)
	}
	return time.Duration(n) * time.Second
}

// InvalidRequest is the error for bad fields.
func InvalidRequest(fields []FieldError) *Error {
	var names []string
	for _, f := range fields[:min(len(fields), 8)] {
		names = append(names, fmt.Sprintf("%.64s", f.Field))
	}
	if len(fields) > len(names) {
		names = append(names, "…")
	}
	return &Error{Code: CodeInvalidRequest, Fields: fields,
		Message: "The request is not valid: check " + strings.Join(names, ", ") + "."}
}

func joinCodes(codes []ReasonCode) string {
	s := make([]string, len(codes))
	for i, c := range codes {
		s[i] = string(c)
	}
	return strings.Join(s, ", ")
}

// Invoked is the answer to an invocation.
type Invoked struct {
	View
	Replayed bool   // an earlier call with the same idempotency key made this event
	MFA      string // of a dry run: what the entry's DetailMFA would be
}

// errDryRun ends a transaction that was only asked what would happen.
var errDryRun = errors.New("dry run")

// Invoke breaks the glass: it validates, asks policy, checks for an active
// event and the rate limits, and commits the event, its audit entry and its
// notifications in one transaction. Refusals are recorded too.
func (s *Service) Invoke(ctx context.Context, caller Principal, in Invocation) (Invoked, error) {
	in.Justification = strings.TrimSpace(in.Justification)
	in.Ticket = strings.TrimSpace(in.Ticket)
	in.Invoker = Canonical(in.Invoker)
	out, err := s.invoke(ctx, caller, in)
	if err != nil {
		e := AsError(err)
		aboutAnother := in.DryRun && in.Invoker != "" && in.Invoker != caller.Name
		if !in.DryRun || aboutAnother {
			s.RecordRefusal(ctx, caller, in, e)
		}
		if aboutAnother {
			e = unspecific(in, e)
		}
		if errors.Is(e, errUnseen) { // the trail has it; the caller gets to know of it no more than by looking it up
			e = &Error{Code: e.Code, Message: fmt.Sprintf("%s already has an active event on %s.", in.Invoker, in.Profile)}
		}
		return Invoked{}, e
	}
	return out, nil
}

// errUnseen marks a refusal because of an event that the caller may not see.
var errUnseen = errors.New("the caller doesn't see the event in the way")

// unspecific is what a dry run for somebody else tells where an invocation
// would end in their active event or their limits: not which of the two, nor
// anything about it. Asked again and again, it would watch that person.
func unspecific(in Invocation, e *Error) *Error {
	if e.Code != CodeAlreadyActive && e.Code != CodeRateLimited {
		return e
	}
	return &Error{Code: CodeForbidden, Message: fmt.Sprintf("Policy lets %s invoke %s, but an invocation would be refused now: "+
		"an event is active, or a rate limit is reached. A dry run for somebody else doesn't tell more; ask them.", in.Invoker, in.Profile)}
}

func (s *Service) invoke(ctx context.Context, caller Principal, in Invocation) (Invoked, error) {
	if err := in.Validate(); err != nil {
		return Invoked{}, err
	}
	subject, err := s.subjectOf(caller, in)
	if err != nil {
		return Invoked{}, err
	}
	var out Invoked
	var replay *Idempotent
	var refused error
	keys := Keys{Invoker: subject.Name, Profile: in.Profile, Caller: caller.Name, Idempotency: in.IdempotencyKey}
	if s.cfg.MFA != nil {
		keys.Factor = caller.Name
	}
	err = s.cfg.Store.Update(ctx, keys, func(tx Tx) error {
		out, replay, refused = Invoked{}, nil, nil
		now, err := s.begin(tx)
		if err != nil {
			return err
		}
		if replay, err = s.replayed(tx, caller, in); err != nil || replay != nil {
			return err
		}
		d, err := s.decide(tx, caller, subject, in, now)
		if err != nil && d.factor != nil {
			// Whatever refuses it, a code that was looked at is on record: the
			// transaction commits that alone.
			refused = err
			return s.settle(ctx, tx, caller, in.RequestID, in.Profile, d.factor, now)
		}
		if err != nil {
			return err
		}
		ev := d.event(caller, subject, in, now)
		out.View, out.MFA = ev.At(now), d.mfa
		if in.DryRun {
			return errDryRun
		}
		return s.commit(ctx, tx, caller, in, ev, d, now)
	})
	switch {
	case replay != nil && err == nil:
		return s.replay(ctx, *replay)
	case errors.Is(err, errDryRun):
		out.ID = ""
		return out, nil
	case err != nil:
		return Invoked{}, err
	case refused != nil:
		return Invoked{}, refused
	}
	s.wakeFor(out.DueAt())
	return out, nil
}

// subjectOf says for whom the glass is broken, and whether the caller may ask
// for that person.
func (s *Service) subjectOf(caller Principal, in Invocation) (Subject, error) {
	if in.Invoker == "" || in.Invoker == caller.Name {
		return Subject{Name: caller.Name, Groups: caller.Groups}, nil
	}
	if refusal := May(caller, CallInvoke, TargetForeign); refusal != nil {
		return Subject{}, refusal
	}
	p, ok := s.cfg.Directory.Lookup(in.Invoker)
	if !ok {
		return Subject{}, InvalidRequest([]FieldError{{Field: "invoker", Message: "is not a principal that this server knows"}})
	}
	return Subject{Name: p.Name, Groups: p.Groups}, nil
}

// replayed finds an earlier invocation under the same idempotency key.
func (s *Service) replayed(tx Tx, caller Principal, in Invocation) (*Idempotent, error) {
	if in.IdempotencyKey == "" || in.DryRun { // a dry run asks about a call that wasn't made yet
		return nil, nil
	}
	prior, err := tx.FindIdempotent(caller.Name, in.IdempotencyKey)
	if err != nil || prior == nil {
		return nil, err
	}
	if prior.Fingerprint != in.fingerprint() {
		return nil, &Error{Code: CodeIdempotencyMismatch,
			Message: "This idempotency key was used before with a different request. Use a new key for a new invocation."}
	}
	return prior, nil
}

// replay answers a repeated call with the event that the first one made, as it
// is now: a stale remaining time would be worse than none.
func (s *Service) replay(ctx context.Context, r Idempotent) (Invoked, error) {
	ev, err := s.cfg.Store.Event(ctx, r.EventID)
	if err != nil {
		return Invoked{}, err
	}
	return Invoked{View: ev.At(s.now()), Replayed: true}, nil
}

// fingerprint identifies what was asked for, whatever its formatting was.
func (in Invocation) fingerprint() string {
	b, err := json.Marshal([]any{in.Profile, in.ReasonCode, in.Justification, in.Ticket, in.Invoker, int64(in.Duration)})
	if err != nil {
		panic(err) // strings and integers always marshal
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// decision is what policy and limits made of an invocation.
type decision struct {
	policy       PolicyDecision
	policySHA256 string
	limit        LimitDecision
	limitSHA256  string
	duration     time.Duration
	lapsed       *Event // a stored-active event whose end nobody has recorded yet
	mfa          string // the second factor that it rests on, as DetailMFA
	factor       *factorUse
}

// decide runs the checks in their fixed order: profile, policy, second factor,
// stacking, rate limits. With an error, the decision holds what has to be stored
// all the same.
func (s *Service) decide(tx Tx, caller Principal, subject Subject, in Invocation, now time.Time) (decision, error) {
	var d decision
	profile, err := s.profile(in.Profile)
	if err != nil {
		return d, err
	}
	if err := s.checkPolicy(&d, subject, profile, in, now); err != nil {
		return d, err
	}
	if err := s.checkMFA(tx, &d, caller, subject, in, now); err != nil {
		return d, err
	}
	if err := checkStacking(tx, &d, caller, subject, in, now); err != nil {
		return d, err
	}
	limits, err := s.limits()
	if err != nil {
		return d, err
	}
	d.limitSHA256 = limits.SHA256()
	stamps := map[string]string{DetailPolicySHA256: d.policySHA256, DetailLimitSHA256: d.limitSHA256}
	if d.limit, err = limits.CheckRateLimit(tx, subject.Name, in.Profile, now); err != nil {
		return d, err
	}
	if !d.limit.Permit {
		return d, &Error{Code: CodeRateLimited, Limit: d.limit.Limit, Rule: d.limit.Rule,
			RetryAfter: d.limit.RetryAfter, Message: d.limit.Message, Stamps: stamps}
	}
	return d, nil
}

func (s *Service) checkPolicy(d *decision, subject Subject, profile Profile, in Invocation, now time.Time) error {
	policy, err := s.policy()
	if err != nil {
		return err
	}
	d.policySHA256 = policy.SHA256()
	stamps := map[string]string{DetailPolicySHA256: d.policySHA256}
	d.policy = policy.Decide(PolicyRequest{Subject: subject, Profile: profile.Name, ReasonCode: in.ReasonCode,
		Duration: in.Duration, HasTicket: in.Ticket != "", At: now})
	if !d.policy.Permit {
		if d.policy.Allowed != nil && d.policy.Allowed.MaxDurationSeconds > 0 {
			d.policy.Allowed.MaxDurationSeconds = int64(profile.cap(d.policy.MaxDuration) / time.Second)
		}
		refusal := &Error{Code: CodePolicyDenied, Rule: d.policy.Rule, Condition: d.policy.Condition,
			Message: d.policy.Message, Allowed: d.policy.Allowed, Stamps: stamps}
		if d.policy.Condition == ConditionNoRule {
			refusal.Allowed = &Allowed{}
			for _, o := range s.offers(policy, subject, now) {
				refusal.Allowed.Profiles = append(refusal.Allowed.Profiles, o.Profile)
			}
		}
		return refusal
	}
	longest := profile.cap(d.policy.MaxDuration)
	if d.duration = in.Duration; d.duration == 0 {
		d.duration = min(DefaultDuration, longest)
	}
	if d.duration > longest {
		return &Error{Code: CodePolicyDenied, Rule: d.policy.Rule, Condition: ConditionProfileCap,
			Message: fmt.Sprintf("Profile %q can be invoked for at most %s, not %s.", profile.Name, words(longest), words(d.duration)),
			Allowed: &Allowed{MaxDurationSeconds: int64(longest / time.Second)}, Stamps: stamps}
	}
	return nil
}

// words writes whole seconds without the zeros of Duration.String: 1h, not
// 1h0m0s.
func words(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func checkStacking(tx Tx, d *decision, caller Principal, subject Subject, in Invocation, now time.Time) error {
	active, err := tx.FindActiveByInvokerAndProfile(subject.Name, in.Profile)
	if err != nil || active == nil {
		return err
	}
	if active.StatusAt(now) == StatusActive {
		e := &Error{Code: CodeAlreadyActive, EventID: active.ID, ExpiresAt: active.ExpiresAt,
			Message: fmt.Sprintf("%s already has an active event on %s: %s, until %s. Use it, or close it first.",
				subject.Name, in.Profile, active.ID, active.ExpiresAt.Format(time.RFC3339))}
		if !sees(caller, *active) {
			e.Cause = errUnseen
		}
		return e
	}
	d.lapsed = active
	return nil
}

// event is the event that the decision grants.
func (d decision) event(caller Principal, subject Subject, in Invocation, now time.Time) Event {
	ev := Event{
		ID: NewID(), Invoker: subject.Name, RequestedBy: caller.Name, Profile: in.Profile,
		ReasonCode: in.ReasonCode, Justification: in.Justification, Ticket: in.Ticket,
		Status: StatusActive, CreatedAt: now, UpdatedAt: now,
		RequestID: in.RequestID, PolicyRule: d.policy.Rule, Escalated: d.limit.Escalate,
	}
	return ev.ending(now.Add(d.duration))
}

// commit writes what an invocation changes. A lapsed event in the way is
// expired here, in the same transaction, so that it never blocks anybody.
func (s *Service) commit(ctx context.Context, tx Tx, caller Principal, in Invocation, ev Event, d decision, now time.Time) error {
	if d.lapsed != nil {
		if err := s.writeExpired(tx, *d.lapsed, now); err != nil {
			return err
		}
	}
	if err := tx.PutEvent(ev); err != nil {
		return err
	}
	if d.factor != nil {
		if err := tx.PutFactor(d.factor.after); err != nil {
			return err
		}
	}
	if in.IdempotencyKey != "" {
		if err := tx.PutIdempotent(Idempotent{Caller: caller.Name, Key: in.IdempotencyKey,
			Fingerprint: in.fingerprint(), EventID: ev.ID, CreatedAt: now}); err != nil {
			return err
		}
	}
	entry := entryFor(EntryInvoked, caller.Name, now, ev)
	entry.Detail = withCaller(caller, fromWhere(ctx, d.detail(ev)))
	if err := s.record(tx, entry, &ev); err != nil || !ev.Escalated {
		return err
	}
	alert := entryFor(EntryEscalated, caller.Name, now, ev)
	alert.Detail = withCaller(caller, fromWhere(ctx, d.detail(ev)))
	alert.Detail[DetailUserCount] = strconv.Itoa(d.limit.Count)
	alert.Detail[DetailThreshold] = strconv.Itoa(d.limit.Threshold)
	return s.record(tx, alert, &ev)
}

func (d decision) detail(ev Event) map[string]string {
	m := map[string]string{DetailPolicyRule: d.policy.Rule, DetailPolicySHA256: d.policySHA256, DetailMFA: d.mfa}
	if d.limit.Rule != "" {
		m[DetailLimitRule] = d.limit.Rule
	}
	if d.limitSHA256 != "" {
		m[DetailLimitSHA256] = d.limitSHA256
	}
	if ev.Ticket != "" {
		m[DetailTicket] = ev.Ticket
	}
	return m
}
