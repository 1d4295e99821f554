package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// listQuery reads the query of GET /v1/breakglass.
func listQuery(raw string) (breakglass.EventQuery, query, *breakglass.Error) {
	var f faults
	q := parseQuery(raw, &f, "invoker", "status", "profile", "reason_code", "since", "until", "limit", "cursor")
	eq := eventQuery(q)
	return eq, q, breakglass.AsError(f.err())
}

// listRequestsQuery reads the query of GET /v1/requests.
func listRequestsQuery(raw string) (breakglass.RequestQuery, bool, query, *breakglass.Error) {
	var f faults
	q := parseQuery(raw, &f, "requester", "status", "profile", "decidable", "limit", "cursor")
	rq, decidable := requestQuery(q)
	return rq, decidable, q, breakglass.AsError(f.err())
}

func TestTheQueryOfAListingOfAccessRequests(t *testing.T) {
	_, _, _, e := listRequestsQuery("status=active&limit=0&profile=&requester=%ff&cursor=x&decidable=yes&invoker=alice&since=2026-03-01T02:04:05Z")
	assert.Equal(t, []string{"invoker", "since", "decidable", "requester", "profile", "status", "limit", "cursor"}, fieldsOf(e))
	for raw, field := range map[string]string{"decidable=": "decidable", "decidable=TRUE": "decidable", "decidable=true&decidable=true": "decidable",
		"status=Pending": "status", "limit=1001": "limit", "profile=%20prod": "profile", "Decidable=true": "Decidable"} {
		_, _, _, e := listRequestsQuery(raw)
		require.NotNil(t, e, raw)
		assert.Equal(t, []string{field}, fieldsOf(e), raw)
	}
	rq, decidable, _, e := listRequestsQuery("requester=Alice%40Example.com&status=approved&profile=prod&limit=7")
	require.Nil(t, e)
	assert.Equal(t, breakglass.RequestQuery{Requester: "alice@example.com", Status: breakglass.RequestApproved, Profile: "prod", Limit: 7}, rq)
	assert.False(t, decidable)
	rq, decidable, _, e = listRequestsQuery("decidable=true")
	require.Nil(t, e)
	assert.Equal(t, breakglass.RequestQuery{Limit: 100}, rq)
	assert.True(t, decidable)
}

// The listings of events and of access requests have one form of cursors, and
// don't take each other's.
func TestACursorIsOfOneKindOfListing(t *testing.T) {
	at := breakglass.Position{CreatedAt: time.Date(2026, 3, 1, 2, 4, 5, 0, time.UTC), ID: "0123456789abcdef"}
	eq, _, e := listQuery("profile=prod")
	require.Nil(t, e)
	rq, decidable, _, e := listRequestsQuery("profile=prod")
	require.Nil(t, e)
	ofEvents, ofRequests := encodeCursor(at, filterHash(eq)), encodeCursor(at, requestFilterHash(rq, decidable))
	got, _, _, e := listRequestsQuery("profile=prod&limit=3&cursor=" + ofRequests)
	require.Nil(t, e)
	assert.Equal(t, &at, got.Before)
	for _, raw := range []string{"profile=prod&cursor=" + ofEvents, "cursor=" + ofRequests, "profile=prod&decidable=true&cursor=" + ofRequests,
		"profile=prod&status=pending&cursor=" + ofRequests, "profile=prod&requester=bob&cursor=" + ofRequests} {
		_, _, _, e := listRequestsQuery(raw)
		require.NotNil(t, e, raw)
		assert.Equal(t, []string{"cursor"}, fieldsOf(e), raw)
	}
	_, _, e = listQuery("profile=prod&cursor=" + ofRequests)
	require.NotNil(t, e)
}

func TestASessionNameIsReadFromThePathHoweverItIsEncoded(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/why/alice@example.com.0123456789abcdef":   "alice@example.com.0123456789abcdef",
		"/v1/why/alice%40example.com.0123456789abcdef": "alice@example.com.0123456789abcdef",
		"/v1/why/a+b=c,d":       "a+b=c,d",
		"/v1/why/a%2Bb%3Dc%2Cd": "a+b=c,d",
		"/v1/why/a%2Fb":         "a/b",
		"/v1/why/%252e":         "%2e",
	} {
		var got string
		router := chi.NewRouter()
		router.Get("/v1/why/{ref}", func(_ http.ResponseWriter, r *http.Request) { got = (&call{r: r}).ref() })
		router.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
		assert.Equal(t, want, got, path)
	}
}

func TestQueryFaultsAreReportedTogether(t *testing.T) {
	_, _, e := listQuery("status=open&limit=0&since=yesterday&until=2026-03-01&reason_code=x&profile=&invoker=%ff&cursor=x&color=red&limit2=1&%1b=1")
	assert.Equal(t, []string{"color", "limit2", `"\x1b"`, "invoker", "status", "profile", "reason_code", "since", "until", "limit", "cursor"}, fieldsOf(e))
}

func TestQueryValues(t *testing.T) {
	for raw, field := range map[string]string{
		"limit=-1": "limit", "limit=1000000": "limit", "limit=1001": "limit", "limit=%2b5": "limit", "limit=5.0": "limit", "limit=0x5": "limit",
		"limit=": "limit", "limit=9223372036854775808": "limit", "limit=1_0": "limit", "limit=--1": "limit",
		"limit=1&limit=1": "limit", "status=active&status=active": "status", "Limit=1": "Limit", "status=ACTIVE": "status",
		"since=2026-03-01T02:04:05": "since", "since=2026-02-30T02:04:05Z": "since", "since=1767225600": "since", "since=2026-03-01T2:04:05Z": "since",
		"since=2026-03-01T02:04:05%2B25:00": "since", "since=2026-03-01T02:04:05%2B01:60": "since", "since=2026-03-01T02:04:05,5Z": "since",
		"since=2026-03-01T02:04:05.Z": "since", "since=2026-03-01T24:00:00Z": "since", "since=2026-03-01%2002:04:05Z": "since", "since=": "since",
		"since=2026-03-01T02:04:05Z%20": "since", "since=12026-03-01T02:04:05Z": "since", "since=-026-03-01T02:04:05Z": "since", "profile=%20prod": "profile", "profile=a%0Ab": "profile", "limit=%zz": "query", "a;b": "query",
	} {
		_, _, e := listQuery(raw)
		require.NotNil(t, e, raw)
		assert.Equal(t, []string{field}, fieldsOf(e), raw)
	}
	eq, _, e := listQuery("invoker=alice%40example.com&status=active&profile=prod&reason_code=other&since=2026-03-01T02:04:05.0000001%2B01:00&until=2026-03-01T02:04:05Z&limit=1000")
	require.Nil(t, e)
	assert.Equal(t, breakglass.EventQuery{Invoker: "alice@example.com", Status: "active", Profile: "prod", ReasonCode: "other", Limit: 1000,
		Since: time.Date(2026, 3, 1, 1, 4, 5, 1000, time.UTC), Until: time.Date(2026, 3, 1, 2, 4, 5, 0, time.UTC)}, eq)
	eq, _, e = listQuery("until=0001-01-01T00:00:00Z")
	require.Nil(t, e)
	assert.False(t, eq.Until.IsZero(), "a bound in the distant past is a bound, not its absence")
	eq, _, e = listQuery("")
	require.Nil(t, e)
	assert.Equal(t, breakglass.EventQuery{Limit: 100}, eq)
}

func TestWait(t *testing.T) {
	for raw, want := range map[string]time.Duration{"1s": time.Second, "30s": 30 * time.Second, "60s": time.Minute, "1m": time.Minute, "1m0s": time.Minute} {
		var f faults
		assert.Equal(t, want, parseQuery("wait="+raw, &f, "wait").wait("wait"))
		assert.Empty(t, f.list)
	}
	for _, raw := range []string{"", "0s", "61s", "-1s", "30", "1.5s", "s", "2m", "05s", "1h", "%2B5s", "5s5s", "99999999999999999999s"} {
		var f faults
		assert.Zero(t, parseQuery("wait="+raw, &f, "wait").wait("wait"), raw)
		assert.Len(t, f.list, 1, raw)
	}
}

func TestACursorContinuesItsOwnListingAlone(t *testing.T) {
	at := time.Date(2026, 3, 1, 2, 4, 5, 123456000, time.UTC)
	eq, _, e := listQuery("status=active&profile=prod&limit=10")
	require.Nil(t, e)
	want := breakglass.Position{CreatedAt: at, ID: "0123456789abcdef"}
	cursor := encodeCursor(want, filterHash(eq))

	got, _, e := listQuery("status=active&profile=prod&limit=20&cursor=" + cursor)
	require.Nil(t, e, "the page size may change")
	assert.Equal(t, &want, got.Before)

	for name, raw := range map[string]string{
		"other filters":   "status=closed&profile=prod&cursor=" + cursor,
		"no filters":      "cursor=" + cursor,
		"one more filter": "status=active&profile=prod&invoker=alice&cursor=" + cursor,
		"cut":             "status=active&profile=prod&cursor=" + cursor[:33],
		"longer":          "status=active&profile=prod&cursor=" + cursor + "A",
		"padded":          "status=active&profile=prod&cursor=" + cursor + "==",
		"other alphabet":  "status=active&profile=prod&cursor=" + strings.Repeat("%2B", 34),
		"a feed's cursor": "status=active&profile=prod&cursor=42",
		"an event id":     "status=active&profile=prod&cursor=0123456789abcdef",
		"empty":           "status=active&profile=prod&cursor=",
		"other version":   "status=active&profile=prod&cursor=B" + cursor[1:],
		"negative time":   "status=active&profile=prod&cursor=" + encodeCursor(breakglass.Position{CreatedAt: time.UnixMicro(-1), ID: want.ID}, filterHash(eq)),
		"stray last bits": "status=active&profile=prod&cursor=" + cursor[:33] + string(cursor[33]+1), // the last two characters differ in bits that no byte has
	} {
		_, _, e := listQuery(raw)
		require.NotNil(t, e, name)
		assert.Equal(t, []string{"cursor"}, fieldsOf(e), name)
	}
}

func TestNextKeepsTheFiltersAndEscapesThem(t *testing.T) {
	_, q, e := listQuery(`profile=a%3E%2C%20"b&limit=5&invoker=` + url.QueryEscape("jürgen+x@example.com"))
	require.Nil(t, e)
	assert.Equal(t, `</v1/breakglass?invoker=j%C3%BCrgen%2Bx%40example.com&profile=a%3E%2C+%22b&limit=5&cursor=abc>; rel="next"`,
		q.next("/v1/breakglass", "cursor", "abc"))
}

func TestIdempotencyKeys(t *testing.T) {
	for value, want := range map[string]string{
		"abc": "abc", `"abc"`: "abc", "550e8400-e29b-41d4-a716-446655440000": "550e8400-e29b-41d4-a716-446655440000", `"a\"b\\c"`: `a"b\c`,
		"base64+/==": "base64+/==", `"a,b;c"`: "a,b;c", strings.Repeat("k", 255): strings.Repeat("k", 255), `"` + strings.Repeat(`\"`, 255) + `"`: strings.Repeat(`"`, 255),
	} {
		var f faults
		assert.Equal(t, want, idempotencyKey(http.Header{idempotencyHeader: {value}}, &f), value)
		assert.Empty(t, f.list, value)
	}
	for _, value := range []string{"", `""`, `"abc`, `abc"`, `"a"b`, `"a";p=1`, `a b`, `"a b"`, "a,b", "a;b", `a\b`, `"a\b"`, `"a\`, "ü", "a\x7f", "\"a\tb\"", strings.Repeat("k", 256)} {
		var f faults
		assert.Empty(t, idempotencyKey(http.Header{idempotencyHeader: {value}}, &f), value)
		assert.Len(t, f.list, 1, value)
	}
	var f faults
	assert.Empty(t, idempotencyKey(http.Header{idempotencyHeader: {"a", "a"}}, &f))
	assert.Len(t, f.list, 1, "several headers")
	assert.Empty(t, idempotencyKey(http.Header{}, &f))
	assert.Len(t, f.list, 1, "no header is no fault")
}

func TestRequestIDsOfTheAgreedFormAreTaken(t *testing.T) {
	for _, ok := range []string{"12345678", "INC-4711_a.b", strings.Repeat("a", 64)} {
		assert.Equal(t, ok, requestID(http.Header{"X-Request-Id": {ok}}))
	}
	for _, bad := range [][]string{nil, {""}, {"1234567"}, {strings.Repeat("a", 65)}, {"abc def gh"}, {"abcdefg\x1b"}, {"äbcdefgh"}, {"12345678", "12345678"}} {
		assert.Regexp(t, "^[0-9a-f]{16}$", requestID(http.Header{"X-Request-Id": bad}), bad)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("AQAGTFRGbNlATxwMDzpbfZIBAgMEBQYHCA")
	f.Add("")
	f.Add(strings.Repeat("_", 34))
	f.Fuzz(func(t *testing.T, s string) {
		p, filters, ok := decodeCursor(s)
		if !ok {
			return
		}
		if !breakglass.IsID(p.ID) || p.CreatedAt.Location() != time.UTC || p.CreatedAt.Year() > 9999 {
			t.Fatalf("%q: %+v", s, p)
		}
		if again := encodeCursor(p, filters); again != s {
			t.Fatalf("%q and %q are the same position", s, again)
		}
	})
}

func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b"`, `"a`, "a,b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var faulty faults
		key := idempotencyKey(http.Header{idempotencyHeader: {value}}, &faulty)
		if (key == "") == (len(faulty.list) == 0) {
			t.Fatalf("%q: key %q, faults %v", value, key, faulty.list)
		}
		if len(key) > maxIdempotencyKey || strings.IndexFunc(key, notVisible) >= 0 {
			t.Fatalf("%q: key %q", value, key)
		}
		if key == "" {
			return
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again := idempotencyKey(http.Header{idempotencyHeader: {quoted}}, &faulty); again != key {
			t.Fatalf("%q is another key than %q", again, key)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"status=active&limit=5", "since=2026-03-01T02:04:05Z&until=9999-12-31T23:59:59.999999999Z", "limit=%zz&a;b", "x=1&x=2&%ff=%00", "cursor=AQAGTFRGbNlATxwMDzpbfZIBAgMEBQYHCA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		eq, q, e := listQuery(raw)
		if e != nil {
			checkRefusal(t, e)
			return
		}
		if eq.Limit < minLimit || eq.Limit > maxLimit || eq.Since.Before(time.Unix(0, 0)) && !eq.Since.IsZero() {
			t.Fatalf("%q: %+v", raw, eq)
		}
		// The next page has the same filters, and its link is one header value.
		link := q.next("/v1/breakglass", "cursor", encodeCursor(breakglass.Position{CreatedAt: time.UnixMicro(1).UTC(), ID: "0123456789abcdef"}, filterHash(eq)))
		path, ok := strings.CutPrefix(link, "</v1/breakglass?")
		path, ok2 := strings.CutSuffix(path, `>; rel="next"`)
		if !ok || !ok2 || strings.ContainsAny(path, "<>\" \r\n") {
			t.Fatalf("%q: link %q", raw, link)
		}
		next, _, e := listQuery(path)
		if e != nil || next.Before == nil {
			t.Fatalf("%q: link %q is refused: %v", raw, link, e)
		}
		next.Before, eq.Before = nil, nil
		if next != eq {
			t.Fatalf("%q: link %q changes the filters: %+v", raw, link, next)
		}
	})
}
