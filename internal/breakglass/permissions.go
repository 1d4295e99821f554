package breakglass

import (
	"slices"
	"strings"
)

// Call is something that a caller may ask of the server.
type Call string

// The calls that need a login.
const (
	CallInvoke      Call = "invoke"
	CallList        Call = "list"
	CallCheck       Call = "check"
	CallClose       Call = "close"
	CallCredentials Call = "credentials"
	CallExtend      Call = "extend"
	CallAccess      Call = "access" // credentials for a profile, by the chain
	CallRequest     Call = "request"
	CallRequests    Call = "listRequests"
	CallRequestShow Call = "showRequest"
	CallApprove     Call = "approve"
	CallDeny        Call = "deny"
	CallCancel      Call = "cancel"
	CallWhy         Call = "why"
	CallFeed        Call = "feed"
	CallProfiles    Call = "profiles"
	CallWhoami      Call = "whoami"
	CallReload      Call = "reload"
	CallMFAStatus   Call = "mfaStatus"
	CallMFAEnrol    Call = "enrolMFA"
	CallMFAConfirm  Call = "confirmMFA"
	CallMFARemove   Call = "removeMFA"
	CallMFAReset    Call = "resetMFA"  // somebody else's
	CallMFAInvite   Call = "inviteMFA" // somebody else
)

// Target is what a call is about, as it relates to the caller.
type Target string

// The targets.
const (
	TargetOwn       Target = "own"       // the caller is the invoker
	TargetRequested Target = "requested" // the caller asked for it, for somebody else
	TargetDecidable Target = "decidable" // an access request whose approver the caller is, by the rules
	TargetForeign   Target = "foreign"   // none of these
	TargetServer    Target = "server"    // no event at all
)

// Answer is what a permission comes to.
type Answer int

// The answers, from the one that gives away least. When a caller has several
// roles the highest counts.
const (
	Hide   Answer = iota // as if it weren't there
	Forbid               // forbidden
	Allow
)

// Permission is one row of the table: what a call on a target is answered.
type Permission struct {
	Call   Call
	Target Target
	// Anybody is the answer to whoever is authenticated; Roles gives more.
	Anybody Answer
	Roles   map[Role]Answer
	// Refusal is what a caller with Forbid is told.
	Refusal string
}

// Permissions is who may do what: the one source for the checks of the server,
// for the table in docs/security.md and for the tests. It says who may ask; what
// policy, limits and the state of an event make of it comes after.
func Permissions() []Permission { return permissions }

var permissions = []Permission{
	{CallInvoke, TargetOwn, Allow, nil, ""},
	{CallInvoke, TargetForeign, Forbid, map[Role]Answer{RoleDelegate: Allow},
		"Only a delegate may invoke for somebody else. Leave `invoker` out to invoke for yourself."},
	{CallList, TargetOwn, Allow, nil, ""},
	{CallList, TargetForeign, Forbid, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Allow},
		"Only a reviewer or auditor may list the events of others."},
	{CallCheck, TargetOwn, Allow, nil, ""},
	{CallCheck, TargetRequested, Allow, nil, ""},
	{CallCheck, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Allow}, ""},
	{CallClose, TargetOwn, Allow, nil, ""},
	{CallClose, TargetRequested, Allow, nil, ""},
	{CallClose, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Forbid},
		"Only the invoker or a reviewer may close this event."},
	{CallCredentials, TargetOwn, Allow, nil, ""},
	{CallCredentials, TargetRequested, Forbid, nil, credentialsRefusal},
	{CallCredentials, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Forbid, RoleAuditor: Forbid}, credentialsRefusal},
	{CallExtend, TargetOwn, Allow, nil, ""},
	{CallExtend, TargetRequested, Forbid, nil, extendRefusal},
	{CallExtend, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Forbid, RoleAuditor: Forbid}, extendRefusal},
	{CallAccess, TargetServer, Allow, nil, ""},
	{CallRequest, TargetServer, Allow, nil, ""},
	{CallRequests, TargetOwn, Allow, nil, ""},
	{CallRequests, TargetDecidable, Allow, nil, ""},
	{CallRequests, TargetForeign, Forbid, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Allow},
		"Only a reviewer or auditor may list the access requests of others; an approver lists those to decide."},
	{CallRequestShow, TargetOwn, Allow, nil, ""},
	{CallRequestShow, TargetDecidable, Allow, nil, ""},
	{CallRequestShow, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Allow}, ""},
	{CallApprove, TargetOwn, Forbid, nil, "Nobody approves a request of their own."},
	{CallApprove, TargetDecidable, Allow, nil, ""},
	{CallApprove, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Forbid, RoleAuditor: Forbid},
		"Only an approver whom the approval rules name may approve this request, and no delegate."},
	{CallDeny, TargetOwn, Forbid, nil, "This request is yours: cancel it instead."},
	{CallDeny, TargetDecidable, Allow, nil, ""},
	{CallDeny, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Forbid},
		"Only an approver or a reviewer may deny this request."},
	{CallCancel, TargetOwn, Allow, nil, ""},
	{CallCancel, TargetDecidable, Forbid, nil, cancelRefusal},
	{CallCancel, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Forbid, RoleAuditor: Forbid}, cancelRefusal},
	{CallWhy, TargetOwn, Allow, nil, ""},
	{CallWhy, TargetRequested, Allow, nil, ""},
	{CallWhy, TargetDecidable, Allow, nil, ""},
	{CallWhy, TargetForeign, Hide, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Allow}, ""},
	{CallFeed, TargetServer, Forbid, map[Role]Answer{RoleReviewer: Allow, RoleAuditor: Allow},
		"Only an auditor or reviewer may read the audit trail."},
	{CallProfiles, TargetServer, Allow, nil, ""},
	{CallWhoami, TargetServer, Allow, nil, ""},
	{CallReload, TargetServer, Forbid, map[Role]Answer{RoleAdmin: Allow},
		"Only an admin may have the rules read again."},
	{CallMFAStatus, TargetServer, Allow, nil, ""},
	{CallMFAEnrol, TargetServer, Allow, nil, ""},
	{CallMFAConfirm, TargetServer, Allow, nil, ""},
	{CallMFARemove, TargetServer, Allow, nil, ""},
	{CallMFAReset, TargetServer, Forbid, map[Role]Answer{RoleAdmin: Allow}, adminRefusal},
	{CallMFAInvite, TargetServer, Forbid, map[Role]Answer{RoleAdmin: Allow}, adminRefusal},
}

const (
	extendRefusal      = "Only the invoker may extend this event."
	cancelRefusal      = "Only its requester may cancel a request; an approver denies it."
	credentialsRefusal = "Credentials go to the invoker alone."
	adminRefusal       = "Only an admin may do this for somebody else."
)

// Permit returns the answer to a caller. What the table doesn't name is hidden.
func Permit(caller Principal, call Call, target Target) Answer {
	row := permission(call, target)
	answer := row.Anybody
	for _, role := range caller.Roles {
		answer = max(answer, row.Roles[role])
	}
	return answer
}

// May returns nil, or the refusal that the table has for the caller.
func May(caller Principal, call Call, target Target) *Error {
	switch Permit(caller, call, target) {
	case Allow:
		return nil
	case Forbid:
		return &Error{Code: CodeForbidden, Message: permission(call, target).Refusal}
	}
	return hidden(call)
}

// hidden is the answer for what isn't there and for what the caller may not know
// of: the two must not be told apart.
func hidden(call Call) *Error {
	switch call {
	case CallRequestShow, CallApprove, CallDeny, CallCancel:
		return &Error{Code: CodeRequestNotFound,
			Message: "There is no such access request, or it is not yours to see. `bgctl requests` lists those that you can see."}
	case CallWhy:
		return &Error{Code: CodeEventNotFound,
			Message: "There is no such event, access request or session, or it is not yours to see."}
	}
	return notFound()
}

// MayAtAll is May for whatever target the call can have: it refuses what the
// caller can't do to anything.
func MayAtAll(caller Principal, call Call) *Error {
	refusal := hidden(call)
	for _, p := range permissions {
		if p.Call != call {
			continue
		}
		if refusal = May(caller, call, p.Target); refusal == nil {
			return nil
		}
	}
	return refusal
}

func permission(call Call, target Target) Permission {
	for _, p := range permissions {
		if p.Call == call && p.Target == target {
			return p
		}
	}
	return Permission{}
}

// targetOf says how an event relates to the caller.
func targetOf(caller Principal, ev Event) Target {
	switch caller.Name {
	case "":
		return TargetForeign // nobody owns nothing
	case ev.Invoker:
		return TargetOwn
	case ev.RequestedBy:
		return TargetRequested
	}
	return TargetForeign
}

// sees reports whether the caller may know of the event.
func sees(caller Principal, ev Event) bool {
	return Permit(caller, CallCheck, targetOf(caller, ev)) == Allow
}

// PermissionTable is the table for people, in Markdown.
func PermissionTable() string {
	var b strings.Builder
	b.WriteString("| call | about | anybody |")
	for _, role := range Roles() {
		b.WriteString(" " + string(role) + " |")
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(Roles())) + "\n")
	words := map[Answer]string{Hide: "404", Forbid: "403", Allow: "yes"}
	targets := map[Target]string{TargetOwn: "own", TargetRequested: "asked for, for another", TargetDecidable: "for the caller to decide", TargetForeign: "another's", TargetServer: "–"}
	for _, p := range permissions {
		b.WriteString("| " + string(p.Call) + " | " + targets[p.Target] + " | " + words[p.Anybody] + " |")
		for _, role := range Roles() {
			cell := ""
			if answer, ok := p.Roles[role]; ok && answer > p.Anybody {
				cell = words[answer]
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Calls lists every call of the table, in its order.
func Calls() []Call {
	var calls []Call
	for _, p := range permissions {
		if !slices.Contains(calls, p.Call) {
			calls = append(calls, p.Call)
		}
	}
	return calls
}
