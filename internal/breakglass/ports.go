package breakglass

import (
	"context"
	"slices"
	"time"
)

// Store keeps events, the audit trail, notifications to send and idempotency
// records. Every change goes through Update.
type Store interface {
	// Update runs fn over a consistent view and commits what it wrote in one
	// serializable transaction; when Update returns nil the change is durable.
	//
	// keys names everything that fn may look up or write, so that an engine can
	// fetch and guard it in one round trip; a look-up outside keys is an error.
	// fn may run more than once (after a conflict, or when another transaction
	// of the same group fails), so it must not change anything but through tx
	// and must overwrite, not accumulate, what it hands out. Look-ups see the
	// state before fn: its own writes take effect when it returns nil. If fn
	// returns an error nothing is written and Update returns that error as it
	// is. A cancelled ctx ends the wait; whether the change was made is then
	// unknown to the caller, as with any lost answer.
	Update(ctx context.Context, keys Keys, fn func(tx Tx) error) error

	// Event returns the stored event, or ErrNotFound.
	Event(ctx context.Context, id string) (Event, error)

	// Events returns the events that match q, newest first (created_at, then
	// id, both descending), at most q.Limit of them.
	Events(ctx context.Context, q EventQuery) ([]Event, error)

	// AccessRequest returns the stored access request, or ErrNotFound.
	AccessRequest(ctx context.Context, id string) (AccessRequest, error)

	// AccessRequests returns the access requests that match q, newest first
	// (created_at, then id, both descending), at most q.Limit of them.
	AccessRequests(ctx context.Context, q RequestQuery) ([]AccessRequest, error)

	// Standing returns what a person has open on a profile, consistently read
	// and in one round trip. Nothing guards it: what is done about it is decided
	// again in Update.
	Standing(ctx context.Context, p Pair) (Standing, error)

	// Agenda returns what is due next, the earliest first, at most limit tasks:
	// one for each stored-active event, at Event.DueAt, and one for each
	// stored-open access request, at its ExpiresAt. Those of one moment come in
	// any order.
	Agenda(ctx context.Context, limit int) ([]Task, error)

	// Claim takes a task, as Agenda has returned it: until the given instant no
	// other server gets it. ErrNotFound means that another one has it, or that
	// it is done. It only spares servers from doing the same work at once; what
	// has to be done is decided in Update.
	Claim(ctx context.Context, t Task, now, until time.Time) error

	// LatestEntryTime is the latest timestamp of any audit entry; zero when
	// there is none.
	LatestEntryTime(ctx context.Context) (time.Time, error)

	// PurgeIdempotent forgets idempotency records created before the given time.
	PurgeIdempotent(ctx context.Context, before time.Time) error
}

// Keys names what a transaction may touch.
type Keys struct {
	EventID     string // an existing event
	Invoker     string // with Profile: stacking, cooldown and quota look-ups
	Profile     string
	Caller      string // with Idempotency: the idempotency record
	Idempotency string
	Factor      string // the second factor of this person
	RequestID   string // an existing access request
	Requests    Pair   // the open access requests of a person on a profile
}

// Pair is a person and a profile.
type Pair struct{ Person, Profile string }

// Task is something that has to be done at a moment: exactly one of the ids is set.
type Task struct {
	At        time.Time
	EventID   string
	RequestID string
}

// OpenRequests are the stored-open access requests of a pair: at most one in
// each state. Either may have lapsed.
type OpenRequests struct {
	Pending, Approved *AccessRequest
}

// Standing is what a person has open on a profile.
type Standing struct {
	Event       *Event         // stored-active; may have lapsed
	Approved    *AccessRequest // stored-approved; may have lapsed
	Pending     *AccessRequest // stored-pending; may have lapsed
	LatestEntry time.Time      // as Store.LatestEntryTime
}

// Tx is the view and the writes of one transaction.
type Tx interface {
	History

	// Event returns the stored event, or ErrNotFound.
	Event(id string) (Event, error)
	// FindActiveByInvokerAndProfile returns the stored-active event, which may
	// have lapsed; nil when there is none.
	FindActiveByInvokerAndProfile(invoker, profile string) (*Event, error)
	// FindIdempotent returns the record of the caller's key; nil when there is none.
	FindIdempotent(caller, key string) (*Idempotent, error)
	// FindFactor returns the person's second factor; nil when there is none.
	FindFactor(name string) (*Factor, error)
	// AccessRequest returns the stored access request, or ErrNotFound.
	AccessRequest(id string) (AccessRequest, error)
	// FindOpenRequests returns the stored-open access requests of the pair.
	FindOpenRequests(p Pair) (OpenRequests, error)
	// LatestEntryTime is the latest timestamp of any audit entry, which need not
	// be the newest entry's; zero when there is none.
	LatestEntryTime() (time.Time, error)

	// PutEvent inserts or replaces an event.
	PutEvent(e Event) error
	// PutAccessRequest inserts or replaces an access request. It must be known by
	// Keys.RequestID, or belong to Keys.Requests; with the latter named, an engine
	// needs no second read. Writes take effect in their order: what leaves a state
	// comes before what takes its place there. The transaction that inserts one
	// appends an EntryRequestCreated by its requester that names it in
	// DetailAccessRequestID, and each change of its state an entry that does:
	// an export finds and verifies requests by these.
	PutAccessRequest(r AccessRequest) error
	// PutIdempotent inserts a record.
	PutIdempotent(r Idempotent) error
	// PutFactor inserts or replaces the second factor of f.Name.
	PutFactor(f Factor) error
	// DeleteFactor removes the second factor; it is no error if there is none.
	DeleteFactor(name string) error
	// Append adds an entry to the audit trail, and a delivery of it to each
	// sink. ev is the event right after the change, or nil.
	Append(entry LogEntry, ev *Event, sinks []string) error
}

// History is what rate limits look at. Closed and expired events count.
type History interface {
	// CountByInvokerSince counts the user's events created after since, over
	// all profiles, newest first, and stops at atMost.
	CountByInvokerSince(invoker string, since time.Time, atMost int) (Tally, error)
	// CountByProfileSince does the same for a profile, over all users.
	CountByProfileSince(profile string, since time.Time, atMost int) (Tally, error)
	// GetLastByInvokerAndProfile returns the user's newest event on the
	// profile; nil when there is none.
	GetLastByInvokerAndProfile(invoker, profile string) (*Event, error)
}

// Tally is a bounded count. Because the newest are counted first, Oldest tells
// when the count falls below its bound: when that event leaves the window.
type Tally struct {
	Count  int
	Oldest time.Time // created_at of the oldest event counted; zero when Count is 0
}

// Idempotent remembers that a caller's key made an event.
type Idempotent struct {
	Caller      string
	Key         string
	Fingerprint string // of the request; the same key with another one is refused
	EventID     string
	CreatedAt   time.Time
}

// EventQuery selects events. Zero fields don't filter.
type EventQuery struct {
	Invoker    string
	Profile    string
	Status     Status // as derived at Now, not as stored
	ReasonCode ReasonCode
	Since      time.Time // created_at ≥
	Until      time.Time // created_at <
	Before     *Position // continue after this event of the listing
	Limit      int
	Now        time.Time
}

// RequestQuery selects access requests. Zero fields don't filter.
type RequestQuery struct {
	Requester string
	Profile   string
	Status    RequestStatus // as derived at Now, not as stored
	Before    *Position     // continue after this request of the listing
	Limit     int
	Now       time.Time
}

// Position is a place in a listing of events or access requests.
type Position struct {
	CreatedAt time.Time
	ID        string
}

// Journal is the audit trail for readers.
type Journal interface {
	// Head returns the sequence number of the newest committed entry, 0 when
	// there is none. It must be cheap: every poll asks it.
	Head(ctx context.Context) (int64, error)
	// Entries returns the entries that match q in ascending order of seq, at
	// most q.Limit of them, and the seq up to which the trail was searched: a
	// reader that continues after it misses nothing.
	Entries(ctx context.Context, q EntryQuery) (entries []LogEntry, through int64, err error)
	// Wait returns nil as soon as the head is beyond after, or ctx.Err().
	Wait(ctx context.Context, after int64) error
}

// EntryQuery selects audit entries. Zero fields don't filter.
type EntryQuery struct {
	After   int64
	Event   EntryType
	Invoker string
	Profile string
	Since   time.Time // timestamp ≥
	// Until ends the search where the trail's own clock, the latest timestamp so
	// far, reaches it. The trail then counts as searched to its end.
	Until time.Time
	Limit int
}

// Policy says who may break the glass. Implementations are pure and safe for
// concurrent use.
type Policy interface {
	// Decide judges one invocation.
	Decide(r PolicyRequest) PolicyDecision
	// Offer returns what the subject may invoke on the profile at that
	// instant; ok is false when nothing.
	Offer(subject Subject, profile string, at time.Time) (o Offer, ok bool)
	// Terms returns what the rule in force says about events of the subject on
	// the profile; ok is false when no rule is about them any more.
	Terms(subject Subject, profile string) (t Terms, ok bool)
	// Who names those who may invoke the profile at all.
	Who(profile string) People
	// SHA256 is the hex digest of the file that the policy was read from.
	SHA256() string
}

// Terms bound what is done under a grant.
type Terms struct {
	Rule          string
	MaxDuration   time.Duration // of one grant
	MaxSession    time.Duration // of one set of credentials; zero: as long as the grant lasts
	MaxRenewals   *int          // issuances after the first; nil: any number
	MaxExtensions int           // of an event
}

// StandingPolicy says who has access without asking anybody. Implementations
// are pure and safe for concurrent use.
type StandingPolicy interface {
	// Decide judges access to a profile at one instant.
	Decide(subject Subject, profile string, at time.Time) StandingDecision
	// Who names those who have access to the profile at all.
	Who(profile string) People
	SHA256() string
}

// StandingDecision is the answer of the standing policy.
type StandingDecision struct {
	Permit  bool
	Rule    string // that decided; empty when none applies
	Message string // of a refusal, in words
	// Until is when the rule's time window closes; zero: it doesn't.
	Until time.Time
	// MaxSession is the longest session; never zero where Permit is true.
	MaxSession time.Duration
}

// ApprovalPolicy says who approves access requests.
type ApprovalPolicy interface {
	// Find returns the rule for a profile; ok is false when nobody can ask for it.
	Find(profile string) (r ApprovalRule, ok bool)
	SHA256() string
}

// ApprovalRule is how requests for some profiles are approved.
type ApprovalRule struct {
	Terms
	Requesters    People // who may ask
	Approvers     People // who may approve
	Required      int    // how many of them have to
	RequireTicket bool
	MaxWait       time.Duration // for approval
	Auto          []AutoApproval
}

// AutoApproval approves some requests without anybody.
type AutoApproval struct {
	People      People
	Profiles    interface{ Match(profile string) bool } // of those of the rule
	Window      interface{ Contains(at time.Time) bool }
	MaxDuration time.Duration
}

// Approves reports whether a request needs nobody's approval.
func (a AutoApproval) Approves(s Subject, profile string, d time.Duration, at time.Time) bool {
	return a.People.Include(s) && a.Profiles.Match(profile) && d <= a.MaxDuration && a.Window.Contains(at)
}

// Everybody, as a user, stands for every authenticated caller.
const Everybody = "*"

// People are some users and the members of some groups.
type People struct {
	Users  []string // canonical names, or Everybody
	Groups []string
}

// Include reports whether the subject is one of them. Names compare as they are:
// both sides are canonical.
func (p People) Include(s Subject) bool {
	if s.Name == "" {
		return false
	}
	return slices.Contains(p.Users, Everybody) || slices.Contains(p.Users, s.Name) ||
		slices.ContainsFunc(s.Groups, func(g string) bool { return slices.Contains(p.Groups, g) })
}

// Subject is for whom access is decided.
type Subject struct {
	Name   string
	Groups []string
}

// PolicyRequest is what policy decides on.
type PolicyRequest struct {
	Subject    Subject
	Profile    string
	ReasonCode ReasonCode
	Duration   time.Duration // zero: the default, or the rule's cap when lower
	HasTicket  bool
	At         time.Time
}

// PolicyDecision is the answer. When refused, Condition names what failed
// (Condition… constants), Message says it in words and Allowed what would do.
type PolicyDecision struct {
	Permit      bool
	Rule        string        // empty when no rule matched
	MaxDuration time.Duration // of the rule that matched
	MFA         MFARequirement
	Condition   string
	Message     string
	Allowed     *Allowed
}

// The conditions that a policy decision can fail on.
const (
	ConditionNoRule      = "no_matching_rule"
	ConditionReasonCode  = "allowed_reason_codes"
	ConditionTime        = "time"
	ConditionMaxDuration = "max_duration"
	ConditionTicket      = "require_ticket"
	ConditionProfileCap  = "profile_max_duration"
	ConditionMaxRenewals = "max_renewals"
	ConditionExtensions  = "max_extensions"
)

// Offer is what a subject may invoke on one profile.
type Offer struct {
	Rule           string        `json:"rule"`
	MaxDuration    time.Duration `json:"-"`
	ReasonCodes    []ReasonCode  `json:"reason_codes"`
	TicketRequired bool          `json:"ticket_required"`
	MFARequired    bool          `json:"mfa_required"`
}

// RateLimiter bounds how often the glass is broken.
type RateLimiter interface {
	// CheckRateLimit looks at the history in the order cooldown → user quota →
	// profile quota → escalation. An error is the history's.
	CheckRateLimit(h History, invoker, profile string, now time.Time) (LimitDecision, error)
	// SHA256 is the hex digest of the file that the limits were read from.
	SHA256() string
}

// LimitDecision is the answer of the rate limits.
type LimitDecision struct {
	Permit     bool
	Rule       string        // empty when no rule matched
	Limit      Limit         // which limit refused
	RetryAfter time.Duration // when the next attempt can succeed as far as this limit goes
	Message    string        // the refusal in words
	Escalate   bool          // the threshold is reached: flag and alert, never block
	Count      int           // the user's invocations in the window, this one included; only when Escalate
	Threshold  int
}

// Profile is an AWS role in an account that can be invoked.
type Profile struct {
	Name           string
	RoleARN        string
	Region         string
	ExternalID     string
	MaxDuration    time.Duration // of an event; zero: MaxDuration
	MaxSession     time.Duration // the role's MaxSessionDuration; zero: one hour, AWS's default
	SourceIdentity bool          // set SourceIdentity (needs sts:SetSourceIdentity in the trust policy)
	SessionTags    bool          // set session tags (needs sts:TagSession in the trust policy)
}

// Issuer turns a grant into credentials.
type Issuer interface {
	// Issue returns credentials that end at g.Ends or earlier. A refusal or
	// failure of the provider is an *Error with CodeCredentialsRefused.
	Issue(ctx context.Context, p Profile, g Grant, now time.Time) (Credentials, error)
}

// Credentials are secret, except for AccessKeyID and what says how they were
// made. They are never logged: String hides them.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
	Issuer          string // "aws" or "dev"
	RoleSessionName string
	SourceIdentity  string
}

// Role is what a principal may do beside invoking.
type Role string

// The roles.
const (
	RoleReviewer Role = "reviewer" // sees every event and the trail, closes any event
	RoleAuditor  Role = "auditor"  // sees every event and the trail
	RoleDelegate Role = "delegate" // invokes for others
	RoleAdmin    Role = "admin"    // has the rules read again
)

// Roles lists every role.
func Roles() []Role { return []Role{RoleReviewer, RoleAuditor, RoleDelegate, RoleAdmin} }

// Principal is an authenticated caller: one canonical name plus groups and roles.
type Principal struct {
	Name   string // as CanonicalName returns it
	Groups []string
	Roles  []Role
	Via    Via // zero for somebody who didn't log in, such as a delegate's invoker
	// Assurance is what an identity provider said about the login.
	Assurance Assurance
}

// Via is the way in by which a caller was authenticated.
type Via struct {
	Method Method
	Source string // what vouches for the name: an issuer, an AWS identity, the label of a token; may be empty
}

// Method is the kind of a way in.
type Method string

// The ways in.
const (
	MethodToken Method = "token" // a static bearer token
	MethodOIDC  Method = "oidc"  // a JWT; Source is its issuer, a # and the account (sub)
	MethodAWS   Method = "aws"   // a session after a signed GetCallerIdentity; Source is its ARN
)

// String is what audit entries and whoami show, such as token:laptop or
// oidc:https://login.example.com#00u1a2b3c4; empty for the zero Via.
func (v Via) String() string {
	if v.Source == "" {
		return string(v.Method)
	}
	return string(v.Method) + ":" + v.Source
}

// Is reports whether the principal has any of the roles.
func (p Principal) Is(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(p.Roles, r) })
}

// Directory knows people by their canonical name.
type Directory interface {
	// Lookup returns the principal of that name; ok is false when there is none.
	Lookup(name string) (p Principal, ok bool)
}
