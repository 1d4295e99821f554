package breakglass

import "time"

// EntryType names what an audit entry records.
type EntryType string

// The types of audit entries.
const (
	EntryInvoked           EntryType = "breakglass.invoked"
	EntryClosed            EntryType = "breakglass.closed"
	EntryExpired           EntryType = "breakglass.expired"
	EntryDenied            EntryType = "breakglass.denied"
	EntryEscalated         EntryType = "breakglass.escalated"
	EntryCredentialsIssued EntryType = "credentials.issued"
	EntryCredentialsDenied EntryType = "credentials.denied"
	EntryExtended          EntryType = "breakglass.extended"
	EntryExpiring          EntryType = "breakglass.expiring" // ten minutes before its end
	EntryRequestCreated    EntryType = "request.created"
	EntryRequestEndorsed   EntryType = "request.endorsed" // an approval, and more are needed
	EntryRequestApproved   EntryType = "request.approved"
	EntryRequestDenied     EntryType = "request.denied" // by an approver, who may also withdraw an approval so
	EntryRequestCancelled  EntryType = "request.cancelled"
	EntryRequestExpired    EntryType = "request.expired"
	EntryMFAInvited        EntryType = "mfa.invited"   // an admin gave out an enrolment code
	EntryMFAEnrolling      EntryType = "mfa.enrolling" // a secret was made, and counts for nothing yet
	EntryMFAEnrolled       EntryType = "mfa.enrolled"
	EntryMFARemoved        EntryType = "mfa.removed"
	EntryMFAFailed         EntryType = "mfa.failed" // a wrong code, or a refused call about second factors
)

// EntryTypes lists every type of audit entry.
func EntryTypes() []EntryType {
	return []EntryType{EntryInvoked, EntryClosed, EntryExpired, EntryDenied, EntryEscalated,
		EntryExtended, EntryExpiring, EntryCredentialsIssued, EntryCredentialsDenied,
		EntryRequestCreated, EntryRequestEndorsed, EntryRequestApproved, EntryRequestDenied, EntryRequestCancelled, EntryRequestExpired,
		EntryMFAInvited, EntryMFAEnrolling, EntryMFAEnrolled, EntryMFARemoved, EntryMFAFailed}
}

// Urgent reports whether an entry of this type must reach people before those
// of other types that wait: what a flood of them must not bury.
func (t EntryType) Urgent() bool { return t == EntryInvoked || t == EntryEscalated }

// SystemActor is the actor of entries that no caller caused, such as expiry.
// No caller can have this name: names may not contain a colon at their start.
const SystemActor = ":system"

// LogEntry is one entry of the audit trail. The service fills in everything
// but Seq, PrevHash and Hash: the store assigns those in the transaction of the
// change that the entry records. Absent fields are left out of the JSON.
type LogEntry struct {
	Seq             int64      `json:"seq"`
	Timestamp       time.Time  `json:"timestamp"`
	Event           EntryType  `json:"event"`
	EventID         string     `json:"event_id,omitempty"`
	RequestID       string     `json:"request_id,omitempty"`
	Actor           string     `json:"actor"`
	Invoker         string     `json:"invoker,omitempty"`
	Profile         string     `json:"profile,omitempty"`
	ReasonCode      ReasonCode `json:"reason_code,omitempty"`
	Justification   string     `json:"justification,omitempty"`
	Status          Status     `json:"status,omitempty"`
	DurationSeconds int64      `json:"duration_seconds,omitempty"`
	ExpiresAt       time.Time  `json:"expires_at,omitzero"`
	ClosedBy        string     `json:"closed_by,omitempty"`
	ClosedReason    string     `json:"closed_reason,omitempty"`
	// Reason is the machine-readable code of a refusal, as in problem documents.
	Reason string `json:"reason,omitempty"`
	// Detail holds what else belongs to the entry, under the Detail… keys.
	Detail   map[string]string `json:"detail,omitempty"`
	PrevHash string            `json:"prev_hash"`
	Hash     string            `json:"hash"`
}

// Keys of LogEntry.Detail.
const (
	DetailMessage          = "message"           // the refusal in words
	DetailFields           = "fields"            // the bad fields of a request, cut to 1,000 bytes
	DetailLimit            = "limit"             // which rate limit refused
	DetailCondition        = "condition"         // which condition of the policy rule refused
	DetailPolicyRule       = "policy_rule"       // the rule that decided
	DetailPolicySHA256     = "policy_sha256"     // the policy file in force
	DetailLimitRule        = "rate_limit_rule"   // the rate-limit rule that decided
	DetailLimitSHA256      = "rate_limit_sha256" // the rate-limit file in force
	DetailTicket           = "ticket"
	DetailUserCount        = "user_invocations" // the user's invocations in the quota window, this one included
	DetailThreshold        = "escalation_threshold"
	DetailAccessKeyID      = "access_key_id"
	DetailRoleARN          = "role_arn"
	DetailRoleSessionName  = "role_session_name"
	DetailSourceIdentity   = "source_identity"
	DetailExpiration       = "expiration" // when the issued credentials end, RFC 3339
	DetailIssuer           = "issuer"
	DetailCallRequestID    = "call_request_id"    // of the call, where it isn't the one that made the event
	DetailRequestedInvoker = "requested_invoker"  // for whom a caller asked who may not
	DetailRequestedEvent   = "requested_event_id" // what a caller asked for who may not see it
	DetailCounts           = "counts"             // of suppressed refusals, by code, profile, invoker and event
	DetailClientAddr       = "client_addr"        // the IP address that the call came from
	DetailCall             = "call"               // what was refused, where it wasn't an invocation: close, check, list, feed
	DetailDryRun           = "dry_run"            // "true": the refusal is the answer to a question about somebody else
	DetailSuppressed       = "suppressed"         // how many refusals this entry stands for beside itself
	DetailMFA              = "mfa"                // of an invocation: the second factor it rests on; none when none was asked for
	DetailMFAFailures      = "failures"           // wrong codes since the last right one, this one included
	DetailGrantedBy        = "granted_by"         // which link of the chain gave access
	DetailLinks            = "links"              // what each link said, as "policy: denied; request: absent; …"
	DetailAccessRequestID  = "access_request_id"  // of a request for access, which is not a request id
	DetailDecisionID       = "decision_id"        // of credentials by standing policy: what their session name ends with
	DetailGrantedUntil     = "granted_until"      // when the grant is over, RFC 3339; absent: never
	DetailApprovals        = "approvals"          // such as "1 of 2"
	DetailApprovalRule     = "approval_rule"      // the rule of approvals.yaml that decided
	DetailApprovalSHA256   = "approvals_sha256"   // the approvals file in force
	DetailAccessRule       = "access_rule"        // the rule of access.yaml that decided
	DetailAccessSHA256     = "access_sha256"      // the access file in force
	DetailAutoApproved     = "auto_approved"      // "true": by the rule, without anybody
	DetailComment          = "comment"            // of an approver
	DetailSession          = "session"            // of an issuance: which one under its event or access request, from 1
	DetailExtension        = "extension"          // which extension of the event, from 1
	DetailExtendedBy       = "extended_by"        // by how many seconds
	DetailAuthenticatedBy  = "authenticated_by"   // the actor's way in, as Via.String; not on entries of the server itself
)

// entryFor begins an entry about an event as it is after the change.
func entryFor(typ EntryType, actor string, now time.Time, e Event) LogEntry {
	return LogEntry{
		Timestamp: now, Event: typ, EventID: e.ID, RequestID: e.RequestID, Actor: actor,
		Invoker: e.Invoker, Profile: e.Profile, ReasonCode: e.ReasonCode, Justification: e.Justification,
		Status: e.Status, DurationSeconds: e.DurationSeconds, ExpiresAt: e.ExpiresAt,
		ClosedBy: e.ClosedBy, ClosedReason: e.ClosedReason,
	}
}

// withCaller adds to the detail of an entry how its actor was authenticated.
func withCaller(caller Principal, detail map[string]string) map[string]string {
	via := caller.Via.String()
	if via == "" {
		return detail
	}
	if detail == nil {
		detail = map[string]string{}
	}
	detail[DetailAuthenticatedBy] = via
	return detail
}

// Delivery is one notification on its way to one sink. It is committed
// together with the entry that it announces, and removed when the sink has
// taken it.
type Delivery struct {
	Entry LogEntry // the entry as sealed by the store
	Event *Event   // the event right after the change; nil when there is none (a refusal)
	Sink  string

	Attempts    int       // attempts made so far
	NextAttempt time.Time // not before; long past for a new one, and earlier for one that is Urgent
	Dead        bool      // given up: kept for the operator, not tried again
	LastError   string    // why the last attempt failed, safe to show
}

// DeliveryOutcome is what became of one attempt. Exactly one of these holds:
// Delivered (the delivery is removed), Dead (kept for the operator, not tried
// again), or neither (tried again at NextAttempt).
type DeliveryOutcome struct {
	Delivered   bool
	Dead        bool
	NextAttempt time.Time
	Attempts    int    // attempts made so far, this one included
	LastError   string // why the attempt failed, safe to show
}

// DeliveryCount is how many deliveries a sink has waiting.
type DeliveryCount struct {
	Pending int64     // to be sent, now or later
	Dead    int64     // given up
	Oldest  time.Time // timestamp of the oldest pending entry; zero when there is none
}
