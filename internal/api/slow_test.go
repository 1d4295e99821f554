package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// trickle sends text at once and then one byte after the other for as long as
// the server listens, and returns how long that was.
func (s *server) trickle(t *testing.T, text, drop string) time.Duration {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	begin := time.Now()
	require.NoError(t, conn.SetDeadline(begin.Add(20*time.Second)))
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, conn) // until the server closes
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return time.Since(begin)
		case <-tick.C:
			_, _ = io.WriteString(conn, drop) // it may be closed by now
		}
	}
}

// A deadline that every byte moves would be none.
func TestSlowHeadersAndBodiesHoldAConnectionForTheirTimeAndNotLonger(t *testing.T) {
	s := startWithTimeouts(t, 500*time.Millisecond)
	auth := "POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\nContent-Type: application/json\r\n"
	for name, tc := range map[string]struct{ text, drop string }{
		"a request line":       {"GET /", "x"},
		"a header":             {"GET / HTTP/1.1\r\nX: ", "x"},
		"many headers":         {"GET / HTTP/1.1\r\n", "X: y\r\n"},
		"a body":               {auth + "Content-Length: 60000\r\n\r\n", "x"},
		"a body in chunks":     {auth + "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		"a chunk's size":       {auth + "Transfer-Encoding: chunked\r\n\r\n", "0"},
		"a body without login": {"POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Less(t, s.trickle(t, tc.text, tc.drop), 5*time.Second)
		})
	}
}

func TestOversizedHeadersAreRefusedWithoutBeingKept(t *testing.T) {
	s := start(t, options{})
	for name, text := range map[string]string{
		"a long line":          "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20),
		"a long path":          "GET /" + strings.Repeat("a", 1<<20),
		"a long name":          "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a", 1<<20),
		"a thousand headers":   "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: yyyyyyyyyyyyyyyyyyy\r\n", 50_000),
		"a length of a length": "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: " + strings.Repeat("0", 1000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, status := range s.exchange(t, text) { // or the connection just ends
				assert.Contains(t, []int{400, 431}, status)
			}
		})
	}
	assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/healthz"}).status)
}

// A caller who sends requests without waiting for answers gets no more than
// others do, and takes nothing from them.
func TestAFloodOfPipelinedRequestsIsBoundedByTheCallersBudget(t *testing.T) {
	s := start(t, options{requests: 1, emergencies: 1})
	get := "GET /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\n\r\n"
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	go func() {
		for {
			if _, err := fmt.Fprint(conn, strings.Repeat(get, 100)); err != nil {
				return
			}
		}
	}()
	require.Eventually(t, func() bool {
		return s.metric(t, `breakglass_http_requests_total{code="429",method="GET",route="/v1/breakglass"}`) > 1000
	}, 20*time.Second, 10*time.Millisecond)
	assert.LessOrEqual(t, s.metric(t, `breakglass_http_requests_total{code="200",method="GET",route="/v1/breakglass"}`), 40.0)
	begin := time.Now()
	assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/v1/breakglass", as: bob}).status)
	ev := s.invoke(t, alice, "prod")
	assert.Equal(t, breakglass.StatusActive, ev.Status)
	assert.Less(t, time.Since(begin), 5*time.Second)
}
