package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/breakglass"
	"breakglass/internal/problem"
)

// metric returns the value of one series; 0 when there is none.
func (s *server) metric(t testing.TB, series string) float64 {
	t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			require.NoError(t, err)
			return f
		}
	}
	return 0
}

// startWithTimeouts restarts the server with short deadlines for connections.
func startWithTimeouts(t testing.TB, d time.Duration) *server {
	t.Helper()
	s := start(t, options{})
	srv := api.NewServer(s.handler, logTo(s.log), s.handler.Drain)
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout = min(d, srv.ReadHeaderTimeout), d, d
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = srv.Serve(api.Strict(listener)) }()
	t.Cleanup(func() { _ = srv.Close() })
	s.url, s.http = "http://"+listener.Addr().String(), srv
	return s
}

// everyCall makes each call of the contract once, in a form that would succeed.
func (s *server) everyCall(t testing.TB, as string, each func(route string, a answer)) {
	t.Helper()
	for _, route := range s.handler.Routes() {
		method, path, _ := strings.Cut(route, " ")
		r := request{method: method, path: filled(path), as: as}
		switch {
		case path == "/v1/breakglass" && method == "POST":
			r.body = body()
		case path == "/v1/credentials":
			r.body = `{"profile":"prod"}`
		case path == "/v1/requests" && method == "POST":
			r.body = asking("prod")
		case strings.HasSuffix(path, "/extend"):
			r.body = extending()
		case strings.HasSuffix(path, "/confirm"), strings.HasSuffix(path, "/remove"):
			r.body = `{"totp":"123456"}`
		case strings.HasSuffix(path, "/reset"), strings.HasSuffix(path, "/invite"):
			r.body = `{"name":"carol@example.com"}`
		case strings.HasSuffix(path, "/close"), strings.HasSuffix(path, "/deny"):
			r.body = `{"reason":"x"}`
		}
		each(route, s.call(t, r))
	}
}

// filled is the path of a route with something in it that isn't there.
func filled(route string) string {
	return strings.NewReplacer("{id}", "0123456789abcdef", "{ref}", "nobody.0123456789abcdef").Replace(route)
}

// needsToken says that a route, such as "GET /v1/whoami", is for known callers.
func needsToken(route string) bool {
	return strings.Contains(route, "/v1/") && !strings.Contains(route, "/v1/login")
}

func TestADefectIsA500ThatTellsNothing(t *testing.T) {
	s := start(t, options{})
	s.auth.panics.Store(true)
	s.everyCall(t, alice, func(route string, a answer) {
		if !needsToken(route) {
			assert.Equal(t, 200, a.status, route)
			return
		}
		require.Equal(t, 500, a.status, route)
		assert.Equal(t, problem.CodeInternal, a.problem().Code)
		assert.NotContains(t, string(a.body), "boom-4711")
		assert.Contains(t, s.log.String(), a.header.Get("X-Request-Id"))
	})
	assert.Contains(t, s.log.String(), `"panic":"boom-4711"`)
}

func TestWhatIsOutOfOrderIsA503WithoutItsCause(t *testing.T) {
	s := start(t, options{})
	s.auth.down.Store(true)
	s.everyCall(t, alice, func(route string, a answer) {
		if needsToken(route) {
			assert.Equal(t, 503, a.status, route)
			assert.NotContains(t, string(a.body), "10.1.2.3")
			assert.NotContains(t, string(a.body), "refused")
		}
	})
	assert.Contains(t, s.log.String(), "10.1.2.3:443", "the cause is in the log")

	s = start(t, options{})
	ev := s.invoke(t, alice, "prod")
	require.NoError(t, s.store.Close())
	s.everyCall(t, sam, func(route string, a answer) {
		if strings.HasSuffix(route, "/mfa/reset") || strings.HasSuffix(route, "/mfa/invite") {
			return // for admins
		}
		if strings.Contains(route, "breakglass") || strings.Contains(route, "/mfa") || strings.Contains(route, "/requests") ||
			strings.Contains(route, "/why") || strings.Contains(route, "/v1/credentials") {
			assert.Equal(t, 503, a.status, "%s %s", route, a.body)
			assert.Equal(t, breakglass.CodeUnavailable, a.problem().Code)
			assert.NotContains(t, string(a.body), "closed")
		}
	})
	a := s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice})
	assert.Equal(t, 503, a.status)
}

func TestReadinessIsShownCheckByCheck(t *testing.T) {
	s := start(t, options{})
	assert.JSONEq(t, `{"status":"ready","checks":{"store":{"ok":true,"detail":"takes writes"}}}`, string(s.call(t, request{method: "GET", path: "/readyz"}).body))
	s.ready.Store(&[]api.Check{{Name: "store", OK: true}, {Name: "policy", Detail: "none is readable"}})
	a := s.call(t, request{method: "GET", path: "/readyz"})
	assert.Equal(t, 503, a.status)
	assert.JSONEq(t, `{"status":"not_ready","checks":{"store":{"ok":true,"detail":""},"policy":{"ok":false,"detail":"none is readable"}}}`, string(a.body))
}

func TestMetricsHaveBoundedLabels(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "prod")
	for i := range 5 {
		s.call(t, request{method: "GET", path: "/v1/breakglass/" + ev.ID, as: alice})
		s.call(t, request{method: "GET", path: fmt.Sprintf("/random/%d", i)})
		s.call(t, request{method: fmt.Sprintf("METHOD%d", i), path: "/v1/whoami"})
	}
	assert.Equal(t, 5.0, s.metric(t, `breakglass_http_requests_total{code="200",method="GET",route="/v1/breakglass/{id}"}`))
	assert.Equal(t, 5.0, s.metric(t, `breakglass_http_requests_total{code="404",method="GET",route="unmatched"}`))
	assert.Equal(t, 5.0, s.metric(t, `breakglass_http_requests_total{code="405",method="other",route="unmatched"}`))
	assert.Equal(t, 1.0, s.metric(t, `breakglass_http_request_duration_seconds_count{method="POST",route="/v1/breakglass"}`))
	assert.Equal(t, 1.0, s.metric(t, `breakglass_http_requests_in_flight`), "this look")
}

func TestMetricsMoveToTheAdminListener(t *testing.T) {
	s := start(t, options{adminListener: true})
	resp, err := http.Get(s.url + "/metrics")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, 404, resp.StatusCode)
	admin := &http.Server{Handler: s.handler.Admin(), ReadHeaderTimeout: time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = admin.Serve(listener) }()
	t.Cleanup(func() { _ = admin.Close() })
	s.url = "http://" + listener.Addr().String()
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/version": 200, "/v1/whoami": 404} {
		resp, err := http.Get(s.url + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, want, resp.StatusCode, path)
	}
}

// No token, secret key or session token may reach the log, the audit trail,
// the metrics or an error, and no text of the caller reaches the log at all.
func TestSecretsAndCallersTextStayOutOfTheLog(t *testing.T) {
	s := start(t, options{})
	const canary = "CANARY-4711"
	ev := s.invoke(t, alice, "prod", `justification="a justification with `+canary+` in it"`)
	var creds map[string]string
	s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/credentials", as: alice}).into(200, &creds)
	secrets := []string{creds["secret_access_key"], creds["session_token"], tokenOf(alice), tokenOf(sam), canary}
	for _, r := range []request{
		{method: "GET", path: "/v1/breakglass?invoker=" + canary + "&x=" + canary, as: sam},
		{method: "GET", path: "/" + canary},
		{method: "GET", path: "/v1/breakglass/" + canary, as: alice},
		{method: canary, path: "/v1/whoami"},
		{method: "POST", path: "/v1/breakglass", as: alice, body: `{"` + canary + `":1}`},
		{method: "POST", path: "/v1/breakglass", as: alice, body: canary},
		{method: "GET", path: "/v1/whoami", header: http.Header{"Authorization": {"Bearer " + canary}}},
		{method: "GET", path: "/v1/whoami", header: http.Header{"Authorization": {"Bearer " + canary, "Bearer " + tokenOf(alice)}}},
		{method: "GET", path: "/v1/whoami", as: alice, header: http.Header{"X-Request-Id": {canary + "!"}, "User-Agent": {canary}, "Cookie": {canary}}},
		{method: "POST", path: "/v1/breakglass", as: alice, body: body(), header: http.Header{"Idempotency-Key": {canary}}},
	} {
		s.call(t, r)
	}
	log := s.log.String()
	require.NotEmpty(t, log)
	metrics := string(s.call(t, request{method: "GET", path: "/metrics"}).body)
	trail, err := json.Marshal(s.entries(t))
	require.NoError(t, err)
	for i, secret := range secrets {
		require.NotEmpty(t, secret)
		assert.NotContains(t, log, secret)
		assert.NotContains(t, metrics, secret)
		if i < 4 {
			assert.NotContains(t, string(trail), secret)
		}
	}
}

func TestTheAccessLogSaysWhoDidWhatAndHowItWent(t *testing.T) {
	s := start(t, options{})
	a := s.call(t, request{method: "POST", path: "/v1/breakglass", as: bob, body: body(`profile="nowhere"`)})
	var line map[string]any
	for l := range strings.SplitSeq(s.log.String(), "\n") {
		if strings.Contains(l, a.header.Get("X-Request-Id")) {
			require.NoError(t, json.Unmarshal([]byte(l), &line))
		}
	}
	assert.Equal(t, "request", line["msg"])
	assert.Equal(t, "INFO", line["level"])
	assert.Equal(t, "POST", line["method"])
	assert.Equal(t, "/v1/breakglass", line["route"])
	assert.EqualValues(t, 404, line["status"])
	assert.Equal(t, bob, line["principal"])
	assert.Equal(t, "profile_unknown", line["code"])
	assert.Equal(t, "127.0.0.1", line["client_addr"])
	assert.Equal(t, "127.0.0.1", s.entries(t)[0].Detail["client_addr"])
	assert.Contains(t, line, "seconds")

	refused := s.call(t, request{method: "GET", path: "/v1/whoami", as: "mallory"})
	assert.Equal(t, 401, refused.status)
	assert.Contains(t, s.log.String(), `"request_id":"`+refused.header.Get("X-Request-Id")+`","client_addr":"127.0.0.1","code":"unauthenticated","cause":"invalid credentials"`,
		"only the log says why a login failed")
}

// raw sends bytes and returns the answer, if any.
func raw(t *testing.T, s *server, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, _ = io.WriteString(conn, text) // the server may hang up while we talk
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestRequestsThatAreHardlyHTTP(t *testing.T) {
	s := start(t, options{})
	head := "POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\nContent-Type: application/json\r\n"
	for name, tc := range map[string]struct {
		text   string
		status int
	}{
		"32 KiB of header":           {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 32<<10) + "\r\n\r\n", 431},
		"no HTTP":                    {"hello\r\n\r\n", 400},
		"two lengths":                {head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", 400},
		"negative length":            {head + "Content-Length: -1\r\n\r\n", 400},
		"chunked beyond the limit":   {head + "Transfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat("x", 0x20000) + "\r\n0\r\n\r\n", 413},
		"a length that is a lie":     {head + "Content-Length: 99999999999\r\n\r\n{}", 413},
		"broken chunks":              {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400},
		"chunked and fine":           {head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body()), body()), 201},
		"control character in path":  {"GET /v1/\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"absolute form":              {"GET http://example.com/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"asterisk form":              {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"CONNECT":                    {"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"percent escape that isn't":  {"GET /v1/breakglass/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"query escape that isn't":    {"GET /v1/whoami?%zz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\n\r\n", 422},
		"NUL in the token":           {"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\x00b\r\n\r\n", 400},
		"two Authorization headers":  {"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\nauthorization: Bearer " + tokenOf(bob) + "\r\n\r\n", 401},
		"two methods of being fine":  {"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: bearer " + tokenOf(alice) + "\r\n\r\n", 200},
		"a path with a query marker": {"GET /v1/breakglass%3Flimit=0 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
	} {
		t.Run(name, func(t *testing.T) {
			resp := raw(t, s, tc.text)
			require.NotNil(t, resp, "no answer")
			assert.Equal(t, tc.status, resp.StatusCode)
		})
	}
	assert.Len(t, s.events(t), 1)
}

func TestABodyThatNeverArrivesHoldsNothingForLong(t *testing.T) {
	s := startWithTimeouts(t, 300*time.Millisecond)
	begin := time.Now()
	resp := raw(t, s, "POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+tokenOf(alice)+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if resp != nil {
		assert.Equal(t, 400, resp.StatusCode)
	}
	assert.Less(t, time.Since(begin), 5*time.Second)
	assert.Empty(t, s.events(t))
}

func TestTheServerHasLimitsForUntrustedPeers(t *testing.T) {
	s := start(t, options{})
	assert.NotZero(t, s.http.ReadHeaderTimeout)
	assert.NotZero(t, s.http.ReadTimeout)
	assert.NotZero(t, s.http.WriteTimeout)
	assert.NotZero(t, s.http.IdleTimeout)
	assert.Equal(t, 16<<10, s.http.MaxHeaderBytes)
}

func TestNewRefusesAnIncompleteConfiguration(t *testing.T) {
	_, err := api.New(api.Config{})
	assert.Error(t, err)
}
