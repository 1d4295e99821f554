package api_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/awsiam"
)

// loginFrom is a login from another address of this machine than the rest of
// the tests come from.
func (s *server) loginFrom(t *testing.T, addr string, body map[string]any) int {
	t.Helper()
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}).DialContext}
	defer transport.CloseIdleConnections()
	b, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/login/aws", strings.NewReader(string(b)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Skipf("this machine has no %s: %v", addr, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func flood(nonce string) map[string]any {
	p := proof(nonce)
	p["authorization"] = strings.Replace(p["authorization"].(string), "AKIAEXAMPLEEXAMPLE00", floodKey, 1)
	return p
}

func TestAFloodOfLoginsFromOneAddressKeepsNobodyElseOut(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range awsiam.MaxAsking + 10 {
		body := flood(a.Challenge().Nonce)
		all.Go(func() {
			status := s.login(t, body).status
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	turnedAway := func() int {
		mu.Lock()
		defer mu.Unlock()
		return statuses[http.StatusTooManyRequests]
	}
	require.Eventually(t, func() bool { return turnedAway() == awsiam.MaxAsking+6 && a.asked.Load() == 4 }, 10*time.Second, 5*time.Millisecond,
		"one address has 4 questions under way")
	assert.Equal(t, http.StatusOK, s.loginFrom(t, "127.0.0.2", proof(a.Challenge().Nonce)))
	a.release()
	all.Wait()
	assert.Equal(t, map[int]int{http.StatusTooManyRequests: awsiam.MaxAsking + 6, http.StatusUnauthorized: 4}, statuses)
	assert.Equal(t, http.StatusOK, s.login(t, proof(a.Challenge().Nonce)).status, "the share is free again")
}

func TestFailedLoginsUseUpWhatTheirAddressMayAskOfSTS(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	a.release()
	for range 100 {
		require.Equal(t, http.StatusUnauthorized, s.login(t, flood(a.Challenge().Nonce)).status)
	}
	asked := a.asked.Load()
	limited := 0
	for range 20 { // one may get through: failures come back with time
		got := s.login(t, flood(a.Challenge().Nonce))
		if got.status == http.StatusTooManyRequests {
			limited++
			assert.NotEmpty(t, got.header.Get("Retry-After"))
		}
	}
	assert.GreaterOrEqual(t, limited, 15)
	assert.EqualValues(t, 20-limited, a.asked.Load()-asked, "STS isn't asked on account of an address that failed too often")
	assert.Equal(t, http.StatusOK, s.call(t, request{method: "GET", path: "/v1/whoami", as: alice}).status, "tokens are not affected")
	assert.Equal(t, http.StatusOK, s.loginFrom(t, "127.0.0.2", proof(a.Challenge().Nonce)))
}

func TestOneNonceCostsSTSOneQuestion(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	a.release()
	body := flood(a.Challenge().Nonce)
	for range 3 {
		require.Equal(t, http.StatusUnauthorized, s.login(t, body).status)
	}
	assert.EqualValues(t, 1, a.asked.Load())
	// STS that can't be asked costs nobody the nonce.
	a.says("")
	again := proof(a.Challenge().Nonce)
	require.Equal(t, http.StatusServiceUnavailable, s.login(t, again).status)
	a.says("arn:aws:iam::123456789012:user/alice")
	assert.Equal(t, http.StatusOK, s.login(t, again).status)
}

// Guessing costs a new connection every few times, as with tokens.
func TestRefusedAWSLoginsCloseTheirConnection(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	for range 4 {
		require.Equal(t, http.StatusUnauthorized, s.login(t, proof("x")).status)
	}
	got := s.login(t, proof("x"))
	require.Equal(t, http.StatusUnauthorized, got.status)
	assert.True(t, got.closes, "the fifth on one connection")
}
