package netguard

import "net/netip"

// forbidden are the ranges that a dial reaches only when an allow entry names
// them: every special-purpose range of RFC 6890 and the IANA registries.
// The reason is what the operator reads in the error.
var forbidden = []struct {
	prefix netip.Prefix
	reason string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified or this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space (CGNAT)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignment"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved or broadcast"},
	// Azure's platform endpoint is a public address that every virtual
	// machine reaches as a link-local one.
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud platform endpoint"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("2001::/23"), "IETF protocol assignment (Teredo, ORCHID, benchmarking)"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("fc00::/7"), "unique local"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

var (
	globalUnicast6 = netip.MustParsePrefix("2000::/3")
	nat64          = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	// literalOnly holds the metadata and credential endpoints of AWS (EC2:
	// 169.254.169.254 and fd00:ec2::254, ECS: 169.254.170.2, EKS:
	// 169.254.170.23 and fd00:ec2::23). Only an allow entry that is such an
	// address itself opens it, never a name or a range around it.
	literalOnly = []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("fe80::/10"),
		netip.MustParsePrefix("fd00:ec2::/32"),
	}
)

// canonical is the address that a packet ends up at: without zone, unmapped
// from ::ffff:0:0/96, and the IPv4 address inside a NAT64 one (RFC 6052), so
// that no notation hides where it leads.
func canonical(a netip.Addr) netip.Addr {
	a = a.WithZone("").Unmap()
	if a.Is6() && nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// refusal says why an address needs to be allowed, or "" when it is public.
// It expects a canonical address.
func refusal(a netip.Addr) string {
	if !a.IsValid() {
		return "not an address"
	}
	for _, f := range forbidden {
		if f.prefix.Contains(a) {
			return f.reason
		}
	}
	// An allow-list for IPv6: what isn't global unicast is special today or
	// may be tomorrow (IPv4-compatible, local NAT64, discard, site-local, SRv6).
	if a.Is6() && !globalUnicast6.Contains(a) {
		return "not global unicast"
	}
	return embedded(a)
}

// embedded looks for ISATAP interface identifiers (RFC 5214), which a relay
// turns into the IPv4 address that they end with.
func embedded(a netip.Addr) string {
	if !a.Is6() {
		return ""
	}
	b := a.As16()
	if (b[8] == 0x00 || b[8] == 0x02) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return refusal(netip.AddrFrom4([4]byte(b[12:])))
	}
	return ""
}

func needsLiteral(a netip.Addr) bool {
	for _, p := range literalOnly {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
