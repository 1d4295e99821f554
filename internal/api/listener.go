package api

import (
	"net"
	"net/netip"
	"sync"

	"breakglass/internal/authn"
)

// Why a connection was refused.
const (
	RefusedTotal   = "total"
	RefusedAddress = "address"
)

// LimitConnections returns a listener with at most total connections open, and
// at most perAddress from one IPv4 address or IPv6 /64 network. What comes
// beyond is closed at once: idle connections cost their peer nothing, and here
// a descriptor each, without which the server couldn't even open its database.
// refused is told of each, with the reason; it must not block. Connections from
// proxies count in total alone: they are those of many callers.
func LimitConnections(l net.Listener, total, perAddress int, proxies authn.Proxies, refused func(reason string)) net.Listener {
	return &limitedListener{Listener: l, total: total, perAddress: perAddress, proxies: proxies, refused: refused, open: map[netip.Addr]int{}}
}

type limitedListener struct {
	net.Listener
	total, perAddress int
	proxies           authn.Proxies
	refused           func(reason string)

	mu   sync.Mutex
	all  int
	open map[netip.Addr]int
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var peer netip.Addr
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			peer = tcp.AddrPort().Addr()
		}
		from := neighbours(peer)
		reason := l.take(from, l.proxies.Contains(peer))
		if reason == "" {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.release(from) })}, nil
		}
		_ = conn.Close() // nothing was sent
		l.refused(reason)
	}
}

// take counts a connection, or returns why it is refused.
func (l *limitedListener) take(from netip.Addr, proxy bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.all >= l.total:
		return RefusedTotal
	case l.open[from] >= l.perAddress && !proxy:
		return RefusedAddress
	}
	l.all++
	l.open[from]++
	return ""
}

func (l *limitedListener) release(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

// limitedConn is a connection that is counted until it is closed.
type limitedConn struct {
	net.Conn
	release func()
}

// CloseWrite lets net/http end an answer before it stops reading, so that the
// peer sees the answer and not a reset.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
