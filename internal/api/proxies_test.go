package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
)

// from is a request that claims to come from an address.
func from(addr string, r request) request {
	r.header = http.Header{"X-Forwarded-For": {addr}, "X-Real-Ip": {addr}, "Forwarded": {"for=" + addr}}
	return r
}

// loopbackProxy trusts whatever connects in these tests.
func loopbackProxy(t testing.TB) authn.Proxies {
	t.Helper()
	p, _, err := authn.ParseProxies([]string{"127.0.0.1"})
	require.NoError(t, err)
	return p
}

func TestLogAndTrailShowTheClientBehindATrustedProxyAndNobodysClaim(t *testing.T) {
	for name, tc := range map[string]struct {
		proxies authn.Proxies
		want    string
	}{
		"a claim":         {nil, "127.0.0.1"},
		"a trusted proxy": {loopbackProxy(t), "203.0.113.4"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{proxies: tc.proxies})
			s.call(t, from("198.51.100.1, 203.0.113.4", request{method: "POST", path: "/v1/breakglass", as: alice, body: body()}))
			require.Len(t, s.entries(t), 1)
			assert.Equal(t, tc.want, s.entries(t)[0].Detail["client_addr"])
			assert.Contains(t, s.log.String(), fmt.Sprintf(`"client_addr":%q`, tc.want))
			assert.NotContains(t, s.log.String(), "198.51.100.1")
		})
	}
}

func TestASpoofedHeaderDoesNotGetRoundTheLimitOfFailedLogins(t *testing.T) {
	s := start(t, options{})
	statuses := map[int]int{}
	for i := range 250 {
		statuses[s.call(t, from(fmt.Sprintf("198.51.100.%d", i), request{method: "GET", path: "/v1/whoami", as: "mallory"})).status]++
	}
	assert.Greater(t, statuses[429], 50, "%v", statuses)
}

func TestBehindATrustedProxyOneGuesserDoesNotSpeakForAll(t *testing.T) {
	s := start(t, options{proxies: loopbackProxy(t)})
	whoami := request{method: "GET", path: "/v1/whoami", as: "mallory"}
	for range 250 {
		s.call(t, from("198.51.100.1", whoami))
	}
	assert.Equal(t, 429, s.call(t, from("198.51.100.1", whoami)).status)
	assert.Equal(t, 429, s.call(t, from("203.0.113.1, 198.51.100.1", whoami)).status, "with another claim in front")
	assert.Equal(t, 401, s.call(t, from("198.51.100.2", whoami)).status)
}
