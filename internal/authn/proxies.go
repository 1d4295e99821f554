package authn

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how many addresses of X-Forwarded-For are looked at. What a
// chain of one's own proxies adds is far shorter; the rest is the caller's.
const maxHops = 16

// Proxies are the networks of the proxies in front of the server whose word
// about the client's address counts.
type Proxies []netip.Prefix

// ParseProxies reads networks and single addresses. Its error says what is
// wrong with the one at index i.
func ParseProxies(networks []string) (proxies Proxies, i int, err error) {
	for i, text := range networks {
		network, err := netip.ParsePrefix(text)
		if addr, asAddr := netip.ParseAddr(text); asAddr == nil && addr.Zone() == "" {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil:
			return nil, i, fmt.Errorf("%q is no network, such as 10.0.3.0/24 or 2001:db8::/64, and no address", text)
		case network.Addr().Is4In6():
			return nil, i, fmt.Errorf("%q must be written as an IPv4 network", text)
		case network.Bits() == 0:
			return nil, i, fmt.Errorf("%q is every address: then any caller could claim to be any other", text)
		case network != network.Masked():
			return nil, i, fmt.Errorf("%q is an address within a network: write %s", text, network.Masked())
		}
		proxies = append(proxies, network)
	}
	return proxies, 0, nil
}

// Contains reports whether an address is that of a trusted proxy.
func (p Proxies) Contains(a netip.Addr) bool {
	for _, network := range p {
		if network.Contains(plain(a)) {
			return true
		}
	}
	return false
}

// Resolve returns the request with the address of its client told apart from
// those of trusted proxies; ClientAddr then yields it.
func (p Proxies) Resolve(r *http.Request) *http.Request {
	from := peer(r)
	if !p.Contains(from) {
		return r // whatever it claims
	}
	return withClient(r, p.client(from, r.Header["X-Forwarded-For"]))
}

// client follows X-Forwarded-For from its end, where each trusted proxy has
// added the peer that it saw, to the first address that is none of theirs. It
// stops at what is no address: what lies before that is anybody's claim. No
// other header is looked at: a proxy that doesn't know Forwarded or X-Real-IP
// passes on what the caller wrote there.
func (p Proxies) client(from netip.Addr, headers []string) netip.Addr {
	for i, hops := len(headers)-1, 0; i >= 0; i-- {
		for rest, more := headers[i], true; more; hops++ {
			var last string
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, last = rest[:cut], rest[cut+1:]
			} else {
				last, more = rest, false
			}
			addr, ok := hop(last)
			if !ok || hops == maxHops {
				return from
			}
			if from = addr; !p.Contains(addr) {
				return from
			}
		}
	}
	return from
}

// hop reads an address as proxies write it: bare, or with a port.
func hop(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t")
	if at, err := netip.ParseAddrPort(text); err == nil {
		return plain(at.Addr()), true
	}
	if bare, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(bare, "]")
	}
	addr, err := netip.ParseAddr(text)
	return plain(addr), err == nil
}
