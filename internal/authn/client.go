package authn

import (
	"context"
	"net/http"
	"net/netip"
)

// ClientAddr is the address that a request comes from. It is the one answer to
// that question for limits, log and audit trail alike: the peer of the
// connection, or whom Proxies.Resolve believes it to be. It is not valid when
// it can't be told, and then lies in no network.
func ClientAddr(r *http.Request) netip.Addr {
	if resolved, ok := r.Context().Value(clientKey{}).(netip.Addr); ok {
		return resolved
	}
	return peer(r)
}

// clientKey finds the resolved address in a request's context.
type clientKey struct{}

// peer is the other end of the connection.
func peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return plain(at.Addr())
}

// plain is the one form in which addresses are compared and shown.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func withClient(r *http.Request, a netip.Addr) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), clientKey{}, a))
}
