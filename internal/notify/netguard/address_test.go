package netguard

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyPublicAddressesNeedNoPermission(t *testing.T) {
	for _, tc := range []struct {
		addr    string
		refused bool
	}{
		{"8.8.8.8", false}, {"1.1.1.1", false}, {"172.32.0.1", false}, {"100.128.0.1", false}, {"11.0.0.1", false},
		{"2606:4700::1111", false}, {"2a00:1450:4001::1", false},
		{"64:ff9b::808:808", false}, // NAT64 of 8.8.8.8: how IPv6-only subnets reach IPv4
		{"::ffff:8.8.8.8", false},

		{"0.0.0.0", true}, {"0.1.2.3", true}, {"127.0.0.1", true}, {"127.255.255.254", true},
		{"10.0.0.1", true}, {"10.255.255.255", true}, {"172.16.0.1", true}, {"172.31.255.255", true}, {"192.168.1.1", true},
		{"100.64.0.1", true}, {"100.127.255.255", true}, {"100.100.100.200", true},
		{"169.254.169.254", true}, {"169.254.170.2", true}, {"168.63.129.16", true}, {"192.0.0.192", true},
		{"192.0.2.1", true}, {"198.18.0.1", true}, {"198.19.255.255", true}, {"198.51.100.1", true}, {"203.0.113.1", true},
		{"192.88.99.1", true}, {"224.0.0.1", true}, {"239.255.255.255", true}, {"240.0.0.1", true}, {"255.255.255.255", true},

		{"::", true}, {"::1", true}, {"::127.0.0.1", true}, {"::ffff:127.0.0.1", true}, {"::ffff:10.0.0.1", true},
		{"::ffff:169.254.169.254", true}, {"::ffff:0:127.0.0.1", true},
		{"64:ff9b::7f00:1", true}, {"64:ff9b::a9fe:a9fe", true}, {"64:ff9b::a00:1", true}, {"64:ff9b:1::808:808", true},
		{"2002:7f00:1::", true}, {"2002:a9fe:a9fe::", true}, {"2002:808:808::", true}, // 6to4
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", true},                            // Teredo
		{"2606:4700::5efe:7f00:1", true}, {"2606:4700::200:5efe:a9fe:a9fe", true}, // ISATAP
		{"fc00::1", true}, {"fd00:ec2::254", true}, {"fd00:ec2::23", true}, {"fdff::1", true},
		{"fe80::1", true}, {"fe80::1%lo", true}, {"fec0::1", true}, {"ff02::1", true},
		{"100::1", true}, {"2001:db8::1", true}, {"3fff::1", true}, {"5f00::1", true}, {"4000::1", true},
	} {
		got := refusal(canonical(netip.MustParseAddr(tc.addr)))
		require.Equal(t, tc.refused, got != "", "%s: %q", tc.addr, got)
	}
	require.NotEmpty(t, refusal(netip.Addr{}))
}

func TestAllowEntriesOpenExactlyWhatTheyName(t *testing.T) {
	for _, tc := range []struct {
		entry, host, addr string
		port              uint16
		permitted         bool
	}{
		{"10.1.2.3", "x", "10.1.2.3", 1, true},
		{"10.1.2.3", "x", "10.1.2.4", 1, false},
		{"10.1.2.3:8080", "x", "10.1.2.3", 8080, true},
		{"10.1.2.3:8080", "x", "10.1.2.3", 8081, false},
		{"::ffff:10.1.2.3", "x", "10.1.2.3", 1, true},
		{"10.1.0.0/16", "x", "10.1.255.255", 1, true},
		{"10.1.0.0/16", "x", "10.2.0.0", 1, false},
		{"::1", "x", "::1", 1, true},
		{"[::1]", "x", "::1", 1, true},
		{"[::1]:8443", "x", "::1", 8443, true},
		{"[::1]:8443", "x", "::1", 443, false},
		{"fd12::/16", "x", "fd12::9", 1, true},
		{"SIEM.internal", "siem.internal.", "10.0.0.1", 1, true},
		{"siem.internal", "xsiem.internal", "10.0.0.1", 1, false},
		{"siem.internal", "siem.internal.example.com", "10.0.0.1", 1, false},
		{"siem.internal:8443", "siem.internal", "10.0.0.1", 8443, true},
		{"siem.internal:8443", "siem.internal", "10.0.0.1", 443, false},
		// Metadata is opened by its own address alone.
		{"siem.internal", "siem.internal", "169.254.169.254", 80, false},
		{"siem.internal", "siem.internal", "fd00:ec2::254", 80, false},
		{"0.0.0.0/0", "x", "169.254.169.254", 80, false},
		{"169.254.0.0/16", "x", "169.254.169.254", 80, false},
		{"fd00::/8", "x", "fd00:ec2::254", 80, false},
		{"fd00::/8", "x", "fd00:ec3::254", 80, true},
		{"169.254.169.254", "x", "169.254.169.254", 80, true},
		{"169.254.169.254:80", "x", "169.254.169.254", 81, false},
	} {
		r, err := parseRule(tc.entry)
		require.NoError(t, err, tc.entry)
		require.Equal(t, tc.permitted, r.permits(tc.host, netip.MustParseAddr(tc.addr), tc.port), "%+v", tc)
	}
}

func TestMalformedAllowEntriesAreRefused(t *testing.T) {
	for _, s := range []string{
		"", " ", ":", ":80", "*", "*.example.com", "10.1.2.3:0", "10.1.2.3:65536", "10.1.2.3:http", "10.1.2.3/8", "10.1.2.3/33",
		"10.1.0.0/16:80", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0x7f000001", "[::1", "fe80::1%lo", "http://x", "x/y", "a b",
		"ex\x00ample", "büro.example", "host:", "host:-1", "-x", "::ffff:10.0.0.0/104",
	} {
		require.Error(t, CheckEntry(s), "%q", s)
	}
}

func FuzzAllowEntry(f *testing.F) {
	for _, s := range []string{"10.1.2.3:80", "[::1]:8443", "10.0.0.0/8", "siem.internal:1", "64:ff9b::1", "x:"} {
		f.Add(s, "10.0.0.1")
	}
	f.Fuzz(func(t *testing.T, entry, addr string) {
		a, err := netip.ParseAddr(addr)
		if err != nil {
			return
		}
		a = canonical(a)
		_ = refusal(a)
		r, err := parseRule(entry)
		if err == nil && r.permits("other.example", a, 80) && needsLiteral(a) && !r.prefix.IsSingleIP() {
			t.Fatalf("%q opens %s", entry, a)
		}
	})
}
