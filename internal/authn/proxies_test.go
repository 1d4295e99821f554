package authn_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
)

func trusted(t testing.TB) authn.Proxies {
	t.Helper()
	p, _, err := authn.ParseProxies([]string{"10.0.0.0/24", "192.0.2.7", "2001:db8:1::/64"})
	require.NoError(t, err)
	return p
}

func TestOnlyTrustedProxiesAreBelievedAboutTheClient(t *testing.T) {
	const proxy, stranger = "10.0.0.1:1234", "203.0.113.9:1234"
	for name, tc := range map[string]struct {
		peer string
		xff  []string
		want string
	}{
		"no proxy, no header":                  {stranger, nil, "203.0.113.9"},
		"spoofed without a proxy":              {stranger, []string{"198.51.100.1"}, "203.0.113.9"},
		"spoofed as a trusted proxy":           {stranger, []string{"10.0.0.1"}, "203.0.113.9"},
		"a neighbour of the network":           {"10.0.1.1:1", []string{"198.51.100.1"}, "10.0.1.1"},
		"the proxy itself":                     {proxy, nil, "10.0.0.1"},
		"through a proxy":                      {proxy, []string{"198.51.100.1"}, "198.51.100.1"},
		"through one with an address":          {"192.0.2.7:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"through a proxy over IPv6":            {"[2001:db8:1::5]:1", []string{"2001:db8:9::1"}, "2001:db8:9::1"},
		"through a mapped peer":                {"[::ffff:10.0.0.1]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"a mapped client":                      {proxy, []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"the caller wrote one before":          {proxy, []string{"127.0.0.1, 198.51.100.1"}, "198.51.100.1"},
		"the caller wrote a trusted one":       {proxy, []string{"10.0.0.9, 198.51.100.1"}, "198.51.100.1"},
		"through two proxies":                  {proxy, []string{"127.0.0.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		"two headers":                          {proxy, []string{"127.0.0.1", "198.51.100.1"}, "198.51.100.1"},
		"two headers and two proxies":          {proxy, []string{"127.0.0.1, 198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		"none but proxies":                     {proxy, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"with a port":                          {proxy, []string{"198.51.100.1:4711"}, "198.51.100.1"},
		"IPv6 in brackets with a port":         {proxy, []string{"[2001:db8:9::1]:4711"}, "2001:db8:9::1"},
		"IPv6 in brackets":                     {proxy, []string{"[2001:db8:9::1]"}, "2001:db8:9::1"},
		"a zone":                               {proxy, []string{"fe80::1%eth0"}, "fe80::1"},
		"tabs and spaces":                      {proxy, []string{"\t127.0.0.1 ,\t198.51.100.1 "}, "198.51.100.1"},
		"garbage":                              {proxy, []string{"unknown"}, "10.0.0.1"},
		"empty":                                {proxy, []string{""}, "10.0.0.1"},
		"an empty element at the end":          {proxy, []string{"198.51.100.1,"}, "10.0.0.1"},
		"garbage before the client":            {proxy, []string{"'; drop, 198.51.100.1"}, "198.51.100.1"},
		"garbage between client and proxies":   {proxy, []string{"198.51.100.1, x, 10.0.0.2"}, "10.0.0.2"},
		"a number that inet_aton would take":   {proxy, []string{"2130706433"}, "10.0.0.1"},
		"leading zeros":                        {proxy, []string{"127.000.000.001"}, "10.0.0.1"},
		"a list too long to be of own proxies": {proxy, []string{"127.0.0.1," + strings.Repeat("10.0.0.2,", 500) + "10.0.0.3"}, "10.0.0.2"},
		"a long list of claims":                {proxy, []string{strings.Repeat("127.0.0.1,", 1000) + "198.51.100.1"}, "198.51.100.1"},
		"no peer":                              {"", []string{"198.51.100.1"}, "invalid IP"},
		"a peer that is no address":            {"@", []string{"198.51.100.1"}, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tc.peer
			r.Header["X-Forwarded-For"] = tc.xff
			for _, other := range []string{"Forwarded", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip", "Cf-Connecting-Ip", "X-Forwarded", "X-Cluster-Client-Ip"} {
				r.Header.Set(other, "for=127.0.0.1")
			}
			assert.Equal(t, tc.want, authn.ClientAddr(trusted(t).Resolve(r)).String())
			assert.Equal(t, authn.ClientAddr(r), authn.ClientAddr(authn.Proxies(nil).Resolve(r)), "without proxies it is the peer")
		})
	}
}

func TestTrustedProxiesAreNamedExactly(t *testing.T) {
	for text, want := range map[string]string{
		"0.0.0.0/0": "every address", "::/0": "every address", "10.0.0.1/24": "write 10.0.0.0/24", "localhost": "no network",
		"": "no network", "10.0.0.0/33": "no network", "fe80::1%eth0": "no network", "::ffff:10.0.0.1": "IPv4", "10.0.0.0/24 ": "no network",
	} {
		_, i, err := authn.ParseProxies([]string{"192.0.2.1", text})
		require.ErrorContains(t, err, want, text)
		assert.Equal(t, 1, i)
	}
}

func FuzzForwardedFor(f *testing.F) {
	f.Add("127.0.0.1, 198.51.100.1", "10.0.0.2")
	f.Add("[::1]:1,,", "\x00")
	proxies := trusted(f)
	f.Fuzz(func(t *testing.T, first, second string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "203.0.113.9:1"
		r.Header["X-Forwarded-For"] = []string{first, second}
		if got := authn.ClientAddr(proxies.Resolve(r)); got != netip.MustParseAddr("203.0.113.9") {
			t.Fatalf("a stranger passes for %s", got)
		}
		r.RemoteAddr = "10.0.0.1:1"
		if got := authn.ClientAddr(proxies.Resolve(r)); !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%v", got)
		}
	})
}
