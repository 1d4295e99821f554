package breakglass

import (
	"slices"
	"time"
)

// Limits of an access request. An approved one lasts longer than an emergency:
// somebody has looked at it beforehand.
const (
	MaxRequestDuration     = 8 * time.Hour
	DefaultRequestDuration = time.Hour
	// MaxRequestWait is the longest that any rule lets a request wait for approval.
	MaxRequestWait = 7 * 24 * time.Hour
	// DefaultRequestWait is how long a request waits where the rule doesn't say.
	DefaultRequestWait = 24 * time.Hour
	// MaxApprovals bounds how many approvals a rule can ask for.
	MaxApprovals = 5
)

// RequestStatus is the state of an access request.
type RequestStatus string

// The states of an access request. Approved ends too: by itself at its end, by
// its requester's cancel, or by an approver's deny, which withdraws the approval.
const (
	RequestPending   RequestStatus = "pending"
	RequestApproved  RequestStatus = "approved"
	RequestDenied    RequestStatus = "denied"
	RequestCancelled RequestStatus = "cancelled"
	RequestExpired   RequestStatus = "expired"
)

// RequestStatuses lists every state of an access request, in the order of its life.
func RequestStatuses() []RequestStatus {
	return []RequestStatus{RequestPending, RequestApproved, RequestDenied, RequestCancelled, RequestExpired}
}

// IsValid reports whether s is one of the known states.
func (s RequestStatus) IsValid() bool { return slices.Contains(RequestStatuses(), s) }

// Open reports whether a request in this state can still come to something.
func (s RequestStatus) Open() bool { return s == RequestPending || s == RequestApproved }

// CanTransitionTo reports whether the state machine allows s → next.
func (s RequestStatus) CanTransitionTo(next RequestStatus) bool {
	switch next {
	case RequestApproved:
		return s == RequestPending
	case RequestDenied, RequestCancelled, RequestExpired:
		return s.Open()
	}
	return false
}

// AccessRequest is a person's request for access to a profile that others
// approve. Times are UTC with microsecond precision, as those of Event.
//
// Status is the stored state; what callers see is derived by StatusAt.
type AccessRequest struct {
	ID              string        `json:"request_id"`
	Requester       string        `json:"requester"`
	Profile         string        `json:"profile"`
	Justification   string        `json:"justification"`
	Ticket          string        `json:"ticket,omitempty"`
	DurationSeconds int64         `json:"duration_seconds"` // of the access, from its approval on
	Status          RequestStatus `json:"status"`
	CreatedAt       time.Time     `json:"created_at"`
	UpdatedAt       time.Time     `json:"updated_at"`
	// ExpiresAt is until when a pending request waits, and when the access of an
	// approved one ends.
	ExpiresAt time.Time `json:"expires_at"`
	// ApprovalRule is the rule of approvals.yaml that decided last.
	ApprovalRule      string     `json:"approval_rule"`
	ApprovalsRequired int        `json:"approvals_required"`
	Approvals         []Approval `json:"approvals"`
	// AutoApproved says that the rule approved it without anybody.
	AutoApproved  bool      `json:"auto_approved"`
	ApprovedAt    time.Time `json:"approved_at,omitzero"`
	EndedAt       time.Time `json:"ended_at,omitzero"` // denied or cancelled
	EndedBy       string    `json:"ended_by,omitempty"`
	EndedReason   string    `json:"ended_reason,omitempty"`
	Sessions      int       `json:"sessions"` // how often credentials were issued under it
	CorrelationID string    `json:"correlation_id"`
}

// Approval is one person's consent to a request.
type Approval struct {
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Comment string    `json:"comment,omitempty"`
}

// StatusAt is the one place where a request's state is derived: an open one
// becomes expired at ExpiresAt itself.
func (r AccessRequest) StatusAt(now time.Time) RequestStatus {
	if r.Status.Open() && !now.Before(r.ExpiresAt) {
		return RequestExpired
	}
	return r.Status
}

// RequestView is a request as it is at one instant.
type RequestView struct {
	AccessRequest
	// RemainingSeconds is how much longer it waits or lasts, rounded up; 0
	// exactly when it is no longer open.
	RemainingSeconds int64 `json:"remaining_seconds"`
}

// At derives the request as it is at now.
func (r AccessRequest) At(now time.Time) RequestView {
	if r.Status.Open() && r.StatusAt(now) == RequestExpired {
		r = r.expired()
	}
	if r.Approvals == nil {
		r.Approvals = []Approval{}
	}
	v := RequestView{AccessRequest: r}
	if r.Status.Open() {
		v.RemainingSeconds = int64((r.ExpiresAt.Sub(now) + time.Second - 1) / time.Second)
	}
	return v
}

// expired is the request after its end. As for events, the end itself is the
// time of the change.
func (r AccessRequest) expired() AccessRequest {
	r.Status, r.UpdatedAt = RequestExpired, r.ExpiresAt
	return r
}

// approved is the request once it has all its approvals.
func (r AccessRequest) approved(now time.Time) AccessRequest {
	r.Status, r.UpdatedAt, r.ApprovedAt = RequestApproved, now, now
	r.ExpiresAt = now.Add(time.Duration(r.DurationSeconds) * time.Second)
	return r
}

// ended is the request after somebody denied or cancelled it.
func (r AccessRequest) ended(status RequestStatus, now time.Time, by, reason string) AccessRequest {
	r.Status, r.UpdatedAt, r.EndedAt, r.EndedBy, r.EndedReason = status, now, now, by, reason
	return r
}

// ApprovedBy reports whether that person has approved the request.
func (r AccessRequest) ApprovedBy(name string) bool {
	return slices.ContainsFunc(r.Approvals, func(a Approval) bool { return a.By == name })
}
