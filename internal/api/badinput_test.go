package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

const why = "Primary DB down, failover stuck, INC-4711"

// body is the body of an invocation; each change is "field=raw JSON", or
// "-field".
func body(changes ...string) string {
	fields := map[string]string{"profile": `"prod"`, "reason_code": `"incident"`, "justification": `"` + why + `"`}
	for _, change := range changes {
		if name, ok := strings.CutPrefix(change, "-"); ok {
			delete(fields, name)
			continue
		}
		name, value, _ := strings.Cut(change, "=")
		fields[name] = value
	}
	var members []string
	for name, value := range fields {
		members = append(members, fmt.Sprintf("%q:%s", name, value))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func quoted(s string) string { return `"` + s + `"` }

// fault is what a bad request gets.
type fault struct {
	name    string
	in      request
	status  int
	code    breakglass.Code
	fields  []string
	problem func(t *testing.T, a answer)
}

// TestBadInvocationsAreRefusedAndChangeNothing also shows that each refusal is
// on record once, whoever found the fault.
func TestBadInvocationsAreRefusedAndChangeNothing(t *testing.T) {
	s := start(t, options{})
	invoke := func(body string) request {
		return request{method: "POST", path: "/v1/breakglass", as: alice, body: body}
	}
	with := func(r request, name string, values ...string) request {
		r.header = http.Header{name: values}
		return r
	}
	typed := func(contentType, body string) request {
		r := invoke(body)
		r.contentType = contentType
		return r
	}
	invalid := func(name string, in request, fields ...string) fault {
		return fault{name: name, in: in, status: 422, code: breakglass.CodeInvalidRequest, fields: fields}
	}
	malformed := func(name, body string) fault {
		return fault{name: name, in: typed("application/json", body), status: 400, code: breakglass.CodeMalformed}
	}
	unsupported := func(name string, in request) fault {
		return fault{name: name, in: in, status: 415, code: breakglass.CodeUnsupportedMediaType}
	}
	for i, tc := range []fault{
		invalid("19 characters", invoke(body("justification="+quoted(strings.Repeat("x", 19)))), "justification"),
		invalid("1001 characters", invoke(body("justification="+quoted(strings.Repeat("x", 1001)))), "justification"),
		invalid("19 emoji", invoke(body("justification="+quoted(strings.Repeat("🔥", 19)))), "justification"),
		invalid("1001 combining marks", invoke(body("justification="+quoted(strings.Repeat("\u0301", 1001)))), "justification"),
		invalid("white space only", invoke(body("justification="+quoted(strings.Repeat(" ", 30)))), "justification"),
		invalid("non-breaking spaces only", invoke(body("justification="+quoted(strings.Repeat("\u00a0", 30)))), "justification"),
		invalid("control characters", invoke(body(`justification="Primary DB down\u0000\u001b[31m INC-4711"`)), "justification"),
		invalid("bidirectional override", invoke(body(`justification="Primary DB down \u202egnp.exe INC-4711"`)), "justification"),
		invalid("5 h", invoke(body("duration_seconds=18000")), "duration_seconds"),
		invalid("0 s", invoke(body("duration_seconds=0")), "duration_seconds"),
		invalid("negative", invoke(body("duration_seconds=-3600")), "duration_seconds"),
		invalid("overflow of an integer", invoke(body("duration_seconds=9223372036854775808")), "duration_seconds"),
		invalid("overflow of a duration", invoke(body("duration_seconds=18446744073")), "duration_seconds"),
		invalid("fraction", invoke(body("duration_seconds=0.5")), "duration_seconds"),
		invalid("unknown reason code", invoke(body(`reason_code="boredom"`)), "reason_code"),
		invalid("unknown field", invoke(body(`approver="me"`)), "approver"),
		invalid("field in other case", invoke(body(`Ticket="x"`)), "Ticket"),
		invalid("repeated field", invoke(`{"profile":"staging",`+body()[1:]), "profile"),
		invalid("wrong types", invoke(body("profile=1", "reason_code=[]", "justification={}", "ticket=true", "invoker=null", `duration_seconds="1h"`)),
			"duration_seconds", "invoker", "justification", "profile", "reason_code", "ticket"),
		invalid("everything absent", invoke(`{}`), "justification", "profile", "reason_code"),
		invalid("nested value", invoke(body("profile="+strings.Repeat("[", 9000)+strings.Repeat("]", 9000))), "profile"),
		invalid("unknown query parameter", request{method: "POST", path: "/v1/breakglass?force=true", as: alice, body: body()}, "force"),
		invalid("dry_run=maybe", request{method: "POST", path: "/v1/breakglass?dry_run=maybe", as: alice, body: body()}, "dry_run"),
		invalid("dry_run twice", request{method: "POST", path: "/v1/breakglass?dry_run=true&dry_run=false", as: alice, body: body()}, "dry_run"),
		invalid("idempotency key too long", with(invoke(body()), "Idempotency-Key", strings.Repeat("k", 256)), "Idempotency-Key"),
		invalid("two idempotency keys", with(invoke(body()), "Idempotency-Key", "a", "b"), "Idempotency-Key"),
		invalid("faults everywhere", with(request{method: "POST", path: "/v1/breakglass?x=1", as: alice, body: body("duration_seconds=0", "y=1", "-profile")}, "Idempotency-Key", `"`),
			"Idempotency-Key", "duration_seconds", "profile", "x", "y"),
		invalid("invoker that nobody knows", request{method: "POST", path: "/v1/breakglass", as: bot, body: body(`invoker="mallory"`)}, "invoker"),
		malformed("deep nesting", body("profile="+strings.Repeat("[", 20000)+strings.Repeat("]", 20000))),
		malformed("invalid UTF-8", body("justification="+quoted("Primary DB \xff\xfe down, INC-4711"))),
		malformed("no JSON", "profile=prod&reason_code=incident"),
		malformed("two objects", body()+body()),
		malformed("array", "["+body()+"]"),
		malformed("empty body", ""),
		{name: "body of 10 MB", in: invoke(body("justification=" + quoted(strings.Repeat("x", 10<<20)))), status: 413, code: breakglass.CodeTooLarge},
		{name: "body of 64 KiB and one", in: invoke(body() + strings.Repeat(" ", 64<<10-len(body())+1)), status: 413, code: breakglass.CodeTooLarge},
		unsupported("form", typed("application/x-www-form-urlencoded", body())),
		unsupported("other charset", typed("application/json; charset=utf-16", body())),
		unsupported("compressed", with(invoke(body()), "Content-Encoding", "gzip")),
		unsupported("two content types", with(invoke(body()), "Content-Type", "application/json", "text/plain")),
		{name: "unknown profile", in: invoke(body(`profile="production"`)), status: 404, code: breakglass.CodeProfileUnknown},
		{name: "profile without a rule", in: request{method: "POST", path: "/v1/breakglass", as: auditor, body: body()}, status: 403, code: breakglass.CodePolicyDenied,
			problem: func(t *testing.T, a answer) { assert.Equal(t, "no_matching_rule", a.problem().Condition) }},
		{name: "without the ticket", in: invoke(body(`profile="ticketed"`)), status: 403, code: breakglass.CodePolicyDenied,
			problem: func(t *testing.T, a answer) { assert.True(t, a.problem().Allowed.TicketRequired) }},
		{name: "longer than the rule allows", in: invoke(body(`profile="ticketed"`, `ticket="INC-1"`, "duration_seconds=1801")), status: 403, code: breakglass.CodePolicyDenied,
			problem: func(t *testing.T, a answer) { assert.Equal(t, int64(1800), a.problem().Allowed.MaxDurationSeconds) }},
		{name: "for somebody else", in: invoke(body(`invoker="` + bob + `"`)), status: 403, code: breakglass.CodeForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.clock.advance(2 * time.Minute) // so that no refusal is suppressed as a repetition
			before := s.entries(t)
			key := fmt.Sprintf("row-%d", i)
			if tc.in.header == nil {
				tc.in.header = http.Header{}
			}
			if tc.in.header["Idempotency-Key"] == nil {
				tc.in.header["Idempotency-Key"] = []string{key}
			}
			if tc.in.contentType == "" && tc.in.body == "" {
				tc.in.contentType = "application/json"
			}
			a := s.call(t, tc.in)
			checkFault(t, tc, a)
			assert.Empty(t, s.events(t), "no event")
			assertNoIdempotencyRecord(t, s, tc.in.as, key)
			after := s.entries(t)
			require.Len(t, after, len(before)+1, "each refusal is on record, once")
			entry := after[len(after)-1]
			assert.Equal(t, breakglass.EntryDenied, entry.Event)
			assert.Equal(t, string(tc.code), entry.Reason)
			assert.Equal(t, tc.in.as, entry.Actor)
			assert.Equal(t, a.header.Get("X-Request-Id"), entry.RequestID)
		})
	}
}

func checkFault(t *testing.T, tc fault, a answer) {
	t.Helper()
	require.Equal(t, tc.status, a.status, "%s", a.body)
	p := a.problem()
	assert.Equal(t, tc.code, p.Code)
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	assert.ElementsMatch(t, tc.fields, fields)
	if tc.problem != nil {
		tc.problem(t, a)
	}
}

var errLooked = errors.New("looked")

func assertNoIdempotencyRecord(t *testing.T, s *server, caller, key string) {
	t.Helper()
	err := s.store.Update(t.Context(), breakglass.Keys{Caller: caller, Idempotency: key}, func(tx breakglass.Tx) error {
		record, err := tx.FindIdempotent(caller, key)
		assert.NoError(t, err)
		assert.Nil(t, record, "no idempotency record")
		return errLooked
	})
	assert.ErrorIs(t, err, errLooked)
}

func TestRefusalsKeepWhatWasUnderstood(t *testing.T) {
	s := start(t, options{})
	s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body("duration_seconds=18000", `ticket="`+strings.Repeat("t", 101)+`"`)})
	entries := s.entries(t)
	require.Len(t, entries, 1)
	assert.Equal(t, "prod", entries[0].Profile)
	assert.Equal(t, why, entries[0].Justification)
	assert.Equal(t, breakglass.ReasonIncident, entries[0].ReasonCode)
	assert.Zero(t, entries[0].DurationSeconds)
	assert.Contains(t, entries[0].Detail["fields"], "duration_seconds")
	assert.Contains(t, entries[0].Detail["fields"], "ticket")
}

func TestDryRunsForOneselfAreNeverOnRecord(t *testing.T) {
	s := start(t, options{})
	for _, bad := range []string{`{`, body("x=1"), body("duration_seconds=0"), body(`profile="nowhere"`), body()} {
		s.call(t, request{method: "POST", path: "/v1/breakglass?dry_run=true", as: alice, body: bad})
	}
	assert.Empty(t, s.entries(t))
	assert.Empty(t, s.events(t))
}

func TestBadRequestsToTheOtherCallsChangeNothing(t *testing.T) {
	s := start(t, options{})
	mine, theirs := s.invoke(t, alice, "prod"), s.invoke(t, bob, "prod")
	cursor := firstPage(t, s)
	before, trail := s.events(t), len(s.entries(t))
	get := func(as, path string) request { return request{method: "GET", path: path, as: as} }
	closing := func(id, body string) request {
		return request{method: "POST", path: "/v1/breakglass/" + id + "/close", as: alice, body: body, contentType: "application/json"}
	}
	invalid := func(in request, fields ...string) fault {
		return fault{in: in, status: 422, code: breakglass.CodeInvalidRequest, fields: fields}
	}
	missing := func(in request) fault { return fault{in: in, status: 404, code: breakglass.CodeEventNotFound} }
	for _, tc := range []fault{
		invalid(get(alice, "/v1/breakglass?limit=0"), "limit"),
		invalid(get(alice, "/v1/breakglass?limit=-1"), "limit"),
		invalid(get(alice, "/v1/breakglass?limit=1000000"), "limit"),
		invalid(get(sam, "/v1/events?limit=0&wait=1h&event=x&after=-1&color=red"), "after", "color", "event", "limit", "wait"),
		invalid(get(sam, "/v1/events?limit=1001"), "limit"),
		invalid(get(sam, "/v1/events?after=99999"), "after"),
		invalid(get(sam, "/v1/events?after="+cursor), "after"),
		invalid(get(sam, "/v1/events?cursor="+cursor), "cursor"),
		invalid(get(sam, "/v1/events?after=9223372036854775808"), "after"),
		invalid(get(sam, "/v1/breakglass?cursor=2"), "cursor"),
		invalid(get(sam, "/v1/breakglass?cursor=%00%ff"), "cursor"),
		invalid(get(sam, "/v1/breakglass?status=active&cursor="+cursor), "cursor"),
		invalid(get(alice, "/v1/profiles?profile=prod"), "profile"),
		invalid(get(alice, "/v1/whoami?x"), "x"),
		invalid(get(alice, "/v1/breakglass/"+mine.ID+"?verbose=1"), "verbose"),
		invalid(closing(mine.ID+"", `{}`), "reason"),
		invalid(closing(mine.ID, `{"reason":"  "}`), "reason"),
		invalid(closing(mine.ID, `{"reason":"`+strings.Repeat("x", 1001)+`"}`), "reason"),
		invalid(closing(mine.ID, `{"reason":"a\u0007b","force":true}`), "force", "reason"),
		{in: closing(mine.ID, ``), status: 400, code: breakglass.CodeMalformed},
		{in: closing(mine.ID, `{"reason":"`+strings.Repeat("x", 70000)+`"}`), status: 413, code: breakglass.CodeTooLarge},
		{in: request{method: "POST", path: "/v1/breakglass/" + mine.ID + "/close", as: alice, body: `{"reason":"x"}`, contentType: "text/plain"},
			status: 415, code: breakglass.CodeUnsupportedMediaType},
		missing(closing("0000000000000000", `{"reason":"done"}`)),
		missing(closing(theirs.ID, `{"reason":"done"}`)),
		missing(closing("F"+mine.ID[1:], `{"reason":"done"}`)),
		missing(get(alice, "/v1/breakglass/"+theirs.ID)),
		missing(get(alice, "/v1/breakglass/0000000000000000")),
		missing(get(alice, "/v1/breakglass/x")),
		missing(get(alice, "/v1/breakglass/..%2f..%2fetc%2fpasswd")),
		missing(get(alice, "/v1/breakglass/%00")),
		missing(get(alice, "/v1/breakglass/%ff%fe")),
		missing(get(alice, "/v1/breakglass/"+strings.Repeat("a", 8000))),
		missing(get(alice, "/v1/breakglass/'%20OR%201=1--")),
		missing(request{method: "POST", path: "/v1/breakglass/%7bid%7d/credentials", as: alice}),
		missing(request{method: "POST", path: "/v1/breakglass/" + theirs.ID + "/credentials", as: alice}),
		invalid(request{method: "POST", path: "/v1/breakglass/" + mine.ID + "/credentials", as: alice, body: `{"duration":1}`}, "duration"),
		{in: request{method: "POST", path: "/v1/breakglass/" + mine.ID + "/credentials", as: alice, body: `{`}, status: 400, code: breakglass.CodeMalformed},
		{in: request{method: "POST", path: "/v1/breakglass/" + mine.ID + "/credentials", as: alice, body: `{}`, contentType: "text/plain"},
			status: 415, code: breakglass.CodeUnsupportedMediaType},
		{in: request{method: "POST", path: "/v1/breakglass/" + mine.ID + "/credentials", as: alice, body: strings.Repeat(" ", 70000)},
			status: 413, code: breakglass.CodeTooLarge},
	} {
		name := tc.in.method + " " + tc.in.path
		t.Run(name[:min(len(name), 60)], func(t *testing.T) { checkFault(t, tc, s.call(t, tc.in)) })
	}
	assert.Equal(t, before, s.events(t))
	for _, e := range s.entries(t)[trail:] {
		assert.Contains(t, []breakglass.EntryType{breakglass.EntryCredentialsDenied, breakglass.EntryDenied}, e.Event, "nothing but refusals")
	}
}

func firstPage(t *testing.T, s *server) string {
	t.Helper()
	var page struct {
		NextCursor string `json:"next_cursor"`
	}
	s.call(t, request{method: "GET", path: "/v1/breakglass?limit=1", as: sam}).into(200, &page)
	require.NotEmpty(t, page.NextCursor)
	return page.NextCursor
}

func TestAClockThatJumpsBackGrantsNothing(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "prod")
	s.clock.advance(-time.Hour)
	a := s.call(t, request{method: "POST", path: "/v1/breakglass", as: bob, body: body()})
	assert.Equal(t, 503, a.status)
	assert.Equal(t, breakglass.CodeUnavailable, a.problem().Code)
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	a = s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice})
	assert.Equal(t, 503, a.status)
	assert.Len(t, s.events(t), 1)
}

func TestTokensThatAreWrongGet401AndAChallenge(t *testing.T) {
	s := start(t, options{})
	token := tokenOf(alice)
	for name, header := range map[string][]string{
		"none": nil, "too short": {"Bearer " + token[:len(token)-1]}, "too long": {"Bearer " + token + "x"}, "5 KiB": {"Bearer " + strings.Repeat("x", 5000)},
		"two": {"Bearer " + token, "Bearer " + token}, "basic": {"Basic " + token}, "empty": {"Bearer "},
	} {
		for _, route := range s.handler.Routes() {
			method, path, _ := strings.Cut(route, " ")
			if !needsToken(route) {
				continue
			}
			r := request{method: method, path: filled(path), header: http.Header{"Authorization": header}}
			a := s.call(t, r)
			assert.Equal(t, 401, a.status, "%s: %s", name, route)
			assert.True(t, strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer realm="breakglass"`))
		}
	}
	assert.Empty(t, s.entries(t), "strangers can't write to the audit trail")
}

func TestUnderstandingWhatIsNotThere(t *testing.T) {
	s := start(t, options{})
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/v1", 404, ""},
		{"GET", "/v1/breakglass/", 404, ""},
		{"POST", "/v1/breakglass/", 404, ""},
		{"GET", "/v1/events/", 404, ""},
		{"GET", "//v1/events", 404, ""},
		{"GET", "/v1/breakglass/0123456789abcdef/close/", 404, ""},
		{"GET", "/V1/events", 404, ""},
		{"BREW", "/nowhere", 404, ""},
		{"GET", "/v1/breakglass/0123456789abcdef/close", 405, "POST, OPTIONS"},
		{"DELETE", "/v1/breakglass/0123456789abcdef", 405, "GET, HEAD, OPTIONS"},
		{"PUT", "/v1/breakglass", 405, "GET, HEAD, POST, OPTIONS"},
		{"BREW", "/v1/breakglass", 405, "GET, HEAD, POST, OPTIONS"},
		{"TRACE", "/v1/whoami", 405, "GET, HEAD, OPTIONS"},
		{"POST", "/healthz", 405, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/v1/breakglass", 204, "GET, HEAD, POST, OPTIONS"},
		{"OPTIONS", "/metrics", 204, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/nowhere", 404, ""},
		{"HEAD", "/v1/whoami", 200, ""},
		{"HEAD", "/healthz", 200, ""},
		{"HEAD", "/nowhere", 404, ""},
	} {
		a := s.call(t, request{method: tc.method, path: tc.path, as: alice})
		assert.Equal(t, tc.status, a.status, "%s %s", tc.method, tc.path)
		assert.Equal(t, tc.allow, a.header.Get("Allow"), "%s %s", tc.method, tc.path)
	}
}

// invoke breaks the glass and expects that it is granted.
func (s *server) invoke(t testing.TB, as, profile string, changes ...string) breakglass.View {
	t.Helper()
	var v breakglass.View
	s.call(t, request{method: "POST", path: "/v1/breakglass", as: as, body: body(append(changes, "profile="+quoted(profile))...)}).into(201, &v)
	return v
}
