package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/breakglass"
)

// on makes a request on a connection of its own to the test's handler.
func (s *server) on(t *testing.T, target, authorization string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+target, nil)
	require.NoError(t, err)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }() // only read
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{t: t, status: resp.StatusCode, header: resp.Header, body: body}
}

func TestStrangersCannotFillTheLog(t *testing.T) {
	s := start(t, options{})
	begin := time.Now()
	const each = 300
	for range each {
		s.on(t, "/v1/whoami", "")
		s.on(t, "/nowhere", "Bearer "+tokenOf(alice))
	}
	allowed := 10 * int(time.Since(begin).Seconds()+2)
	lines := strings.Count(s.log.String(), `"msg":"request"`)
	assert.LessOrEqual(t, lines, allowed)
	assert.Greater(t, lines, 5, "some are there to see what goes on")
	assert.EqualValues(t, each, s.metric(t, `breakglass_http_requests_total{code="401",method="GET",route="/v1/whoami"}`), "metrics count all")
	assert.EqualValues(t, each, s.metric(t, `breakglass_http_requests_total{code="404",method="GET",route="unmatched"}`))
	a := s.on(t, "/v1/whoami", "Bearer "+tokenOf(alice))
	assert.Contains(t, s.log.String(), a.header.Get("X-Request-Id"), "people who are known are always logged")
}

func TestSuppressedLinesAreToldOnceAMinuteByStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		limit := api.NewLineLimit(logTo(log), "requests")
		allowed := 0
		for i := range 1000 {
			if limit.Allow([]string{"401", "404"}[i%2]) {
				allowed++
			}
		}
		assert.Equal(t, 10, allowed)
		assert.Empty(t, log.String())
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), "\n"))
		assert.Contains(t, log.String(), `"msg":"more requests suppressed","suppressed":990,"by":{"401":495,"404":495}`)
		assert.True(t, limit.Allow("401"))
		time.Sleep(2 * time.Minute)
		assert.Equal(t, 1, strings.Count(log.String(), "\n"), "nothing more to tell")
	})
}

func TestWhatNetHTTPLogsIsBoundedToo(t *testing.T) {
	log := &logBuffer{}
	srv := api.NewServer(http.NotFoundHandler(), logTo(log))
	for range 1000 {
		srv.ErrorLog.Print("http: TLS handshake error")
	}
	assert.LessOrEqual(t, strings.Count(log.String(), "\n"), 20)
	assert.Contains(t, log.String(), `"level":"WARN","msg":"http: TLS handshake error"`)
}

func TestAConnectionOnWhichNobodyAuthenticatesIsClosed(t *testing.T) {
	s := start(t, options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	in := bufio.NewReader(conn)
	ask := func(token string) *http.Response {
		_, err := fmt.Fprintf(conn, "GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token)
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		return resp
	}
	for range 4 {
		assert.False(t, ask("wrong").Close)
	}
	assert.Equal(t, 200, ask(tokenOf(alice)).StatusCode, "a success begins the count anew")
	for range 4 {
		assert.False(t, ask("wrong").Close)
	}
	last := ask("wrong")
	assert.Equal(t, 401, last.StatusCode)
	assert.True(t, last.Close)
	_, err = in.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}

func TestWrongTokensBeyondAHundredAMinuteGet429AndAValidOneGetsIn(t *testing.T) {
	s := start(t, options{})
	statuses := map[int]int{}
	for range 250 {
		statuses[s.on(t, "/v1/whoami", "Bearer wrong").status]++
	}
	assert.GreaterOrEqual(t, statuses[401], 100)
	assert.Greater(t, statuses[429], 50, "%v", statuses)
	a := s.call(t, request{method: "GET", path: "/v1/events", header: http.Header{"Authorization": {"Bearer wrong"}}})
	assert.Equal(t, 429, a.status)
	assert.Equal(t, breakglass.CodeRateLimited, a.problem().Code)
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	s.everyCall(t, "mallory", func(route string, a answer) {
		if !strings.Contains(route, "/v1/") || strings.Contains(route, "/v1/login") {
			return // open to everybody
		}
		assert.Equal(t, 429, a.status, route)
		assert.Equal(t, breakglass.CodeRateLimited, a.problem().Code, route)
	})
	assert.Equal(t, 200, s.on(t, "/v1/whoami", "Bearer "+tokenOf(alice)).status, "the right person was locked out")
	assert.Equal(t, 401, s.on(t, "/v1/whoami", "").status, "no token is no guess")
}

func TestFailedLoginsAreCountedByAddressInBoundedMemory(t *testing.T) {
	l := api.NewLogins()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	failed := func(addr string, at time.Time) time.Duration { return l.Failed(addr, at) }
	for range 100 {
		assert.Zero(t, failed("192.0.2.1", now))
	}
	assert.Equal(t, 600*time.Millisecond, failed("192.0.2.1", now))
	assert.Equal(t, 600*time.Millisecond, failed("::ffff:192.0.2.1", now), "the same address in another form")
	assert.Zero(t, failed("192.0.2.2", now), "another address")
	assert.Zero(t, failed("192.0.2.1", now.Add(time.Second)), "the wait is short")
	for i := range 100 {
		assert.Zero(t, failed(fmt.Sprintf("2001:db8::%x", i+1), now))
	}
	assert.NotZero(t, failed("2001:db8::ffff:1", now), "a /64 is one peer")
	assert.Zero(t, failed("2001:db8:0:1::1", now))
	for i := range 100_000 {
		failed(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	assert.Equal(t, 4096, l.Len())
}
