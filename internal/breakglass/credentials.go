package breakglass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"time"
)

// String keeps secrets out of logs and errors, as do the three methods below.
func (c Credentials) String() string { return "credentials " + c.AccessKeyID }

// GoString hides the secrets from %#v.
func (c Credentials) GoString() string { return c.String() }

// LogValue hides the secrets from slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON hides the secrets from anything that marshals by accident.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// Issued are credentials together with what they are for.
type Issued struct {
	Credentials
	Profile Profile
	Grant   Grant
}

// Each grant has this many issuances at once, and one more in each refill. An
// honest client caches; a loop would bury the alarms of others under its
// notifications, and use up the account's quota of STS calls.
const (
	issuanceBurst  = 10
	issuanceRefill = 30 * time.Second
)

// Credentials issues credentials for an active event, to its invoker alone.
// They leave only after the entry that says so is durable, and only if the
// event is still active by then.
func (s *Service) Credentials(ctx context.Context, caller Principal, id, requestID string) (Issued, error) {
	ev, err := s.event(ctx, caller, id)
	if err != nil {
		e := AsError(err)
		s.recordRefusal(ctx, EntryCredentialsDenied, caller, askedFor(caller, id, requestID), e)
		return Issued{}, e
	}
	out, err := s.issue(ctx, caller, ev, requestID)
	if err == nil {
		return out, nil
	}
	var done refusedOnRecord
	if errors.As(err, &done) {
		return Issued{}, done.refusal
	}
	entry := entryFor(EntryCredentialsDenied, caller.Name, s.now(), ev.At(s.now()).Event)
	entry.Detail = callDetail(ev.RequestID, requestID)
	e := AsError(err)
	s.recordRefusal(ctx, EntryCredentialsDenied, caller, entry, e)
	return Issued{}, e
}

func (s *Service) issue(ctx context.Context, caller Principal, ev Event, requestID string) (Issued, error) {
	if refusal := May(caller, CallCredentials, targetOf(caller, ev)); refusal != nil {
		if refusal.Code == CodeForbidden {
			refusal.EventID = ev.ID
			refusal.Message += " " + ev.Invoker + " can fetch them with bgctl."
		}
		return Issued{}, refusal
	}
	profile, err := s.profile(ev.Profile)
	if err != nil {
		return Issued{}, err
	}
	if err := s.CheckClock(ctx); err != nil {
		return Issued{}, err
	}
	now := s.now()
	if ev.StatusAt(now) != StatusActive {
		return Issued{}, ended(ev.At(now))
	}
	a := asked{subject: subjectFor(caller), profile: profile, standing: Standing{Event: &ev}, now: now}
	grant, answer := s.ask(LinkBreakglass, a)
	if answer.Outcome != OutcomeAllowed {
		return Issued{}, refusedBy(answer)
	}
	return s.issueUnder(ctx, caller, a, grant, []LinkAnswer{answer}, requestID)
}

// refusedBy is the refusal by one link alone.
func refusedBy(a LinkAnswer) *Error {
	e := &Error{Code: CodePolicyDenied, Message: a.Message, Rule: a.Rule, EventID: a.EventID, AccessRequestID: a.RequestID,
		Stamps: map[string]string{DetailLinks: summary([]LinkAnswer{a})}}
	switch a.Outcome {
	case OutcomeExhausted:
		e.Condition = ConditionMaxRenewals
	case OutcomeUnavailable:
		e.Code, e.Temporary, e.RetryAfter = CodeUnavailable, true, 10*time.Second
	case OutcomeExpired:
		e.Code = CodeInvalidTransition
	case OutcomeWithdrawn:
		if e.Condition = ConditionNoRule; a.Rule != "" || a.Link == LinkRequest {
			e.Code, e.Condition = CodeInvalidTransition, ""
		}
	}
	return e
}

// issueUnder makes credentials under a grant and commits the entry that says so.
func (s *Service) issueUnder(ctx context.Context, caller Principal, a asked, g Grant, answers []LinkAnswer, callID string) (Issued, error) {
	key := g.ID
	if g.Link == LinkPolicy {
		key = strconv.Quote(caller.Name) + strconv.Quote(a.profile.Name)
	}
	if wait := s.issuances.spend(key, a.now); wait > 0 {
		return Issued{}, &Error{Code: CodeRateLimited, EventID: g.EventID(), AccessRequestID: g.AccessRequestID(), RetryAfter: wait,
			Message: fmt.Sprintf("Credentials for %s were fetched %d times in quick succession. Use those that you have; "+
				"bgctl keeps them until they are about to end.", g, issuanceBurst)}
	}
	// From here on it doesn't matter whether the caller still listens: what AWS has
	// made must be explained.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issuanceTimeout)
	defer cancel()
	creds, err := s.cfg.Issuer.Issue(ctx, a.profile, g, a.now)
	if err != nil {
		return Issued{}, stamped(err, g, answers)
	}
	if err := s.recordIssuance(ctx, caller, a, g, answers, callID, creds); err != nil {
		return Issued{}, err
	}
	return Issued{Credentials: creds, Profile: a.profile, Grant: g}, nil
}

// issuanceTimeout bounds the call to AWS together with the commit of its entry.
const issuanceTimeout = 20 * time.Second

// stamped is a failure of the provider with what leads to it from a session that
// it may have made all the same.
func stamped(err error, g Grant, answers []LinkAnswer) error {
	e := *AsError(err)
	e.Stamps = map[string]string{DetailGrantedBy: string(g.Link), DetailLinks: summary(answers)}
	if id := g.AccessRequestID(); id != "" {
		e.AccessRequestID, e.Stamps[DetailAccessRequestID] = id, id
	}
	if id := g.DecisionID(); id != "" {
		e.Stamps[DetailDecisionID], e.Stamps[DetailAccessRule], e.Stamps[DetailAccessSHA256] = id, g.Rule, g.PolicySHA256
	}
	return &e
}

// String names the grant in messages.
func (g Grant) String() string {
	switch g.Link {
	case LinkPolicy:
		return "this profile"
	case LinkRequest:
		return "request " + g.ID
	}
	return "event " + g.ID
}

// refusedOnRecord wraps a refusal whose audit entry is already committed.
type refusedOnRecord struct{ refusal *Error }

func (r refusedOnRecord) Error() string { return r.refusal.Error() }

// recordIssuance commits the entry for credentials that the provider has made,
// and counts them. The link is asked again: when it no longer allows what it did,
// the credentials are withheld, and the entry says so. Each call of AssumeRole is
// explained by exactly one entry.
func (s *Service) recordIssuance(ctx context.Context, caller Principal, a asked, g Grant, answers []LinkAnswer, callID string, c Credentials) error {
	keys := Keys{EventID: g.EventID(), RequestID: g.AccessRequestID()}
	switch g.Link { // whose they are, so that an engine needs no second look
	case LinkBreakglass:
		keys.Invoker, keys.Profile = g.Holder, a.profile.Name
	case LinkRequest:
		keys.Requests = Pair{g.Holder, a.profile.Name}
	}
	var withheld *Error
	err := s.cfg.Store.Update(ctx, keys, func(tx Tx) error {
		withheld = nil
		// By a clock that is behind by now nothing is given, but AWS has made them.
		now, behind := s.begin(tx)
		if behind != nil && !errors.Is(behind, ErrClockBehind) {
			return behind
		}
		standing, err := held(tx, g)
		if err != nil {
			return err
		}
		again := a
		again.now, again.standing = now, standing
		still, answer := s.ask(g.Link, again)
		decided := g
		if answer.Outcome == OutcomeAllowed { // by this rule, if it is another one now
			decided.Rule, decided.PolicySHA256, decided.Until = still.Rule, still.PolicySHA256, still.Until
		}
		entry := issuanceEntry(again, g, caller, callID)
		entry.Detail = withCaller(caller, fromWhere(ctx, issuanceDetail(entry.Detail, a.profile, decided, answers, c)))
		switch {
		case behind != nil:
			withheld = AsError(behind)
		case answer.Outcome != OutcomeAllowed:
			withheld = s.overBy(again, answer)
		case c.Expiration.After(still.Ends):
			withheld = &Error{Code: CodePolicyDenied, Rule: still.Rule, Condition: ConditionTime, Message: "The rule that gave access was changed meanwhile. Try again."}
		}
		if withheld != nil {
			entry.Event, entry.Reason = EntryCredentialsDenied, string(withheld.Code)
			entry.Detail[DetailMessage] = withheld.Message
			return s.record(tx, entry, snapshot(again))
		}
		if err := count(tx, again.standing, &entry); err != nil {
			return err
		}
		return s.record(tx, entry, snapshot(again))
	})
	if err != nil {
		return fmt.Errorf("record issuance: %w", err)
	}
	if withheld != nil {
		return refusedOnRecord{withheld}
	}
	return nil
}

// overBy is the refusal of credentials whose grant ended while they were made.
func (s *Service) overBy(a asked, answer LinkAnswer) *Error {
	if ev := a.standing.Event; ev != nil && ev.StatusAt(a.now) != StatusActive {
		return ended(ev.At(a.now))
	}
	if r := a.standing.Approved; r != nil && r.StatusAt(a.now) != RequestApproved {
		return overRequestError(r.At(a.now))
	}
	return refusedBy(answer)
}

// held is what a grant rests on, as it is now.
func held(tx Tx, g Grant) (st Standing, err error) {
	switch g.Link {
	case LinkBreakglass:
		ev, err := tx.Event(g.ID)
		return Standing{Event: &ev}, err
	case LinkRequest:
		r, err := tx.AccessRequest(g.ID)
		return Standing{Approved: &r}, err
	}
	return st, nil
}

// count adds an issuance to what it was made under.
func count(tx Tx, st Standing, entry *LogEntry) error {
	switch {
	case st.Event != nil:
		st.Event.Sessions++
		entry.Detail[DetailSession] = strconv.Itoa(st.Event.Sessions)
		return tx.PutEvent(*st.Event)
	case st.Approved != nil:
		st.Approved.Sessions++
		entry.Detail[DetailSession] = strconv.Itoa(st.Approved.Sessions)
		return tx.PutAccessRequest(*st.Approved)
	}
	return nil
}

// snapshot is the event for the notification, as it is at the entry's time.
func snapshot(a asked) *Event {
	if a.standing.Event == nil {
		return nil
	}
	view := a.standing.Event.At(a.now)
	return &view.Event
}

func issuanceEntry(a asked, g Grant, caller Principal, callID string) LogEntry {
	switch {
	case a.standing.Event != nil:
		entry := entryFor(EntryCredentialsIssued, caller.Name, a.now, a.standing.Event.At(a.now).Event)
		entry.Detail = callDetail(a.standing.Event.RequestID, callID)
		return entry
	case a.standing.Approved != nil:
		entry := entryForRequest(EntryCredentialsIssued, caller.Name, a.now, a.standing.Approved.At(a.now).AccessRequest)
		for key, value := range callDetail(a.standing.Approved.CorrelationID, callID) {
			entry.put(key, value)
		}
		return entry
	}
	return LogEntry{Timestamp: a.now, Event: EntryCredentialsIssued, RequestID: g.CorrelationID, Actor: caller.Name,
		Invoker: caller.Name, Profile: a.profile.Name}
}

// issuanceDetail says everything that leads from a line of CloudTrail to the
// reason, and back.
func issuanceDetail(base map[string]string, p Profile, g Grant, answers []LinkAnswer, c Credentials) map[string]string {
	m := map[string]string{
		DetailAccessKeyID: c.AccessKeyID, DetailRoleSessionName: c.RoleSessionName,
		DetailRoleARN: p.RoleARN, DetailExpiration: c.Expiration.UTC().Format(time.RFC3339),
		DetailIssuer: c.Issuer, DetailGrantedBy: string(g.Link), DetailLinks: summary(answers),
	}
	maps.Copy(m, base)
	rule, sha := DetailPolicyRule, DetailPolicySHA256
	switch g.Link {
	case LinkPolicy:
		rule, sha = DetailAccessRule, DetailAccessSHA256
		m[DetailDecisionID] = g.ID
	case LinkRequest:
		rule, sha = DetailApprovalRule, DetailApprovalSHA256
	}
	m[rule], m[sha] = g.Rule, g.PolicySHA256
	if c.SourceIdentity != "" {
		m[DetailSourceIdentity] = c.SourceIdentity
	}
	if !g.Until.IsZero() {
		m[DetailGrantedUntil] = g.Until.UTC().Format(time.RFC3339)
	}
	return m
}
