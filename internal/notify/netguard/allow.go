package netguard

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// rule is one allow entry: a name, an address or a range, on one port or any.
type rule struct {
	host   string       // a name in lower case; empty for an address or range
	prefix netip.Prefix // of the address or range
	port   uint16       // 0: any
}

// parseRule reads an allow entry: "10.1.2.3", "10.1.2.3:8080", "10.1.0.0/16",
// "[fd12::1]:8080", "fd12::/16", "siem.internal" or "siem.internal:8443".
func parseRule(s string) (rule, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p != p.Masked() {
			return rule{}, fmt.Errorf("has bits beyond its mask; did you mean %s?", p.Masked())
		}
		if p.Addr().Is4In6() {
			return rule{}, errors.New("write the range as IPv4")
		}
		return rule{prefix: p}, nil
	}
	literal := s
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if literal, ok = strings.CutSuffix(inner, "]"); !ok {
			literal = s
		}
	}
	if a, err := netip.ParseAddr(literal); err == nil {
		return addrRule(a, 0)
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		if ap.Port() == 0 {
			return rule{}, errors.New("port must be 1 to 65535")
		}
		return addrRule(ap.Addr(), ap.Port())
	}
	host, portText, hasPort := strings.Cut(s, ":")
	var port uint64
	if hasPort {
		var err error
		if port, err = strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
			return rule{}, errors.New("port must be 1 to 65535")
		}
	}
	if msg := CheckHost(host); msg != "" {
		return rule{}, errors.New(msg)
	}
	return rule{host: normalHost(host), port: uint16(port)}, nil
}

func addrRule(a netip.Addr, port uint16) (rule, error) {
	if a.Zone() != "" {
		return rule{}, errors.New("an address with a zone can't be allowed")
	}
	a = canonical(a)
	return rule{prefix: netip.PrefixFrom(a, a.BitLen()), port: port}, nil
}

// permits reports whether the rule opens address a, port port, reached by
// dialling host. a is canonical.
func (r rule) permits(host string, a netip.Addr, port uint16) bool {
	if r.port != 0 && r.port != port {
		return false
	}
	if needsLiteral(a) {
		return r.host == "" && r.prefix.IsSingleIP() && r.prefix.Addr() == a
	}
	if r.host != "" {
		return r.host == normalHost(host)
	}
	return r.prefix.Contains(a)
}

func normalHost(h string) string { return strings.ToLower(strings.TrimSuffix(h, ".")) }

// CheckHost returns what is wrong with a host name or address literal (without
// brackets) in a URL, or "". A host that ends in a number but isn't a dotted
// quad is an IPv4 address in disguise (decimal, octal, hexadecimal, short):
// resolvers disagree about those, so they are refused.
func CheckHost(h string) string {
	if _, err := netip.ParseAddr(h); err == nil {
		return ""
	}
	h = normalHost(h)
	if h == "" || len(h) > 253 {
		return "host must be a name or an address"
	}
	labels := strings.Split(h, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			l[0] == '-' || l[len(l)-1] == '-' {
			return "host must be a name (letters, digits, hyphens, dots; others in punycode) or an address"
		}
	}
	last := labels[len(labels)-1]
	hex := strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == ""
	if hex || strings.Trim(last, "0123456789") == "" {
		return "host looks like an IP address in an unusual notation; write it as four decimal numbers or as a name"
	}
	return ""
}
