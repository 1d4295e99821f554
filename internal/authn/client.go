package authn

import (
	"net/http"
	"net/netip"
)

// ClientAddr is the address that a request comes from: the peer of its
// connection. Headers that claim another one are not looked at. The address is
// not valid when it can't be told, and then lies in no network.
func ClientAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}
