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
	TargetForeign   Target = "foreign"   // neither
	TargetServer    Target = "server"    // no event at all
)

// Answer is what a permission comes to.
type Answer int

// The answers, from the one that gives away least. When a caller has several
// roles the highest counts.
const (
	Hide   Answer = iota // as if it weren't there: event_not_found
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
	return notFound()
}

// MayAtAll is May for whatever target the call can have: it refuses what the
// caller can't do to anything.
func MayAtAll(caller Principal, call Call) *Error {
	refusal := notFound()
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
	b.WriteString("| call | event | anybody |")
	for _, role := range Roles() {
		b.WriteString(" " + string(role) + " |")
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(Roles())) + "\n")
	words := map[Answer]string{Hide: "404", Forbid: "403", Allow: "yes"}
	targets := map[Target]string{TargetOwn: "own", TargetRequested: "asked for, for another", TargetForeign: "another's", TargetServer: "–"}
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
