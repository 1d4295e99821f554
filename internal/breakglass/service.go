package breakglass

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// Config is what a Service is made of. Everything is required but Access, Approvals, MFA and Log.
type Config struct {
	Store    Store
	Journal  Journal
	Profiles []Profile
	Issuer   Issuer
	// Directory knows the people for whom a delegate may invoke.
	Directory Directory
	// Policy and Limits return what is in force. An error means that there
	// never was a readable one: then nothing is granted.
	Policy func() (Policy, error)
	Limits func() (RateLimiter, error)
	// Access and Approvals return the standing policy and the approval rules in
	// force; nil means that there are none.
	Access    func() (StandingPolicy, error)
	Approvals func() (ApprovalPolicy, error)
	// Sinks names the notification sinks that want an entry.
	Sinks func(t EntryType, profile string) []string
	Now   func() time.Time
	// MFA is nil where the server checks no second factors itself.
	MFA *MFA
	Log *slog.Logger
	// AcceptClock switches the check of the clock against the audit trail off,
	// for a trail that was written under a clock wrongly ahead.
	AcceptClock bool
	// SweepEvery is how often the sweeper looks for expiries that it doesn't
	// know of; default 15 s. A store that several servers write needs less.
	SweepEvery time.Duration
}

// Service runs the operations of break-glass. Everything is decided here.
// It is safe for concurrent use.
type Service struct {
	cfg       Config
	profiles  map[string]Profile
	refusals  *refusals
	issuances *budget // by grant
	enrolling *budget // by person
	asking    *budget // by person, of access requests
	telling   *budget // by person, of stories
	wake      chan struct{}
	// nextWake is when the sweeper will look again, in Unix microseconds.
	nextWake atomic.Int64
}

// New returns a Service. Run must run beside it for expiries to be recorded.
func New(cfg Config) *Service {
	s := &Service{cfg: cfg, profiles: map[string]Profile{}, refusals: newRefusals(), issuances: newBudget(issuanceBurst, issuanceRefill),
		enrolling: newBudget(enrolBurst, enrolRefill), asking: newBudget(askingBurst, askingRefill), telling: newBudget(tellingBurst, tellingRefill), wake: make(chan struct{}, 1)}
	s.nextWake.Store(awake)
	if s.cfg.SweepEvery <= 0 {
		s.cfg.SweepEvery = sweepAtLeast
	}
	for _, p := range cfg.Profiles {
		s.profiles[p.Name] = p
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

// now is the time as the service keeps it: UTC in whole microseconds, so that
// every store and every reader sees the same instant.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// clockTolerance is how far the clock may lie behind the newest audit entry.
// Small steps back are what time synchronisation does.
const clockTolerance = 5 * time.Second

// clockAgainst refuses to work with a clock that lies behind the audit trail:
// expiry, cooldowns and quotas would all be wrong in the direction that grants
// more.
func (s *Service) clockAgainst(last time.Time, now time.Time) error {
	if s.cfg.AcceptClock || last.IsZero() || !now.Before(last.Add(-clockTolerance)) {
		return nil
	}
	return &Error{
		Code: CodeUnavailable, Temporary: true, RetryAfter: time.Minute,
		Message: fmt.Sprintf("The server's clock says %s, but its audit trail already reaches %s. Nothing is granted until "+
			"an operator sets the clock right, or starts the server with --accept-clock when the trail was ahead.",
			now.Format(time.RFC3339), last.Format(time.RFC3339)),
		Cause: ErrClockBehind,
	}
}

// begin returns the one timestamp of a transaction.
func (s *Service) begin(tx Tx) (time.Time, error) {
	now := s.now()
	last, err := tx.LatestEntryTime()
	if err != nil {
		return now, err
	}
	return now, s.clockAgainst(last, now)
}

// ErrClockBehind is in what CheckClock returns when the clock is wrong, and not
// when the trail can't be read.
var ErrClockBehind = errors.New("the clock lies behind the audit trail")

// CheckClock reports a clock that lies behind the audit trail.
func (s *Service) CheckClock(ctx context.Context) error {
	latest, err := s.cfg.Store.LatestEntryTime(ctx)
	if err != nil {
		return err
	}
	return s.clockAgainst(latest, s.now())
}

// record appends an entry and the deliveries that it calls for.
func (s *Service) record(tx Tx, entry LogEntry, ev *Event) error {
	return tx.Append(entry, ev, s.cfg.Sinks(entry.Event, entry.Profile))
}

// profile returns the configured profile of that name.
func (s *Service) profile(name string) (Profile, error) {
	p, ok := s.profiles[name]
	if !ok {
		return Profile{}, &Error{Code: CodeProfileUnknown,
			Message: fmt.Sprintf("There is no profile %q. `bgctl profiles` lists those that you may invoke.", name)}
	}
	return p, nil
}

// cap is the longest event that both the profile and a rule allow.
func (p Profile) cap(rule time.Duration) time.Duration {
	longest := min(rule, MaxDuration)
	if p.MaxDuration > 0 {
		longest = min(longest, p.MaxDuration)
	}
	return longest
}

// ProfileOffer is a profile that the caller may invoke now.
type ProfileOffer struct {
	Profile         string        `json:"profile"`
	Region          string        `json:"region"`
	Rule            string        `json:"rule"`
	MaxDuration     time.Duration `json:"-"`
	DefaultDuration time.Duration `json:"-"`
	ReasonCodes     []ReasonCode  `json:"reason_codes"`
	TicketRequired  bool          `json:"ticket_required"`
	MFARequired     bool          `json:"mfa_required"`
}

// Profiles lists what the caller may invoke at this moment, by name. Stacking
// and rate limits are not looked at.
func (s *Service) Profiles(caller Principal) ([]ProfileOffer, error) {
	policy, err := s.policy()
	if err != nil {
		return nil, err
	}
	return s.offers(policy, Subject{Name: caller.Name, Groups: caller.Groups}, s.now()), nil
}

func (s *Service) offers(policy Policy, subject Subject, at time.Time) []ProfileOffer {
	offers := []ProfileOffer{}
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		o, ok := policy.Offer(subject, name, at)
		if !ok {
			continue
		}
		longest := s.profiles[name].cap(o.MaxDuration)
		offers = append(offers, ProfileOffer{
			Profile: name, Region: s.profiles[name].Region, Rule: o.Rule,
			MaxDuration: longest, DefaultDuration: min(longest, DefaultDuration),
			ReasonCodes: o.ReasonCodes, TicketRequired: o.TicketRequired, MFARequired: o.MFARequired,
		})
	}
	return offers
}

// policy returns the policy in force, or says that there is none.
func (s *Service) policy() (Policy, error) {
	p, err := s.cfg.Policy()
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Temporary: true, RetryAfter: 10 * time.Second, Cause: err,
			Message: "No readable policy is loaded, so nothing is granted. An operator must mend the policy file; the server picks it up by itself."}
	}
	return p, nil
}

func (s *Service) limits() (RateLimiter, error) {
	l, err := s.cfg.Limits()
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Temporary: true, RetryAfter: 10 * time.Second, Cause: err,
			Message: "No readable rate limits are loaded, so nothing is granted. An operator must mend the rate-limit file; the server picks it up by itself."}
	}
	return l, nil
}
