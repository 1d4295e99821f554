package breakglass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

// Each event has this many issuances at once, and one more in each refill. An
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
	entry.Detail = callDetail(ev, requestID)
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
	if wait := s.issuances.spend(ev.ID, now); wait > 0 {
		return Issued{}, &Error{Code: CodeRateLimited, EventID: ev.ID, RetryAfter: wait,
			Message: fmt.Sprintf("Credentials for event %s were fetched %d times in quick succession. Use those that you have; "+
				"bgctl keeps them until they are about to end.", ev.ID, issuanceBurst)}
	}
	g := Grant{Link: LinkBreakglass, ID: ev.ID, Holder: ev.Invoker, Rule: ev.PolicyRule, Until: ev.ExpiresAt, Ends: ev.ExpiresAt, ReasonCode: ev.ReasonCode, CorrelationID: ev.RequestID}
	creds, err := s.cfg.Issuer.Issue(ctx, profile, g, now)
	if err != nil {
		return Issued{}, err
	}
	if err := s.recordIssuance(ctx, caller, ev.ID, requestID, profile, creds); err != nil {
		return Issued{}, err
	}
	return Issued{Credentials: creds, Profile: profile, Grant: g}, nil
}

// refusedOnRecord wraps a refusal whose audit entry is already committed.
type refusedOnRecord struct{ refusal *Error }

func (r refusedOnRecord) Error() string { return r.refusal.Error() }

// recordIssuance commits the entry for credentials that the provider has made.
// When the event ended meanwhile they are withheld, and the entry says so: each
// call of AssumeRole is explained by exactly one entry.
func (s *Service) recordIssuance(ctx context.Context, caller Principal, id, requestID string, p Profile, c Credentials) error {
	var withheld *Error
	err := s.cfg.Store.Update(ctx, Keys{EventID: id}, func(tx Tx) error {
		withheld = nil
		ev, err := tx.Event(id)
		if err != nil {
			return err
		}
		now, err := s.begin(tx)
		if err != nil {
			return err
		}
		view := ev.At(now)
		entry := entryFor(EntryCredentialsIssued, caller.Name, now, view.Event)
		entry.Detail = withCaller(caller, fromWhere(ctx, issuanceDetail(ev, requestID, p, c)))
		if view.Status != StatusActive {
			withheld = ended(view)
			entry.Event, entry.Reason = EntryCredentialsDenied, string(withheld.Code)
			entry.Detail[DetailMessage] = withheld.Message
		}
		return s.record(tx, entry, &view.Event)
	})
	if err != nil {
		return fmt.Errorf("record issuance: %w", err)
	}
	if withheld != nil {
		return refusedOnRecord{withheld}
	}
	return nil
}

func issuanceDetail(ev Event, requestID string, p Profile, c Credentials) map[string]string {
	m := map[string]string{
		DetailAccessKeyID: c.AccessKeyID, DetailRoleSessionName: c.RoleSessionName,
		DetailRoleARN: p.RoleARN, DetailExpiration: c.Expiration.UTC().Format(time.RFC3339),
		DetailIssuer: c.Issuer, DetailPolicyRule: ev.PolicyRule,
	}
	if c.SourceIdentity != "" {
		m[DetailSourceIdentity] = c.SourceIdentity
	}
	if requestID != "" && requestID != ev.RequestID {
		m[DetailCallRequestID] = requestID
	}
	return m
}
