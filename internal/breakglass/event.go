package breakglass

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"
)

// Limits of an event's life. The maximum is absolute: no policy rule, profile
// or caller can exceed it.
const (
	MaxDuration     = 4 * time.Hour
	DefaultDuration = time.Hour
	MinDuration     = time.Second
)

// Status is the state of an event. There is no pending state: access is
// immediate, and both ends are final.
type Status string

// The states of an event.
const (
	StatusActive  Status = "active"
	StatusClosed  Status = "closed"
	StatusExpired Status = "expired"
)

// Statuses lists every state, in the order of an event's life.
func Statuses() []Status { return []Status{StatusActive, StatusClosed, StatusExpired} }

// IsValid reports whether s is one of the known states.
func (s Status) IsValid() bool { return slices.Contains(Statuses(), s) }

// CanTransitionTo reports whether the state machine allows s → next. Only
// active → closed and active → expired exist.
func (s Status) CanTransitionTo(next Status) bool {
	return s == StatusActive && (next == StatusClosed || next == StatusExpired)
}

// ReasonCode says in one word why the glass was broken.
type ReasonCode string

// The reason codes.
const (
	ReasonIncident    ReasonCode = "incident"
	ReasonMaintenance ReasonCode = "maintenance"
	ReasonSecurity    ReasonCode = "security"
	ReasonRecovery    ReasonCode = "recovery"
	ReasonOther       ReasonCode = "other"
)

// ReasonCodes lists every reason code in the order in which help texts show them.
func ReasonCodes() []ReasonCode {
	return []ReasonCode{ReasonIncident, ReasonMaintenance, ReasonSecurity, ReasonRecovery, ReasonOther}
}

// IsValid reports whether r is one of the known reason codes.
func (r ReasonCode) IsValid() bool { return slices.Contains(ReasonCodes(), r) }

// Event is one use of emergency access. Times are UTC with microsecond
// precision, so that every store keeps them exactly.
//
// Status is the stored state. What callers see is derived by StatusAt and At,
// because an event counts as expired from ExpiresAt on, whether or not anything
// has written that down yet.
type Event struct {
	ID              string     `json:"event_id"`
	Invoker         string     `json:"invoker"`
	RequestedBy     string     `json:"requested_by"`
	Profile         string     `json:"profile"`
	ReasonCode      ReasonCode `json:"reason_code"`
	Justification   string     `json:"justification"`
	Ticket          string     `json:"ticket,omitempty"`
	DurationSeconds int64      `json:"duration_seconds"`
	Status          Status     `json:"status"`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
	ExpiresAt       time.Time  `json:"expires_at"`
	ClosedAt        time.Time  `json:"closed_at,omitzero"`
	ClosedBy        string     `json:"closed_by,omitempty"`
	ClosedReason    string     `json:"closed_reason,omitempty"`
	RequestID       string     `json:"request_id"`
	PolicyRule      string     `json:"policy_rule"`
	Escalated       bool       `json:"escalated"`
	Sessions        int        `json:"sessions"`   // how often credentials were issued under it
	Extensions      int        `json:"extensions"` // how often it was extended
	// WarnAt is when its approaching end is to be announced; zero when it was, or
	// when it is too short for that.
	WarnAt time.Time `json:"warn_at,omitzero"`
}

// warnBefore is how long before an event's end people are warned.
const warnBefore = 10 * time.Minute

// ending is the event with the given end, announced in time.
func (e Event) ending(at time.Time) Event {
	e.ExpiresAt, e.WarnAt = at, time.Time{}
	e.DurationSeconds = int64(at.Sub(e.CreatedAt) / time.Second)
	if warn := at.Add(-warnBefore); warn.After(e.UpdatedAt) {
		e.WarnAt = warn
	}
	return e
}

// DueAt is when something has to be done about an active event: announce its
// end, or record it.
func (e Event) DueAt() time.Time {
	if !e.WarnAt.IsZero() {
		return e.WarnAt
	}
	return e.ExpiresAt
}

// StatusAt is the one place where an event's state is derived: active becomes
// expired at ExpiresAt itself, not one instant later.
func (e Event) StatusAt(now time.Time) Status {
	if e.Status == StatusActive && !now.Before(e.ExpiresAt) {
		return StatusExpired
	}
	return e.Status
}

// RemainingDuration is the time until the event ends: zero unless it is active.
func (e Event) RemainingDuration(now time.Time) time.Duration {
	if e.StatusAt(now) != StatusActive {
		return 0
	}
	return e.ExpiresAt.Sub(now)
}

// View is an event as it is at one instant: its state derived, its remaining
// time counted. This is the JSON that the API and bgctl show.
type View struct {
	Event
	// RemainingSeconds is rounded up, so that it is 0 exactly when the event
	// is no longer active.
	RemainingSeconds int64 `json:"remaining_seconds"`
}

// At derives the event as it is at now.
func (e Event) At(now time.Time) View {
	if e.StatusAt(now) == StatusExpired && e.Status == StatusActive {
		e = e.expired()
	}
	left := e.RemainingDuration(now)
	return View{Event: e, RemainingSeconds: int64((left + time.Second - 1) / time.Second)}
}

// expired is the event after active → expired. It carries the end itself as
// the time of the change: a reader before and one after the sweeper see the same.
func (e Event) expired() Event {
	e.Status = StatusExpired
	e.UpdatedAt, e.WarnAt = e.ExpiresAt, time.Time{}
	return e
}

// closed is the event after active → closed.
func (e Event) closed(now time.Time, by, reason string) Event {
	e.Status, e.WarnAt = StatusClosed, time.Time{}
	e.UpdatedAt, e.ClosedAt, e.ClosedBy, e.ClosedReason = now, now, by, reason
	return e
}

// NewID returns a new event id: 16 lower-case hex characters from crypto/rand.
func NewID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:])
}

// IsID reports whether s has the form of an event id.
func IsID(s string) bool {
	if len(s) != 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
