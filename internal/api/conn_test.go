package api_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/authn"
)

const halfABody = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"

func TestAnAnswerBeforeTheBodyClosesTheConnectionSoon(t *testing.T) {
	s := startWithTimeouts(t, time.Minute)
	for name, text := range map[string]struct {
		text   string
		status int
	}{
		"without a token":    {"POST /v1/breakglass HTTP/1.1\r\nHost: x\r\n" + halfABody, 401},
		"of another type":    {"POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n{", 415},
		"where none is read": {"GET /healthz HTTP/1.1\r\nHost: x\r\n" + halfABody, 200},
		"chunked":            {"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 200},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			resp := raw(t, s, text.text)
			require.NotNil(t, resp)
			assert.Equal(t, text.status, resp.StatusCode)
			assert.True(t, resp.Close)
			_, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Less(t, time.Since(begin), 3*time.Second)
		})
	}
}

func TestAStopDoesNotWaitForBodiesThatDoNotArrive(t *testing.T) {
	for name, text := range map[string]string{
		"read":     "POST /v1/breakglass HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenOf(alice) + "\r\n" + halfABody,
		"not read": "POST /v1/breakglass HTTP/1.1\r\nHost: x\r\n" + halfABody,
	} {
		t.Run(name, func(t *testing.T) {
			s := startWithTimeouts(t, time.Minute) // whatever that is, a stop doesn't wait for it
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = fmt.Fprint(conn, text)
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				return s.metric(t, "breakglass_http_requests_in_flight") == 2 ||
					s.metric(t, `breakglass_http_requests_total{code="401",method="POST",route="/v1/breakglass"}`) == 1
			}, 10*time.Second, time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			begin := time.Now()
			require.NoError(t, s.http.Shutdown(ctx))
			assert.Less(t, time.Since(begin), 5*time.Second)
		})
	}
}

// peers is a listener whose connections come from the addresses that the test
// says: one machine has only its own.
type peers struct {
	net.Listener
	mu   sync.Mutex
	next []string
}

type peer struct {
	net.Conn
	addr *net.TCPAddr
}

func (p peer) RemoteAddr() net.Addr { return p.addr }

func (p *peers) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.next[0]
	p.next = p.next[1:]
	return peer{conn, &net.TCPAddr{IP: net.ParseIP(from), Port: 1}}, nil
}

func TestConnectionsAreLimitedInTotalAndByAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	from := &peers{Listener: l}
	refused := map[string]int{}
	limited := api.LimitConnections(from, 5, 2, nil, func(reason string) { refused[reason]++ })
	connect := func(addrs ...string) net.Conn {
		from.mu.Lock()
		from.next = append(from.next, addrs...)
		from.mu.Unlock()
		for range addrs {
			conn, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
		}
		conn, err := limited.Accept() // the last of them
		require.NoError(t, err)
		return conn
	}
	first := connect("192.0.2.1")
	connect("192.0.2.1")
	connect("192.0.2.1", "192.0.2.2")
	assert.Equal(t, map[string]int{api.RefusedAddress: 1}, refused)
	connect("2001:db8::1")
	connect("2001:db8::2")
	require.NoError(t, first.Close())
	_ = first.Close() // net/http closes twice now and then
	last := connect("2001:db8::3", "192.0.2.1")
	assert.Equal(t, map[string]int{api.RefusedAddress: 2}, refused, "a closed connection makes room, once")
	require.NoError(t, last.Close())
	connect("192.0.2.3")
	from.mu.Lock()
	from.next = append(from.next, "192.0.2.4")
	from.mu.Unlock()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	go func() { _, _ = limited.Accept() }() // ends with the listener
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF, "beyond the total it is closed at once")
}

func TestConnectionsOfATrustedProxyAreLimitedInTotalAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	proxies, _, err := authn.ParseProxies([]string{"2001:db8::9"})
	require.NoError(t, err)
	from := &peers{Listener: l, next: []string{"2001:db8::9", "2001:db8::9", "2001:db8::9", "2001:db8::8", "192.0.2.1"}}
	refused := map[string]int{}
	limited := api.LimitConnections(from, 4, 1, proxies, func(reason string) { refused[reason]++ })
	for range from.next {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
	}
	for range 4 {
		conn, err := limited.Accept()
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
	}
	assert.Equal(t, map[string]int{api.RefusedAddress: 1}, refused, "its neighbour is no proxy")
}
