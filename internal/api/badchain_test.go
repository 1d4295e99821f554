package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// badBodies are what no call with a body takes.
var badBodies = []struct {
	name, contentType, body string
	status                  int
	code                    breakglass.Code
}{
	{"no JSON", "application/json", "profile=prod", 400, breakglass.CodeMalformed},
	{"array", "application/json", "[{}]", 400, breakglass.CodeMalformed},
	{"null", "application/json", "null", 400, breakglass.CodeMalformed},
	{"two objects", "application/json", "{}{}", 400, breakglass.CodeMalformed},
	{"cut short", "application/json", "{", 400, breakglass.CodeMalformed},
	{"invalid UTF-8", "application/json", "{\"reason\":\"\xff\"}", 400, breakglass.CodeMalformed},
	{"deep nesting", "application/json", `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, 400, breakglass.CodeMalformed},
	{"64 KiB and more", "application/json", strings.Repeat(" ", 70000), 413, breakglass.CodeTooLarge},
	{"form", "application/x-www-form-urlencoded", "{}", 415, breakglass.CodeUnsupportedMediaType},
	{"other charset", "application/json; charset=utf-16", "{}", 415, breakglass.CodeUnsupportedMediaType},
}

func TestBadRequestsToTheChainAreRefusedAndChangeNothing(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "prod")
	s.invoke(t, bob, "prod")
	cursor := firstPage(t, s)
	mine, theirs := s.ask(t, alice, "shared"), s.ask(t, bob, "shared")
	events, requests, trail := s.events(t), s.accessRequests(t), len(s.entries(t))
	paths := map[string]string{"/v1/credentials": `{"profile":"prod"}`, "/v1/requests": asking("auto"), "/v1/breakglass/" + ev.ID + "/extend": extending(),
		"/v1/requests/" + theirs.ID + "/approve": `{}`, "/v1/requests/" + theirs.ID + "/deny": `{"reason":"x"}`, "/v1/requests/" + mine.ID + "/cancel": `{}`}
	for path, valid := range paths {
		for _, bad := range badBodies {
			a := s.call(t, request{method: "POST", path: path, as: alice, body: bad.body, contentType: bad.contentType})
			checkFault(t, fault{status: bad.status, code: bad.code}, a)
		}
		checkFault(t, fault{status: 415, code: breakglass.CodeUnsupportedMediaType},
			s.call(t, request{method: "POST", path: path, as: alice, body: valid, header: http.Header{"Content-Encoding": {"gzip"}}}))
		with := strings.TrimSuffix(strings.TrimSuffix(valid, "}"), "{")
		if with != "" {
			with = with[1:] + ","
		}
		checkFault(t, fault{status: 422, code: breakglass.CodeInvalidRequest, fields: []string{"color", "force"}},
			s.call(t, post(alice, path+"?force=true", "{"+with+`"color":"red"}`)))
	}
	get := func(path string) request { return request{method: "GET", path: path, as: alice} }
	for _, tc := range []struct {
		in     request
		fields []string
	}{
		{get("/v1/requests?limit=0&status=open&decidable=maybe&color=red&requester=%00"), []string{"color", "decidable", "limit", "requester", "status"}},
		{get("/v1/requests?limit=1001"), []string{"limit"}},
		{get("/v1/requests?status=pending&status=denied"), []string{"status"}},
		{get("/v1/requests?cursor=2"), []string{"cursor"}},
		{get("/v1/requests?cursor=" + cursor), []string{"cursor"}},
		{get("/v1/requests/" + mine.ID + "?verbose=1"), []string{"verbose"}},
		{get("/v1/why/" + ev.ID + "?x"), []string{"x"}},
		{post(alice, "/v1/breakglass/"+ev.ID+"/extend", `{"justification":"short","duration_seconds":14401,"totp":"x"}`), []string{"duration_seconds", "justification", "totp"}},
		{post(alice, "/v1/requests", `{"duration_seconds":28801}`), []string{"duration_seconds", "justification", "profile"}},
		{post(alice, "/v1/requests/"+theirs.ID+"/deny", `{}`), []string{"reason"}},
		{post(alice, "/v1/requests/"+theirs.ID+"/approve", `{"comment":"\u202e"}`), []string{"comment"}},
	} {
		checkFault(t, fault{status: 422, code: breakglass.CodeInvalidRequest, fields: tc.fields}, s.call(t, tc.in))
	}
	assert.Equal(t, events, s.events(t))
	assert.Equal(t, requests, s.accessRequests(t))
	for _, e := range s.entries(t)[trail:] {
		assert.Equal(t, breakglass.EntryDenied, e.Event, "nothing but refusals")
	}
}

// What isn't an id of anything is answered as one of something that isn't there.
func TestIdsThatAreNoneAreNotThere(t *testing.T) {
	s := start(t, options{})
	for _, id := range []string{"x", "0000000000000000", "0000000000000000F", "..%2f..%2fetc%2fpasswd", "%00", "%ff%fe", "'%20OR%201=1--", strings.Repeat("a", 8000), "%7bid%7d"} {
		for path, code := range map[string]breakglass.Code{"/v1/requests/" + id: breakglass.CodeRequestNotFound, "/v1/why/" + id: breakglass.CodeEventNotFound,
			"/v1/why/alice." + id: breakglass.CodeEventNotFound} {
			a := s.call(t, request{method: "GET", path: path, as: sam})
			require.Equal(t, 404, a.status, "%.60s", path)
			assert.Equal(t, code, a.problem().Code)
		}
		for _, what := range []string{"approve", "deny", "cancel"} {
			a := s.decide(t, sam, id, what, map[string]string{"deny": `{"reason":"x"}`}[what])
			require.Equal(t, 404, a.status, "%.60s %s", id, what)
			assert.Equal(t, breakglass.CodeRequestNotFound, a.problem().Code)
		}
		a := s.call(t, post(sam, "/v1/breakglass/"+id+"/extend", extending()))
		require.Equal(t, 404, a.status, "%.60s", id)
	}
}

// As for invocations, a call for access that is refused before the service sees it
// is on record, with what was understood of it.
func TestCallsForAccessThatCantBeReadAreOnRecord(t *testing.T) {
	s := start(t, options{})
	for path, body := range map[string]string{"/v1/credentials": `{`, "/v1/requests": strings.Replace(asking("prod"), "{", `{"duration_seconds":0,`, 1),
		"/v1/breakglass/0123456789abcdef/extend": `{}`} {
		s.clock.advance(2 * time.Minute)
		before := len(s.entries(t))
		a := s.call(t, post(alice, path, body))
		after := s.entries(t)
		require.Len(t, after, before+1, path)
		entry := after[before]
		assert.Equal(t, breakglass.EntryDenied, entry.Event)
		assert.Equal(t, string(a.problem().Code), entry.Reason)
		assert.Equal(t, alice, entry.Actor)
		assert.Equal(t, a.header.Get("X-Request-Id"), entry.RequestID)
		if path == "/v1/requests" {
			assert.Equal(t, "prod", entry.Profile)
			assert.Equal(t, "Rotate the certificate of the load balancer", entry.Justification)
		}
	}
}
