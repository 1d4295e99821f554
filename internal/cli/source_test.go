package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/credcache"
	"breakglass/internal/client"
)

const testEvent = "0123456789abcdef"

const testRequest = "fedcba9876543210"

// fakeAPI plays the server for one event of alice on prod, or for what else the
// chain may give her there. Times are those of the test's clock, so that hours
// pass in no time.
type fakeAPI struct {
	mu       sync.Mutex
	now      time.Time
	ends     time.Time     // of the grant; zero: it doesn't end
	lifetime time.Duration // of credentials
	broken   int           // status to fail with; 0 works
	closed   bool
	link     breakglass.Link // that grants
	last     bool            // the grant gives no further credentials
	issued   atomic.Int32
	calls    atomic.Int32
	gate     chan struct{} // when set, credentials are held until it closes
}

func newFakeAPI(t *testing.T) (*fakeAPI, *source) {
	start := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	f := &fakeAPI{now: start, ends: start.Add(4 * time.Hour), lifetime: time.Hour, link: breakglass.LinkBreakglass}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	api, err := client.New(client.Config{Server: s.URL, Token: "token"})
	require.NoError(t, err)
	return f, &source{
		api: func() (*client.Client, error) { return api, nil }, cache: credcache.Open(t.TempDir(), s.URL, "token"),
		ref: "prod", now: f.clock, warn: func(string, ...any) {},
	}
}

func (f *fakeAPI) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fakeAPI) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeAPI) pass(d time.Duration) { f.set(func() { f.now = f.now.Add(d) }) }

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls.Add(1)
	f.mu.Lock()
	broken, gate, link, last, ends := f.broken, f.gate, f.link, f.last, f.ends
	over := f.closed || !ends.IsZero() && !f.now.Before(ends)
	expiration := f.now.Add(f.lifetime)
	if !ends.IsZero() && expiration.After(ends) {
		expiration = ends
	}
	f.mu.Unlock()
	reply := func(status int, contentType, format string, args ...any) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, format, args...)
	}
	switch {
	case broken != 0:
		reply(broken, "text/plain", "")
	case r.URL.Path == "/v1/credentials" && over:
		reply(403, "application/problem+json", `{"code":"access_denied","detail":"Nothing gives you access to prod now. It is over.",
			"links":[{"link":"breakglass","outcome":"expired","event_id":%q,"message":"It is over."}]}`, testEvent)
	case r.URL.Path == "/v1/credentials" && last:
		reply(403, "application/problem+json", `{"code":"access_denied","detail":"Nothing gives you access to prod now.",
			"links":[{"link":"breakglass","outcome":"exhausted","event_id":%q,"message":"That was the last one."}]}`, testEvent)
	case strings.HasSuffix(r.URL.Path, "/credentials") && over:
		reply(409, "application/problem+json", `{"code":"invalid_transition","detail":"It is over."}`)
	case strings.HasSuffix(r.URL.Path, "/credentials") && last:
		reply(403, "application/problem+json", `{"code":"policy_denied","condition":"max_renewals","event_id":%q,"detail":"That was the last one."}`, testEvent)
	case strings.HasSuffix(r.URL.Path, "/credentials"):
		if gate != nil {
			select {
			case <-gate:
			case <-r.Context().Done():
				return
			}
		}
		until := ""
		if !ends.IsZero() {
			until = `"granted_until":"` + ends.Format(time.RFC3339Nano) + `",`
		}
		reply(200, "application/json", `{"access_key_id":"ASIA%d","secret_access_key":"s","session_token":"t","expiration":%q,"profile":"prod",
			"region":"us-east-1","granted_by":%q,"rule":"oncall",%s%s"issuer":"aws"}`, f.issued.Add(1), expiration.Format(time.RFC3339Nano),
			link, until, map[breakglass.Link]string{breakglass.LinkBreakglass: `"event_id":"` + testEvent + `",`,
				breakglass.LinkRequest: `"request_id":"` + testRequest + `",`}[link])
	default:
		reply(200, "application/json", `{"event_id":%q,"invoker":"alice","profile":"prod","status":"active","expires_at":%q,"remaining_seconds":1}`,
			testEvent, ends.Format(time.RFC3339Nano))
	}
}

func TestWarmCredentialsTouchNoNetwork(t *testing.T) {
	f, s := newFakeAPI(t)
	first, err := s.get(t.Context())
	require.NoError(t, err)
	calls := f.calls.Load()
	f.pass(44 * time.Minute)
	again, err := s.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, first, again)
	assert.Equal(t, calls, f.calls.Load())
}

func TestCredentialsForAProfileAreOneCall(t *testing.T) {
	f, s := newFakeAPI(t)
	_, err := s.get(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, f.calls.Load())
	f, s = newFakeAPI(t)
	s.ref = testEvent
	e, err := s.get(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, f.calls.Load())
	assert.Equal(t, f.ends, e.GrantEnds)
}

func TestStandingAccessWithoutAnEndIsRenewedForever(t *testing.T) {
	f, s := newFakeAPI(t)
	f.set(func() { f.link, f.ends = breakglass.LinkPolicy, time.Time{} })
	for range 24 * 60 {
		e, err := s.get(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, e.Expiration.Sub(f.clock()), 15*time.Minute)
		f.pass(time.Minute)
	}
	assert.LessOrEqual(t, f.issued.Load(), int32(34))
}

// What the rule allows no renewal of is still good until its own end, and the
// server isn't asked about it at every call.
func TestTheLastCredentialsOfAGrantAreUsedToTheirEnd(t *testing.T) {
	for _, ref := range []string{"prod", testEvent} {
		f, s := newFakeAPI(t)
		s.ref = ref
		first, err := s.get(t.Context())
		require.NoError(t, err)
		f.pass(50 * time.Minute)
		f.set(func() { f.last = true })
		for range 5 {
			e, err := s.get(t.Context())
			require.NoError(t, err, ref)
			assert.Equal(t, first.AccessKeyID, e.AccessKeyID)
			assert.Equal(t, first.Expiration, e.AccessEnds())
		}
		assert.EqualValues(t, 2, f.calls.Load(), ref)
		f.pass(10 * time.Minute)
		_, err = s.get(t.Context())
		assert.Error(t, err, ref)
	}
}

func TestWhatBeganUnderBreakGlassGoesOnUnderAnApprovedRequest(t *testing.T) {
	f, s := newFakeAPI(t)
	ep := testEndpoint(t, s)
	f.set(func() { f.now = f.ends; f.link, f.ends = breakglass.LinkRequest, f.now.Add(2*time.Hour) })
	status, body := ask(t, ep, nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, "ASIA2", body["AccessKeyId"])
	assert.Equal(t, testRequest, ep.latest().RequestID)
}

func TestCredentialsAreRenewedBeforeAnSDKWouldAsk(t *testing.T) {
	f, s := newFakeAPI(t)
	_, err := s.get(t.Context())
	require.NoError(t, err)
	for range 4 * 60 { // minute by minute through the whole event
		e, err := s.get(t.Context())
		if !f.clock().Before(f.ends) {
			break
		}
		require.NoError(t, err)
		left := e.Expiration.Sub(f.clock())
		assert.True(t, left >= 15*time.Minute || e.Expiration.Equal(f.ends), "%s left at %s", left, f.clock())
		f.pass(time.Minute)
	}
	assert.LessOrEqual(t, f.issued.Load(), int32(7), "credentials of an hour for four hours")
}

func TestNothingIsHandedOutFromTheEndOfTheEventOn(t *testing.T) {
	f, s := newFakeAPI(t)
	f.set(func() { f.ends = f.now.Add(10 * time.Minute); f.lifetime = 12 * time.Hour })
	_, err := s.get(t.Context())
	require.NoError(t, err)
	f.pass(10*time.Minute - time.Millisecond)
	_, err = s.get(t.Context())
	require.NoError(t, err)
	f.pass(time.Millisecond)
	_, err = s.get(t.Context())
	var refused *breakglass.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, breakglass.CodeAccessDenied, refused.Code)
	f.set(func() { f.broken = 503 })
	_, err = s.get(t.Context())
	assert.Error(t, err, "not even while the server can't answer")
}

func TestGoodCredentialsOutlastAServerThatIsAway(t *testing.T) {
	f, s := newFakeAPI(t)
	first, err := s.get(t.Context())
	require.NoError(t, err)
	f.pass(50 * time.Minute)
	f.set(func() { f.broken = 500 })
	var warned []string
	s.warn = func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }
	e, err := s.get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, first, e)
	assert.Len(t, warned, 1)
	f.pass(10 * time.Minute)
	_, err = s.get(t.Context())
	assert.Error(t, err)
}

func TestAClosedEventTakesItsCredentialsAlongAtRenewal(t *testing.T) {
	f, s := newFakeAPI(t)
	_, err := s.get(t.Context())
	require.NoError(t, err)
	f.pass(50 * time.Minute)
	f.set(func() { f.closed = true })
	_, err = s.get(t.Context())
	var refused *breakglass.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, breakglass.CodeAccessDenied, refused.Code)
	_, ok := s.cache.Get("prod", f.clock())
	assert.False(t, ok)
}

func TestOneOfManyProcessesFetches(t *testing.T) {
	f, s := newFakeAPI(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			own := *s // as another process has its own
			e, err := own.get(context.Background())
			assert.NoError(t, err)
			assert.Equal(t, "ASIA1", e.AccessKeyID)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, f.issued.Load())
}

// ask plays an SDK that asks the endpoint.
func ask(t *testing.T, ep *endpoint, change func(r *http.Request)) (status int, body map[string]string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ep.url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", ep.token)
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &body), "%s", data)
	return resp.StatusCode, body
}

func testEndpoint(t *testing.T, s *source) *endpoint {
	t.Helper()
	first, err := s.get(t.Context())
	require.NoError(t, err)
	ep, err := startEndpoint(s, first)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ep.Close() })
	return ep
}

func TestTheEndpointAnswersAsAContainerPlatformDoes(t *testing.T) {
	f, s := newFakeAPI(t)
	ep := testEndpoint(t, s)
	status, body := ask(t, ep, nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, map[string]string{"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t", "RoleArn": "",
		"Expiration": f.clock().Add(time.Hour).Format(time.RFC3339)}, body)
}

func TestTheEndpointAnswersNobodyElse(t *testing.T) {
	_, s := newFakeAPI(t)
	ep := testEndpoint(t, s)
	for name, change := range map[string]func(r *http.Request){
		"no token":                            func(r *http.Request) { r.Header.Del("Authorization") },
		"wrong token":                         func(r *http.Request) { r.Header.Set("Authorization", ep.token[:42]+"!") },
		"part of the token":                   func(r *http.Request) { r.Header.Set("Authorization", ep.token[:42]) },
		"bearer":                              func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+ep.token) },
		"a name that was rebound to loopback": func(r *http.Request) { r.Host = "evil.example:80" },
		"localhost":                           func(r *http.Request) { r.Host = strings.Replace(ep.host, "127.0.0.1", "localhost", 1) },
		"no port":                             func(r *http.Request) { r.Host = "127.0.0.1" },
		"other path":                          func(r *http.Request) { r.URL.Path = "/" },
		"post":                                func(r *http.Request) { r.Method = http.MethodPost },
	} {
		status, body := ask(t, ep, change)
		assert.GreaterOrEqual(t, status, 401, name)
		assert.Less(t, status, 500, name)
		assert.NotContains(t, fmt.Sprint(body), "ASIA", name)
	}
}

func TestTheEndpointRenewsWithinTheEventAndStopsWithIt(t *testing.T) {
	f, s := newFakeAPI(t)
	ep := testEndpoint(t, s)
	f.pass(50 * time.Minute)
	_, body := ask(t, ep, nil)
	assert.Equal(t, "ASIA2", body["AccessKeyId"])
	f.set(func() { f.now = f.ends })
	status, body := ask(t, ep, nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body["message"], "Nothing gives you access to prod")
}

func TestTheEndpointDoesNotMakeAnSDKWaitForARenewal(t *testing.T) {
	f, s := newFakeAPI(t)
	ep := testEndpoint(t, s)
	f.pass(50 * time.Minute)
	gate := make(chan struct{})
	f.set(func() { f.gate = gate })
	began := time.Now()
	status, body := ask(t, ep, nil)
	assert.Equal(t, 200, status)
	assert.Equal(t, "ASIA1", body["AccessKeyId"], "they are good for ten more minutes")
	assert.Less(t, time.Since(began), 2*time.Second, "botocore gives up after 2 s")
	close(gate)
	assert.Eventually(t, func() bool { _, body := ask(t, ep, nil); return body["AccessKeyId"] == "ASIA2" }, 10*time.Second, 10*time.Millisecond)
}

func TestClosingTheEventElsewhereEndsTheEndpoint(t *testing.T) {
	f, s := newFakeAPI(t)
	ep := testEndpoint(t, s)
	f.set(func() { f.closed = true })
	require.NoError(t, s.cache.Drop(testEvent, "prod")) // as `bgctl close` does in another terminal
	status, body := ask(t, ep, nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.NotContains(t, fmt.Sprint(body), "ASIA")
}

func TestTheEndpointWorksWithoutACache(t *testing.T) {
	f, s := newFakeAPI(t)
	s.cache = credcache.Cache{}
	ep := testEndpoint(t, s)
	for range 5 {
		status, _ := ask(t, ep, nil)
		assert.Equal(t, 200, status)
	}
	assert.EqualValues(t, 1, f.issued.Load(), "kept in memory all the same")
}
