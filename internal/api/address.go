package api

import (
	"net/http"
	"net/netip"
)

// clientAddress is the address that a request came from; invalid when it has
// none. It is the one place that says so: whoever learns to believe a proxy in
// front, teaches it here.
func clientAddress(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// neighbours is what limits by address count as one: an IPv4 address, or the
// /64 network that any host on IPv6 has to itself.
func neighbours(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
