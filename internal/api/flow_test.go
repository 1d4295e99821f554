package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestAnInvocationFromBeginningToEnd(t *testing.T) {
	s := start(t, options{})
	a := s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, header: http.Header{"X-Request-Id": {"INC-4711.alice"}},
		body: body("duration_seconds=1800", `ticket="INC-4711"`)})
	var ev breakglass.View
	a.into(201, &ev)
	assert.Equal(t, "/v1/breakglass/"+ev.ID, a.header.Get("Location"))
	assert.Equal(t, "INC-4711.alice", a.header.Get("X-Request-Id"))
	assert.Equal(t, "INC-4711.alice", ev.RequestID)
	assert.Equal(t, int64(1800), ev.RemainingSeconds)
	assert.Equal(t, 30*time.Minute, ev.ExpiresAt.Sub(ev.CreatedAt))

	var again breakglass.View
	s.call(t, request{method: "GET", path: a.header.Get("Location"), as: alice}).into(200, &again)
	assert.Equal(t, ev.Event, again.Event)

	var creds map[string]any
	a = s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice})
	a.into(200, &creds)
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	assert.Equal(t, "dev", creds["issuer"])
	assert.Equal(t, "prod", creds["profile"])
	assert.Equal(t, ev.ID, creds["event_id"])
	assert.NotEmpty(t, creds["secret_access_key"])
	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice, body: `{}`}).into(200, &creds)

	p := s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body()}).problem()
	assert.Equal(t, breakglass.CodeAlreadyActive, p.Code)
	assert.Equal(t, ev.ID, p.EventID)
	assert.Equal(t, ev.ExpiresAt, p.ExpiresAt)

	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":" done "}`}).into(200, &again)
	assert.Equal(t, breakglass.StatusClosed, again.Status)
	assert.Equal(t, "done", again.ClosedReason)
	assert.Zero(t, again.RemainingSeconds)
	for _, path := range []string{"/close", "/credentials"} {
		a := s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + path, as: alice, body: map[string]string{"/close": `{"reason":"again"}`, "/credentials": ""}[path]})
		assert.Equal(t, 409, a.status)
		assert.Equal(t, breakglass.CodeInvalidTransition, a.problem().Code)
	}
}

func TestAnEventIsExpiredFromItsEndOn(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "prod", "duration_seconds=60")
	s.clock.advance(time.Minute)
	var now breakglass.View
	s.call(t, request{method: "GET", path: "/v1/breakglass/" + ev.ID, as: alice}).into(200, &now)
	assert.Equal(t, breakglass.StatusExpired, now.Status)
	assert.Zero(t, now.RemainingSeconds)
	for status, n := range map[string]int{"active": 0, "expired": 1, "closed": 0} {
		assert.Len(t, s.list(t, alice, "status="+status), n, status)
	}
	assert.Equal(t, 409, s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":"late"}`}).status)
	s.invoke(t, alice, "prod") // an expired event is in nobody's way
}

func TestIdempotencyKeysMakeRepetitionSafe(t *testing.T) {
	s := start(t, options{})
	call := func(as, key, body string) answer {
		return s.call(t, request{method: "POST", path: "/v1/breakglass", as: as, body: body, header: http.Header{"Idempotency-Key": {key}}})
	}
	var first, second breakglass.View
	a := call(alice, `"INC-4711"`, body())
	a.into(201, &first)
	assert.Empty(t, a.header.Get("Idempotency-Replayed"))
	s.clock.advance(10 * time.Minute)
	a = call(alice, "INC-4711", "  "+strings.ReplaceAll(body(), ":", " : "))
	a.into(201, &second)
	assert.Equal(t, first.Event, second.Event, "bare or quoted, and whatever the formatting of the body")
	assert.Equal(t, "true", a.header.Get("Idempotency-Replayed"))
	assert.Equal(t, "/v1/breakglass/"+first.ID, a.header.Get("Location"))
	assert.Equal(t, int64(3000), second.RemainingSeconds, "the event as it is now")

	a = call(alice, "INC-4711", body("duration_seconds=60"))
	assert.Equal(t, 422, a.status)
	assert.Equal(t, breakglass.CodeIdempotencyMismatch, a.problem().Code)
	assert.Equal(t, 201, call(bob, "INC-4711", body()).status, "a key belongs to its caller")
	assert.Len(t, s.events(t), 2)

	a = s.call(t, request{method: "POST", path: "/v1/breakglass?dry_run=true", as: alice, body: body(), header: http.Header{"Idempotency-Key": {"INC-4711"}}})
	assert.Equal(t, 409, a.status, "a dry run asks about a new call")
	assert.Empty(t, a.header.Get("Idempotency-Replayed"))
}

func TestARefusedCallDoesNotUseUpItsKey(t *testing.T) {
	s := start(t, options{})
	header := http.Header{"Idempotency-Key": {"k"}}
	assert.Equal(t, 422, s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body("duration_seconds=0"), header: header}).status)
	assert.Equal(t, 404, s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body(`profile="prd"`), header: header}).status)
	assert.Equal(t, 201, s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body(), header: header}).status)
}

func TestADryRunSaysWhatWouldHappen(t *testing.T) {
	s := start(t, options{})
	var out map[string]any
	s.call(t, request{method: "POST", path: "/v1/breakglass?dry_run=true", as: alice, body: body("duration_seconds=7200")}).into(200, &out)
	assert.Equal(t, true, out["dry_run"])
	assert.Equal(t, "engineers", out["policy_rule"])
	assert.EqualValues(t, 7200, out["duration_seconds"])
	assert.Empty(t, s.entries(t))
	s.invoke(t, alice, "prod")
	assert.Equal(t, 409, s.call(t, request{method: "POST", path: "/v1/breakglass?dry_run=true", as: alice, body: body()}).status)
	assert.Equal(t, 409, s.call(t, request{method: "POST", path: "/v1/breakglass?dry_run=false", as: alice, body: body()}).status)
}

func TestADelegateInvokesForOthersAndGetsNoCredentials(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, bot, "prod", `invoker="`+alice+`"`)
	assert.Equal(t, alice, ev.Invoker)
	assert.Equal(t, bot, ev.RequestedBy)
	a := s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: bot})
	assert.Equal(t, 403, a.status)
	assert.Equal(t, breakglass.CodeForbidden, a.problem().Code)
	assert.Equal(t, 200, s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice}).status)
	assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/v1/breakglass/" + ev.ID, as: bot}).status)
}

func TestRateLimitsSayWhen(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "limited")
	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":"done"}`})
	a := s.call(t, request{method: "POST", path: "/v1/breakglass", as: alice, body: body(`profile="limited"`)})
	require.Equal(t, 429, a.status)
	p := a.problem()
	assert.Equal(t, breakglass.LimitCooldown, p.Limit)
	assert.Equal(t, "limited", p.Rule)
	assert.Equal(t, int64(1800), p.RetryAfterSeconds, "rounded up: who waits so long is not early")
	assert.Equal(t, "1800", a.header.Get("Retry-After"))
	s.clock.advance(time.Duration(p.RetryAfterSeconds) * time.Second)
	assert.True(t, s.invoke(t, alice, "limited").Escalated)
}

func TestCredentialsInALoopAreRateLimited(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "prod")
	fetch := request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice}
	for range 10 {
		require.Equal(t, 200, s.call(t, fetch).status)
	}
	a := s.call(t, fetch)
	assert.Equal(t, 429, a.status)
	assert.NotEmpty(t, a.header.Get("Retry-After"))
}

func TestCredentialsThatAWSRefuses(t *testing.T) {
	s := start(t, options{profiles: []string{"prod", "gone"}, dir: t.TempDir()})
	ev, orphan := s.invoke(t, alice, "prod"), s.invoke(t, alice, "gone")
	fetch := func(s *server, id string) answer {
		return s.call(t, request{method: "POST", path: "/v1/breakglass/" + id + "/credentials", as: alice})
	}
	s.issuer.fail.Store(&breakglass.Error{Code: breakglass.CodeCredentialsRefused, Message: "AWS says no."})
	assert.Equal(t, 502, fetch(s, ev.ID).status)
	s.issuer.fail.Store(&breakglass.Error{Code: breakglass.CodeCredentialsRefused, Message: "AWS is busy.", Temporary: true, RetryAfter: 1500 * time.Millisecond})
	a := fetch(s, ev.ID)
	assert.Equal(t, 503, a.status)
	assert.Equal(t, "2", a.header.Get("Retry-After"))
	require.NoError(t, s.store.Close())

	s = start(t, options{profiles: []string{"prod"}, dir: s.dir})
	a = fetch(s, orphan.ID)
	assert.Equal(t, 404, a.status)
	assert.Equal(t, breakglass.CodeProfileUnknown, a.problem().Code)
	assert.Equal(t, 200, fetch(s, ev.ID).status, "the event stays")
}

// list returns all events of a listing in one page.
func (s *server) list(t testing.TB, as, query string) []breakglass.View {
	t.Helper()
	var page struct{ Items []breakglass.View }
	s.call(t, request{method: "GET", path: "/v1/breakglass?" + query, as: as}).into(200, &page)
	require.NotNil(t, page.Items, "an empty list is a list")
	return page.Items
}

// next is the target of the Link header; empty without one.
func (a answer) next() string {
	link, _, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	return link
}

func TestPagesFollowLinksAndKeepFilters(t *testing.T) {
	s := start(t, options{})
	var want []string
	for i := range 7 {
		ev := s.invoke(t, alice, "staging")
		s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":"x"}`})
		want = append([]string{ev.ID}, want...)
		if i%2 == 0 {
			other := s.invoke(t, bob, "prod")
			s.call(t, request{method: "POST", path: "/v1/breakglass/" + other.ID + "/close", as: bob, body: `{"reason":"x"}`})
		}
	}
	for _, path := range []string{"/v1/breakglass?limit=2&profile=staging", "/v1/breakglass?limit=7&invoker=" + url.QueryEscape(alice), "/v1/breakglass?limit=3&status=closed&reason_code=incident&profile=staging"} {
		var got []string
		for path != "" {
			a := s.call(t, request{method: "GET", path: path, as: sam})
			var page struct {
				Items      []breakglass.View
				NextCursor string `json:"next_cursor"`
			}
			a.into(200, &page)
			for _, v := range page.Items {
				got = append(got, v.ID)
			}
			assert.Equal(t, page.NextCursor != "", a.next() != "")
			assert.Contains(t, a.next(), page.NextCursor)
			path = a.next()
			s.invoke(t, bob, "limited") // what is created meanwhile doesn't disturb the pages
			s.clock.advance(time.Hour)
		}
		assert.Equal(t, want, got)
	}
}

func TestListFilters(t *testing.T) {
	s := start(t, options{})
	one := s.invoke(t, alice, "prod")
	s.clock.advance(time.Minute)
	two := s.invoke(t, bob, "staging", `reason_code="security"`)
	ids := func(query string) []string {
		out := []string{}
		for _, v := range s.list(t, auditor, query) {
			out = append(out, v.ID)
		}
		return out
	}
	at := func(ev breakglass.View) string { return url.QueryEscape(ev.CreatedAt.Format(time.RFC3339Nano)) }
	for query, want := range map[string][]string{
		"":                                  {two.ID, one.ID},
		"limit=1":                           {two.ID},
		"invoker=" + url.QueryEscape(alice): {one.ID},
		"profile=staging":                   {two.ID},
		"reason_code=security":              {two.ID},
		"since=" + at(two):                  {two.ID},
		"until=" + at(two):                  {one.ID},
		"since=" + at(one) + "&until=" + url.QueryEscape(two.CreatedAt.Add(time.Nanosecond).Format(time.RFC3339Nano)): {two.ID, one.ID},
		"until=0001-01-01T00:00:00Z":        {},
		"since=9999-12-31T23:59:59Z":        {},
		"profile=unknown":                   {},
		"profile=prod&reason_code=security": {},
	} {
		assert.Equal(t, want, ids(query), query)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	s := start(t, options{})
	own := map[string]breakglass.View{}
	for _, name := range []string{alice, bob, sam} {
		own[name] = s.invoke(t, name, "prod")
	}
	delegated := s.invoke(t, bot, "staging", `invoker="`+alice+`"`)
	type row struct {
		call string
		want map[string]int
	}
	of := func(id, suffix string) string { return "/v1/breakglass/" + id + suffix }
	for _, tc := range []row{
		{"GET /v1/whoami", map[string]int{alice: 200, bob: 200, sam: 200, auditor: 200, bot: 200}},
		{"GET /v1/profiles", map[string]int{alice: 200, bob: 200, sam: 200, auditor: 200, bot: 200}},
		{"GET /v1/events", map[string]int{alice: 403, bob: 403, sam: 200, auditor: 200, bot: 403}},
		{"GET /v1/breakglass", map[string]int{alice: 200, bob: 200, sam: 200, auditor: 200, bot: 200}},
		{"GET /v1/breakglass?invoker=" + url.QueryEscape(alice), map[string]int{alice: 200, bob: 403, sam: 200, auditor: 200, bot: 403}},
		{"GET " + of(own[alice].ID, ""), map[string]int{alice: 200, bob: 404, sam: 200, auditor: 200, bot: 404}},
		{"GET " + of(delegated.ID, ""), map[string]int{alice: 200, bob: 404, sam: 200, auditor: 200, bot: 200}},
		{"POST " + of(own[alice].ID, "/credentials"), map[string]int{bob: 404, sam: 403, auditor: 403, bot: 404, alice: 200}},
		{"POST " + of(delegated.ID, "/credentials"), map[string]int{bob: 404, sam: 403, auditor: 403, bot: 403, alice: 200}},
		{"POST " + of(own[alice].ID, "/close"), map[string]int{bob: 404, auditor: 403, bot: 404}},
		{"POST " + of(own[bob].ID, "/close"), map[string]int{alice: 404, auditor: 403, bot: 404}},
	} {
		method, path, _ := strings.Cut(tc.call, " ")
		for as, want := range tc.want {
			a := s.call(t, request{method: method, path: path, as: as, body: map[bool]string{true: `{"reason":"test"}`}[strings.HasSuffix(path, "/close")]})
			assert.Equal(t, want, a.status, "%s by %s: %s", tc.call, as, a.body)
		}
	}
	for as, id := range map[string]string{alice: own[alice].ID, sam: own[bob].ID, bot: delegated.ID} {
		assert.Equal(t, 200, s.call(t, request{method: "POST", path: of(id, "/close"), as: as, body: `{"reason":"test"}`}).status, "%s may close it", as)
	}
	assert.Len(t, s.list(t, bob, ""), 1, "others' events are not listed")
	assert.Empty(t, s.list(t, bot, ""))
	assert.Len(t, s.list(t, sam, ""), 4)
}

func TestWhoamiAndProfiles(t *testing.T) {
	s := start(t, options{})
	for as, want := range map[string]string{
		alice:   `{"name":"alice@example.com","groups":["engineers"],"roles":[],"authenticated_by":"token"}`,
		sam:     `{"name":"sam@example.com","groups":["security"],"roles":["reviewer"],"authenticated_by":"token"}`,
		auditor: `{"name":"dashboard","groups":[],"roles":["auditor"],"authenticated_by":"token"}`,
		ops:     `{"name":"ops","groups":[],"roles":["admin"],"authenticated_by":"token"}`,
		bot:     `{"name":"incident-bot","groups":[],"roles":["delegate"],"authenticated_by":"token"}`,
	} {
		assert.JSONEq(t, want, string(s.call(t, request{method: "GET", path: "/v1/whoami", as: as}).body))
	}
	var out struct{ Items []map[string]any }
	s.call(t, request{method: "GET", path: "/v1/profiles", as: alice}).into(200, &out)
	names := []string{}
	for _, p := range out.Items {
		names = append(names, fmt.Sprint(p["profile"]))
	}
	assert.Equal(t, []string{"gone", "limited", "prod", "staging", "ticketed"}, names)
	assert.Equal(t, map[string]any{"profile": "ticketed", "region": "us-east-1", "rule": "ticketed", "max_duration_seconds": 1800.0,
		"default_duration_seconds": 1800.0, "reason_codes": []any{"incident"}, "ticket_required": true, "mfa_required": false}, out.Items[4])
	s.call(t, request{method: "GET", path: "/v1/profiles", as: auditor}).into(200, &out)
	raw, err := json.Marshal(out)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Items":[]}`, string(raw))
}
