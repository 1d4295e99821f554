package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests are for Linux, where every address in 127.0.0.0/8 is loopback.

// idleConnections are opened against the server; each costs this process a
// descriptor, and the server one.
const idleConnections = 10_000

// hold opens connections from an address of loopback, sends text on each and
// then nothing, and returns how many could be opened.
func (p *process) hold(t *testing.T, from net.IP, n int, text string) (opened int) {
	t.Helper()
	addr := p.addrOf()
	var mu sync.Mutex
	var conns []net.Conn
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	var done sync.WaitGroup
	for range 32 {
		done.Go(func() {
			for range n / 32 {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: patience}
				c, err := d.Dial("tcp", addr)
				if err != nil {
					continue // refused: the server's good right
				}
				_, _ = c.Write([]byte(text)) // it may be closed already
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			}
		})
	}
	done.Wait()
	return len(conns)
}

func (p *process) addrOf() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.http.base, "http://"), "https://")
}

// helps checks that people get what they need, each in reasonable time.
func (p *process) helps(t *testing.T, rounds int) {
	t.Helper()
	for i := range rounds {
		fresh := newCaller(p.http.base) // a connection of its own
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		a, err := fresh.invoke(ctx, user(i), "prod", 600)
		cancel()
		require.NoError(t, err)
		require.Equal(t, 201, a.status, "%s", a.body)
		fresh.client.CloseIdleConnections()
	}
}

func TestTenThousandIdleConnectionsLeaveRoomForThoseInNeed(t *testing.T) {
	const needed = idleConnections + 500
	var limit syscall.Rlimit // Go has raised the soft one to the hard one
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < needed {
		t.Skipf("%d descriptors are allowed here (ulimit -n), %d needed", limit.Cur, needed)
	}
	const request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" // then they may stay for 15 s
	t.Run("from one address", func(t *testing.T) {
		p := site{dir: t.TempDir()}.start(t)
		p.hold(t, net.IPv4(127, 0, 0, 2), idleConnections, request)
		p.helps(t, 10)
		assert.Greater(t, p.http.metric(t, `breakglass_connections_refused_total{limit="address"}`), float64(idleConnections/2))
		assert.Zero(t, p.http.metric(t, `breakglass_connections_refused_total{limit="total"}`), "one address has used up everything")
	})
	t.Run("from many addresses, all of them held", func(t *testing.T) {
		p := site{dir: t.TempDir(), more: fmt.Sprintf("limits: {connections: %d, connections_per_address: 1000}\n", idleConnections+200)}.start(t)
		opened := 0
		for i := range 20 {
			opened += p.hold(t, net.IPv4(127, 0, 0, byte(10+i)), idleConnections/20, request)
		}
		p.helps(t, 10)
		assert.Greater(t, opened, idleConnections*9/10)
		assert.Greater(t, p.http.metric(t, "process_open_fds"), float64(idleConnections)*0.9, "they are all open")
		assert.Zero(t, p.http.metric(t, `breakglass_connections_refused_total{limit="total"}`))
	})
	t.Run("that never send a byte, more than the server takes", func(t *testing.T) {
		p := site{dir: t.TempDir(), more: "limits: {connections: 200, connections_per_address: 50}\n"}.start(t)
		for i := range 8 {
			p.hold(t, net.IPv4(127, 0, 0, byte(10+i)), 64, "")
		}
		// The server is full; those who send nothing are gone within 5 seconds.
		p.poll(t, "free again", func() bool {
			a, err := newCaller(p.http.base).do(t.Context(), user(0), http.MethodGet, "/v1/whoami", "")
			return err == nil && a.status == 200
		})
		p.helps(t, 5)
	})
}

func TestHandshakesThatAreNeverFinishedHoldNobodyUp(t *testing.T) {
	ca := newAuthority(t, "e2e")
	s := site{dir: t.TempDir(), more: withTLS}
	p := s.overTLS(t, ca, ca.issue(t, 12*time.Hour))
	p.hold(t, net.IPv4(127, 0, 0, 2), 800, "")
	p.hold(t, net.IPv4(127, 0, 0, 3), 800, "\x16\x03\x01\x02\x00\x01")
	begin := time.Now()
	for range 10 {
		require.NoError(t, p.accepts(t, &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}))
	}
	assert.Less(t, time.Since(begin), 5*time.Second)
	p.poll(t, "rid of them", func() bool { return p.http.metric(t, "process_open_fds") < 100 })
	assert.Less(t, strings.Count(p.logs.String(), "TLS handshake failed"), 200, "strangers can't fill the log")
}
