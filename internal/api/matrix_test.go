package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// stranger is whose event is a foreign one.
const stranger = bob

// states are those that an event can be in, and how it is stored: an end that
// nobody has written down yet is an end.
var states = map[string]breakglass.Status{"active": breakglass.StatusActive, "lapsed": breakglass.StatusActive,
	"expired": breakglass.StatusExpired, "closed": breakglass.StatusClosed}

// statesOf are the states of whatever a call on a target can be about.
func statesOf(p breakglass.Permission) []string {
	events, requests := slices.Sorted(maps.Keys(states)), slices.Sorted(maps.Keys(requestStates))
	switch p.Call {
	case breakglass.CallRequests, breakglass.CallRequestShow, breakglass.CallApprove, breakglass.CallDeny, breakglass.CallCancel:
		return requests
	case breakglass.CallWhy:
		switch p.Target {
		case breakglass.TargetRequested:
			return events
		case breakglass.TargetDecidable:
			return requests
		}
		return slices.Concat(events, requests)
	}
	return events
}

// profileIn keeps the active and the lapsed events of one person apart.
func profileIn(state string) string {
	if state == "lapsed" {
		return "staging"
	}
	return "prod"
}

// put stores an event that relates to the caller as wanted.
func (s *server) put(t *testing.T, caller string, target breakglass.Target, state string) string {
	t.Helper()
	if _, ok := requestStates[state]; ok {
		return s.putRequest(t, caller, target, state)
	}
	now := s.clock.Now().UTC().Truncate(time.Microsecond)
	ev := breakglass.Event{ID: breakglass.NewID(), Invoker: caller, RequestedBy: caller, Profile: profileIn(state), ReasonCode: breakglass.ReasonIncident,
		Justification: "Primary DB down, INC-4711", DurationSeconds: 3600, Status: states[state], CreatedAt: now, UpdatedAt: now,
		ExpiresAt: now.Add(time.Hour), RequestID: "request-1", PolicyRule: "engineers"}
	switch target {
	case breakglass.TargetRequested:
		ev.Invoker = stranger
	case breakglass.TargetForeign:
		ev.Invoker, ev.RequestedBy = stranger, stranger
	}
	switch state {
	case "lapsed", "expired":
		ev.CreatedAt, ev.UpdatedAt, ev.ExpiresAt = now.Add(-time.Hour), now, now
	case "closed":
		ev.ClosedAt, ev.ClosedBy, ev.ClosedReason = now, ev.Invoker, "done"
	}
	require.NoError(t, s.store.Update(t.Context(), breakglass.Keys{EventID: ev.ID, Invoker: ev.Invoker, Profile: ev.Profile}, func(tx breakglass.Tx) error {
		if earlier, err := tx.FindActiveByInvokerAndProfile(ev.Invoker, ev.Profile); err != nil {
			return err
		} else if earlier != nil && ev.Status == breakglass.StatusActive {
			earlier.Status, earlier.ClosedAt, earlier.ClosedBy, earlier.ClosedReason = breakglass.StatusClosed, now, ev.Invoker, "another test"
			if err := tx.PutEvent(*earlier); err != nil {
				return err
			}
		}
		return tx.PutEvent(ev)
	}))
	return ev.ID
}

// ask makes the request of a call.
func ask(call breakglass.Call, target breakglass.Target, as, id, state string) request {
	r := request{method: "GET", as: as, header: http.Header{"X-Request-Id": {"matrix-request"}}}
	switch call {
	case breakglass.CallInvoke:
		r.method, r.path, r.body = "POST", "/v1/breakglass", body(`profile="`+profileIn(state)+`"`)
		if target == breakglass.TargetForeign {
			r.body = body(`profile="`+profileIn(state)+`"`, `invoker="`+stranger+`"`)
		}
	case breakglass.CallList:
		r.path = "/v1/breakglass"
		if target == breakglass.TargetForeign {
			r.path += "?invoker=" + stranger
		}
	case breakglass.CallCheck:
		r.path = "/v1/breakglass/" + id
	case breakglass.CallClose:
		r.method, r.path, r.body = "POST", "/v1/breakglass/"+id+"/close", `{"reason":"matrix"}`
	case breakglass.CallCredentials:
		r.method, r.path = "POST", "/v1/breakglass/"+id+"/credentials"
	case breakglass.CallExtend:
		r.method, r.path, r.body = "POST", "/v1/breakglass/"+id+"/extend", extending()
	case breakglass.CallAccess:
		r.method, r.path, r.body = "POST", "/v1/credentials", `{"profile":"`+profileIn(state)+`"}`
	case breakglass.CallRequest:
		r.method, r.path, r.body = "POST", "/v1/requests", asking("prod")
	case breakglass.CallRequests:
		r.path = "/v1/requests" + map[breakglass.Target]string{breakglass.TargetForeign: "?requester=" + stranger, breakglass.TargetDecidable: "?decidable=true"}[target]
	case breakglass.CallRequestShow:
		r.path = "/v1/requests/" + id
	case breakglass.CallApprove, breakglass.CallCancel:
		r.method, r.path = "POST", "/v1/requests/"+id+"/"+string(call)
	case breakglass.CallDeny:
		r.method, r.path, r.body = "POST", "/v1/requests/"+id+"/deny", `{"reason":"matrix"}`
	case breakglass.CallWhy:
		r.path = "/v1/why/" + id
	case breakglass.CallFeed:
		r.path = "/v1/events"
	case breakglass.CallReload:
		r.method, r.path = "POST", "/v1/admin/reload"
	case breakglass.CallMFAStatus:
		r.path = "/v1/mfa"
	case breakglass.CallMFAEnrol:
		r.method, r.path = "POST", "/v1/mfa/enrol"
	case breakglass.CallMFAConfirm:
		r.method, r.path, r.body = "POST", "/v1/mfa/confirm", totp("000000")
	case breakglass.CallMFARemove:
		r.method, r.path, r.body = "POST", "/v1/mfa/remove", totp("000000")
	case breakglass.CallMFAReset:
		r.method, r.path, r.body = "POST", "/v1/mfa/reset", `{"name":"nobody-here@example.com"}`
	case breakglass.CallMFAInvite:
		r.method, r.path, r.body = "POST", "/v1/mfa/invite", `{"name":"nobody-here@example.com"}`
	default:
		r.path = "/v1/" + string(call)
	}
	return r
}

// hiding is the code for what isn't there.
func hiding(call breakglass.Call) breakglass.Code {
	switch call {
	case breakglass.CallRequestShow, breakglass.CallApprove, breakglass.CallDeny, breakglass.CallCancel:
		return breakglass.CodeRequestNotFound
	}
	return breakglass.CodeEventNotFound
}

// expected is the answer to a call on an event or access request in a state.
func expected(answer breakglass.Answer, call breakglass.Call, state string) (status int, code breakglass.Code) {
	switch {
	case answer == breakglass.Hide:
		return 404, hiding(call)
	case answer == breakglass.Forbid:
		return 403, breakglass.CodeForbidden
	case call == breakglass.CallInvoke && state == "active":
		return 409, breakglass.CodeAlreadyActive
	case call == breakglass.CallInvoke:
		return 201, ""
	case state != "active" && (call == breakglass.CallClose || call == breakglass.CallCredentials || call == breakglass.CallExtend):
		return 409, breakglass.CodeInvalidTransition
	case call == breakglass.CallRequest:
		return 201, ""
	case call == breakglass.CallAccess && state != "active":
		return 403, breakglass.CodeAccessDenied
	case (call == breakglass.CallApprove || call == breakglass.CallDeny || call == breakglass.CallCancel) && !open(call, state):
		return 409, breakglass.CodeInvalidTransition
	}
	return 200, ""
}

// relation is how the caller relates to what is about a target: the rules name a
// delegate as an approver, too, and that counts for nothing.
func relation(p breakglass.Permission, role breakglass.Role) breakglass.Target {
	if p.Target == breakglass.TargetDecidable && role == breakglass.RoleDelegate && p.Call != breakglass.CallRequests {
		return breakglass.TargetForeign
	}
	return p.Target
}

// Every call by everybody on every event and access request in every state: the
// answer is that of the table, and nothing changes unless it says so.
func TestEveryCallAnswersAsTheTableSays(t *testing.T) {
	s := start(t, options{})
	seen, all := 0, 0
	for _, p := range breakglass.Permissions() {
		all += (len(breakglass.Roles()) + 1) * len(statesOf(p))
		for role, name := range holders() {
			for _, state := range statesOf(p) {
				t.Run(fmt.Sprintf("%s %s %s by %s", p.Call, p.Target, state, name), func(t *testing.T) {
					s := s
					if p.Call == breakglass.CallInvoke || p.Call == breakglass.CallAccess || p.Call == breakglass.CallRequest {
						s = start(t, options{}) // nothing else is in the way, or gives access
					}
					if p.Call == breakglass.CallWhy {
						s.clock.advance(5 * time.Second) // one more story for everybody
					}
					id := s.put(t, name, p.Target, state)
					before, asked := s.events(t), s.accessRequests(t)
					a := s.call(t, ask(p.Call, p.Target, name, id, state))
					answer := breakglass.Permit(breakglass.Principal{Name: name, Roles: []breakglass.Role{role}}, p.Call, relation(p, role))
					if strings.HasSuffix(strings.ToLower(string(p.Call)), "mfa") && answer == breakglass.Allow {
						// What comes of it depends on the person's authenticator: mfa_test.go.
						require.False(t, a.status == 403 && a.problem().Code == breakglass.CodeForbidden, "%s", a.body)
						seen++
						return
					}
					status, code := expected(answer, p.Call, state)
					require.Equal(t, status, a.status, "%s", a.body)
					if code != "" {
						assert.Equal(t, code, a.problem().Code)
						assert.NotContains(t, string(a.body), "secret_access_key")
						assert.Equal(t, before, s.events(t), "a refusal changes nothing")
						assert.Equal(t, asked, s.accessRequests(t), "a refusal changes nothing")
					}
					unauthenticated := ask(p.Call, p.Target, nobody, id, state)
					assert.Equal(t, 401, s.call(t, unauthenticated).status)
					seen++
				})
			}
		}
	}
	assert.Equal(t, all, seen)
}

// A foreign event or access request answers byte for byte as one that never was:
// body, headers and status.
func TestWhatIsForeignAnswersAsIfItWereNotThere(t *testing.T) {
	s := start(t, options{})
	hidden := 0
	for _, p := range breakglass.Permissions() {
		for role, name := range holders() {
			if breakglass.Permit(breakglass.Principal{Name: name, Roles: []breakglass.Role{role}}, p.Call, relation(p, role)) != breakglass.Hide {
				continue
			}
			for _, state := range statesOf(p) {
				there := s.call(t, ask(p.Call, p.Target, name, s.put(t, name, p.Target, state), state))
				not := s.call(t, ask(p.Call, p.Target, name, "0123456789abcdef", state))
				there.header.Del("Date")
				not.header.Del("Date")
				assert.Equal(t, string(not.body), string(there.body), "%s by %s, %s", p.Call, name, state)
				assert.Equal(t, not.header, there.header)
				assert.Equal(t, not.status, there.status)
				hidden++
			}
		}
	}
	assert.NotZero(t, hidden)
}

// A listing shows one's own events alone, whatever the filters.
func TestListsHoldNoForeignEventForThoseWhoMayNotSeeIt(t *testing.T) {
	s := start(t, options{})
	for role, name := range holders() {
		for state := range states {
			s.put(t, name, breakglass.TargetForeign, state)
			s.put(t, name, breakglass.TargetRequested, state)
			s.put(t, name, breakglass.TargetOwn, state)
		}
		all := breakglass.Permit(breakglass.Principal{Name: name, Roles: []breakglass.Role{role}}, breakglass.CallList, breakglass.TargetForeign) == breakglass.Allow
		for _, query := range []string{"", "status=active", "profile=prod", "invoker=" + strings.ToUpper(name)} {
			foreign := false
			for _, ev := range s.list(t, name, query) {
				foreign = foreign || ev.Invoker != name
			}
			assert.Equal(t, all && !strings.HasPrefix(query, "invoker="), foreign, "%s %q", name, query)
		}
	}
}

// fieldsOfOthers are what a body could claim beside what a caller decides.
var fieldsOfOthers = map[string]string{"requested_by": `"sam@example.com"`, "event_id": `"0123456789abcdef"`, "status": `"closed"`,
	"created_at": `"2020-01-01T00:00:00Z"`, "updated_at": `"2020-01-01T00:00:00Z"`, "expires_at": `"2099-01-01T00:00:00Z"`, "closed_at": `"2020-01-01T00:00:00Z"`,
	"closed_by": `"sam@example.com"`, "closed_reason": `"x"`, "request_id": `"spoofed-request"`, "policy_rule": `"root"`, "escalated": `false`,
	"remaining_seconds": `99999`, "groups": `["security"]`, "roles": `["reviewer"]`, "authenticated_by": `"aws"`, "actor": `"sam@example.com"`, "name": `"sam@example.com"`,
	"role_arn": `"arn:aws:iam::123456789012:role/Admin"`, "sessions": `0`, "extensions": `0`, "warn_at": `"2099-01-01T00:00:00Z"`, "requester": `"sam@example.com"`,
	"approval_rule": `"root"`, "approvals_required": `0`, "approvals": `[{"by":"sam@example.com","at":"2020-01-01T00:00:00Z"}]`, "auto_approved": `true`,
	"approved_at": `"2020-01-01T00:00:00Z"`, "ended_at": `"2020-01-01T00:00:00Z"`, "ended_by": `"sam@example.com"`, "ended_reason": `"x"`, "correlation_id": `"spoofed-request"`,
	"granted_by": `"policy"`, "by": `"sam@example.com"`}

// Whatever a caller adds to a body has no effect: the call is refused, by
// everybody's every role, and nothing is stored.
func TestFieldsThatAreNotTheCallersHaveNoEffect(t *testing.T) {
	s := start(t, options{})
	for _, full := range []any{breakglass.View{Event: breakglass.Event{ClosedBy: "x", ClosedReason: "x", ClosedAt: time.Now(), Ticket: "x", WarnAt: time.Now()}},
		breakglass.RequestView{AccessRequest: breakglass.AccessRequest{Ticket: "x", ApprovedAt: time.Now(), EndedAt: time.Now(), EndedBy: "x", EndedReason: "x"}}} {
		var fields map[string]any
		raw, err := json.Marshal(full)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &fields))
		for _, field := range []string{"profile", "reason_code", "justification", "ticket", "duration_seconds", "invoker"} {
			delete(fields, field) // the caller's own, see below
		}
		for field := range fields {
			assert.Contains(t, fieldsOfOthers, field, "every field of an event or access request is tried")
		}
	}
	for _, name := range holders() {
		id, asked := s.put(t, name, breakglass.TargetOwn, "active"), s.put(t, name, breakglass.TargetDecidable, "request pending")
		events, requests := s.events(t), s.accessRequests(t)
		for path, valid := range map[string]string{"/v1/breakglass": body(), "/v1/breakglass/" + id + "/close": `{"reason":"x"}`, "/v1/breakglass/" + id + "/credentials": `{}`,
			"/v1/breakglass/" + id + "/extend": extending(), "/v1/credentials": `{"profile":"prod"}`, "/v1/requests": asking("prod"),
			"/v1/requests/" + asked + "/approve": `{"comment":"x"}`, "/v1/requests/" + asked + "/deny": `{"reason":"x"}`, "/v1/requests/" + asked + "/cancel": `{}`} {
			for field, value := range fieldsOfOthers {
				with := `{"` + field + `":` + value + strings.TrimSuffix(","+valid[1:], ",}")
				a := s.call(t, post(name, path, strings.TrimSuffix(with, "}")+"}"))
				require.Equal(t, 422, a.status, "%s %s by %s: %s", path, field, name, a.body)
			}
		}
		assert.Equal(t, events, s.events(t))
		assert.Equal(t, requests, s.accessRequests(t))
	}
}

// invoker is the one field whose use depends on a role.
func TestOnlyADelegateCanNameAnotherInvokerAndNeverGetsHisCredentials(t *testing.T) {
	for role, name := range holders() {
		s := start(t, options{})
		for _, spelling := range []string{alice, strings.ToUpper(alice), "ａlice@example.com"} {
			a := s.call(t, request{method: "POST", path: "/v1/breakglass", as: name, body: body(`invoker="`+spelling+`"`, `profile="staging"`)})
			if role != breakglass.RoleDelegate {
				assert.Equal(t, breakglass.CodeForbidden, a.problem().Code, name)
				assert.Empty(t, s.events(t), name)
				continue
			}
			if spelling != alice {
				assert.Equal(t, breakglass.CodeAlreadyActive, a.problem().Code, "another spelling is the same person")
				continue
			}
			var ev breakglass.View
			a.into(201, &ev)
			assert.Equal(t, alice, ev.Invoker)
			refused := s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: name})
			assert.Equal(t, 403, refused.status)
			assert.NotContains(t, string(refused.body), "access_key")
		}
		// Oneself by another spelling is no other person.
		a := s.call(t, request{method: "POST", path: "/v1/breakglass", as: name, body: body(`invoker="` + strings.ToUpper(name) + `"`)})
		assert.Equal(t, 201, a.status, "%s", a.body)
	}
}

// A delegate who repeats a call with another spelling of the same person makes
// the same request.
func TestAnIdempotencyKeyHoldsOverSpellings(t *testing.T) {
	s := start(t, options{})
	var first, again breakglass.View
	for spelling, out := range map[string]*breakglass.View{alice: &first, strings.ToUpper(alice): &again} {
		s.call(t, request{method: "POST", path: "/v1/breakglass", as: bot, body: body(`invoker="` + spelling + `"`),
			header: http.Header{"Idempotency-Key": {"k"}}}).into(201, out)
	}
	assert.Equal(t, first.ID, again.ID)
}

func TestTheTableAndTheContractHaveTheSameCalls(t *testing.T) {
	c, err := loadContract()
	require.NoError(t, err)
	var described []breakglass.Call
	for path, item := range c.doc.Paths.Map() {
		for _, op := range item.Operations() {
			if op.Security == nil { // the default of the document: a login
				assert.True(t, strings.HasPrefix(path, "/v1/"))
				described = append(described, breakglass.Call(op.OperationID))
			}
		}
	}
	assert.ElementsMatch(t, breakglass.Calls(), described)
}

func TestReloadIsForAdmins(t *testing.T) {
	s := start(t, options{})
	call := func(as, body, contentType string) answer {
		return s.call(t, request{method: "POST", path: "/v1/admin/reload", as: as, body: body, contentType: contentType})
	}
	for _, as := range []string{alice, sam, auditor, bot} {
		assert.Equal(t, breakglass.CodeForbidden, call(as, "", "").problem().Code)
	}
	assert.Equal(t, 400, call(ops, "{", "").status)
	assert.Equal(t, 422, call(ops, `{"file":"policy"}`, "").status)
	assert.Equal(t, 415, call(ops, "{}", "text/plain").status)
	assert.Equal(t, 413, call(ops, strings.Repeat(" ", 70000), "").status)
	assert.Zero(t, s.reloads.Load())
	a := call(ops, "", "")
	assert.Equal(t, 200, a.status)
	assert.JSONEq(t, `{"items":[{"file":"policy","ok":true,"sha256":"`+rulesSHA256+`","detail":"in force"},{"file":"rate_limits","ok":false,"detail":"was never readable"}]}`, string(a.body))
	assert.Equal(t, 200, call(ops, "{}", "").status)
	assert.EqualValues(t, 2, s.reloads.Load())
	refusals := s.entries(t)
	assert.Len(t, refusals, 4, "each caller's refusal is on record")
	for _, e := range refusals {
		assert.Equal(t, breakglass.EntryDenied, e.Event)
		assert.Equal(t, "reload", e.Detail[breakglass.DetailCall])
	}
	assert.Equal(t, 403, s.call(t, request{method: "GET", path: "/v1/events", as: ops}).status, "an admin reads no trail")
}

// The way in is on record with whatever its owner does.
func TestEntriesSayHowTheirActorWasAuthenticated(t *testing.T) {
	s := start(t, options{})
	s.call(t, post(ops, "/v1/mfa/invite", `{"name":"carol@example.com"}`))
	show := s.enrol(t, alice, "")
	s.call(t, post(alice, "/v1/mfa/remove", totp("000000")))
	s.call(t, post(alice, "/v1/mfa/remove", totp(show())))
	ev := s.invoke(t, alice, "limited")
	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice})
	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: sam})
	s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/extend", extending()))
	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":"done"}`})
	s.everyDecision(t)
	s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body(`profile="limited"`)})
	s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: `{`})
	s.clock.advance(time.Hour)
	s.invoke(t, alice, "limited", "duration_seconds=60") // the second escalates
	types := map[breakglass.EntryType]bool{}
	for _, e := range s.entries(t) {
		assert.Equal(t, "token", e.Detail[breakglass.DetailAuthenticatedBy], "%s", e.Event)
		assert.Equal(t, "127.0.0.1", e.Detail[breakglass.DetailClientAddr], "%s", e.Event)
		types[e.Event] = true
	}
	byItself := []breakglass.EntryType{breakglass.EntryExpired, breakglass.EntryRequestExpired, breakglass.EntryExpiring}
	for _, typ := range breakglass.EntryTypes() {
		assert.Equal(t, !slices.Contains(byItself, typ), types[typ], "%s", typ)
	}
	s.ask(t, bob, "prod")
	s.clock.advance(25 * time.Hour)
	s.invoke(t, alice, "limited") // finds the expired one in its way
	s.ask(t, bob, "prod")
	for _, e := range s.entries(t) {
		if slices.Contains(byItself, e.Event) {
			assert.NotContains(t, e.Detail, breakglass.DetailAuthenticatedBy, "nobody called for it")
			types[e.Event] = true
		}
	}
	assert.True(t, types[breakglass.EntryExpired])
	assert.True(t, types[breakglass.EntryRequestExpired])
}
