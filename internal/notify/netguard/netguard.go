// Package netguard dials only public addresses, unless the operator allowed
// others by name. It is the protection against server-side request forgery:
// the check runs on the resolved address of each connection right before the
// connect, so that neither a clever notation nor DNS rebinding gets around it.
package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrRefused is wrapped by the errors of dials that weren't allowed.
var ErrRefused = errors.New("address not allowed")

// Guard dials. It is safe for concurrent use.
type Guard struct {
	rules    []rule
	resolver *net.Resolver
	timeout  time.Duration
}

// New returns a Guard that, beside public addresses, dials what the allow
// entries name. Each entry is an address, a range (CIDR) or a host name; the
// address and the name may have a port. Link-local addresses, and with them
// the metadata endpoints of clouds, are opened only by an entry that is the
// address itself. resolver may be nil. timeout bounds each connect.
func New(allow []string, resolver *net.Resolver, timeout time.Duration) (*Guard, error) {
	g := &Guard{resolver: resolver, timeout: timeout}
	for _, s := range allow {
		r, err := parseRule(s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		g.rules = append(g.rules, r)
	}
	return g, nil
}

// CheckEntry returns what is wrong with an allow entry, or nil.
func CheckEntry(s string) error {
	_, err := parseRule(s)
	return err
}

// DialContext connects to addr ("host:port") over TCP, as
// http.Transport.DialContext wants it. A refused address makes it fail with an
// error that wraps ErrRefused.
func (g *Guard) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		Timeout:   g.timeout,
		KeepAlive: 30 * time.Second,
		Resolver:  g.resolver,
		ControlContext: func(_ context.Context, network, resolved string, _ syscall.RawConn) error {
			return g.check(host, network, resolved)
		},
	}
	return d.DialContext(ctx, network, addr)
}

// check judges one connection. resolved is "ip:port", after name resolution.
func (g *Guard) check(host, network, resolved string) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", ErrRefused, network)
	}
	ap, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return fmt.Errorf("%w: unreadable address", ErrRefused)
	}
	a := canonical(ap.Addr())
	reason := refusal(a)
	if reason == "" {
		return nil
	}
	for _, r := range g.rules {
		if r.permits(host, a, ap.Port()) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is %s; name it in allow_private if that is meant", ErrRefused, ap.Addr().WithZone(""), reason)
}

// CheckLiteral returns why host:port would be refused when host is an address
// literal, so that a configuration can be judged without dialling; nil for
// names, which are judged when they are resolved.
func (g *Guard) CheckLiteral(host, port string) error {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // a name
	}
	network := "tcp6"
	if a.Is4() {
		network = "tcp4"
	}
	return g.check(host, network, net.JoinHostPort(host, port))
}
