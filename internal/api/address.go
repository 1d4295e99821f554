package api

import "net/netip"

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
