package breakglass

import (
	"context"
	"errors"
	"time"
)

// Code is the stable, machine-readable name of an error; callers may rely on it.
type Code string

// The error codes.
const (
	CodeInvalidRequest       Code = "invalid_request"
	CodeMalformed            Code = "malformed"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeForbidden            Code = "forbidden"
	CodePolicyDenied         Code = "policy_denied"
	CodeMFARequired          Code = "mfa_required"
	CodeMFAInvalid           Code = "mfa_invalid"
	CodeMFAEnrolled          Code = "mfa_enrolled"     // there is a second factor already
	CodeMFANotEnrolled       Code = "mfa_not_enrolled" // there is none, or none that was confirmed
	CodeProfileUnknown       Code = "profile_unknown"
	CodeEventNotFound        Code = "event_not_found"
	CodeRequestNotFound      Code = "request_not_found"   // an access request
	CodeAlreadyRequested     Code = "already_requested"   // a pending access request is in the way
	CodeAccessDenied         Code = "access_denied"       // no link of the chain gives access
	CodeRequestDenied        Code = "request_not_allowed" // the approval rules don't take the access request
	CodeExtensionRefused     Code = "extension_not_allowed"
	CodeAlreadyActive        Code = "already_active"
	CodeInvalidTransition    Code = "invalid_transition"
	CodeRateLimited          Code = "rate_limited"
	CodeIdempotencyMismatch  Code = "idempotency_mismatch"
	CodeTooLarge             Code = "too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeCredentialsRefused   Code = "credentials_unavailable" // by AWS, for good until somebody changes something
	CodeUnavailable          Code = "unavailable"
	CodeNotFound             Code = "not_found"          // no such path
	CodeMethodNotAllowed     Code = "method_not_allowed" // the path exists, the method doesn't
)

// Limit names a rate limit.
type Limit string

// The rate limits of a rule, in the order in which they are checked.
const (
	LimitCooldown     Limit = "cooldown"
	LimitUserQuota    Limit = "user_quota"
	LimitProfileQuota Limit = "profile_quota"
	// LimitMFAAttempts is no limit of a rule: it bounds guesses at a second factor.
	LimitMFAAttempts Limit = "mfa_attempts"
)

// Error is the one kind of error that reaches a caller. Message is written for
// a person; the cause is for the log only.
type Error struct {
	Code    Code
	Message string
	// Temporary says that the same call may succeed later without anybody
	// changing anything. It tells 503 from 502 for CodeCredentialsRefused.
	Temporary  bool
	RetryAfter time.Duration // zero: unknown
	// Unknown says that the change may have been made, or may yet be.
	Unknown   bool
	Fields    []FieldError // CodeInvalidRequest: every bad field
	EventID   string       // CodeAlreadyActive: the event in the way
	ExpiresAt time.Time    // CodeAlreadyActive: when it ends
	Limit     Limit        // CodeRateLimited: which limit
	Rule      string       // CodePolicyDenied, CodeRateLimited and the codes of MFA: the rule that decided
	Condition string       // CodePolicyDenied: the condition of the rule that failed
	Allowed   *Allowed     // CodePolicyDenied: what would be allowed instead
	MFA       *MFAWanted   // CodeMFARequired and CodeMFAInvalid: what would do
	// AccessRequestID is the access request in the way, or that the call was about.
	AccessRequestID string
	Links           []LinkAnswer // CodeAccessDenied: what each link of the chain said
	// Stamps say which rules decided, for the audit entry; no caller sees them.
	Stamps map[string]string
	Cause  error
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Allowed is what policy would grant instead of what was asked for.
type Allowed struct {
	ReasonCodes        []ReasonCode `json:"reason_codes,omitempty"`
	MaxDurationSeconds int64        `json:"max_duration_seconds,omitempty"`
	Window             string       `json:"window,omitempty"`     // the rule's time window in words
	NextWindow         time.Time    `json:"next_window,omitzero"` // when it opens next
	TicketRequired     bool         `json:"ticket_required,omitempty"`
	Profiles           []string     `json:"profiles,omitempty"` // profiles that the caller may invoke now
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

func (e *Error) Unwrap() error { return e.Cause }

// ErrNotFound is what a store returns for an event that it doesn't have.
var ErrNotFound = errors.New("not found")

// AsError returns err as an *Error. Anything that isn't one is a failure of a
// dependency: it becomes CodeUnavailable and keeps its cause for the log.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{
		Code: CodeUnavailable, Temporary: true, RetryAfter: 2 * time.Second, Cause: err,
		Unknown: errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled), // somebody stopped waiting
		Message: "The service can't reach its store right now. Nothing was changed unless a later look-up shows it; try again.",
	}
}
