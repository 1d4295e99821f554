package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
)

// testIssuer publishes keys on a real listener, and signs what it is told to.
type testIssuer struct {
	*httptest.Server
	mu       sync.Mutex
	keys     map[string]crypto.Signer
	extra    []json.RawMessage // beside the keys
	down     bool
	asked    int
	iss      string // what discovery says; empty: the truth
	jwksURI  string // the same
	redirect string
	padding  int
}

// Making RSA keys takes long: the tests share them.
var rsaKey, otherRSAKey, shortRSAKey = sync.OnceValue(newRSA(2048)), sync.OnceValue(newRSA(2048)), sync.OnceValue(newRSA(1024))

func newRSA(bits int) func() *rsa.PrivateKey {
	return func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return key
	}
}

func newEC(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newTestIssuer(t testing.TB) *testIssuer {
	t.Helper()
	i := &testIssuer{keys: map[string]crypto.Signer{"one": rsaKey()}}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func (i *testIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration", "/moved":
		i.asked++
		if i.redirect != "" && r.URL.Path != i.redirect {
			http.Redirect(w, r, i.redirect, http.StatusFound)
			return
		}
		iss, keys := i.URL, i.URL+"/keys"
		if i.iss != "" {
			iss = i.iss
		}
		if i.jwksURI != "" {
			keys = i.jwksURI
		}
		answer = map[string]any{"issuer": iss, "jwks_uri": keys}
	case "/keys":
		set := struct {
			Keys    []any  `json:"keys"`
			Padding string `json:"padding"`
		}{Padding: string(make([]byte, i.padding))}
		for kid, key := range i.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: "sig"})
		}
		for _, raw := range i.extra {
			set.Keys = append(set.Keys, raw)
		}
		answer = set
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (i *testIssuer) set(change func(*testIssuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *testIssuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// sign makes a token of a header and a payload as they are written.
func sign(t testing.TB, key crypto.Signer, header, payload string) string {
	t.Helper()
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		require.NoError(t, err)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		require.NoError(t, err)
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return input + "." + b64(signature)
}

func signHMAC(secret []byte, header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a provider with one issuer.
type world struct {
	*Provider
	issuer *testIssuer
	clock  *clock
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{issuer: newTestIssuer(t), clock: &clock{at: time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)}}
	w.start(t, change...)
	return w
}

func (w *world) start(t testing.TB, change ...func(*Config)) {
	t.Helper()
	cfg := Config{Issuer: w.issuer.URL, Audiences: []string{"breakglass"}, UsernameClaim: "email", GroupsClaim: "groups"}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	w.Provider, err = New(t.Context(), []Config{cfg}, Deps{Now: w.clock.Now})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	w.settle(t)
}

// settle waits until the fetch under way is over.
func (w *world) settle(t testing.TB) {
	t.Helper()
	keys := w.issuers[w.issuer.URL].keys
	require.Eventually(t, func() bool {
		keys.mu.Lock()
		defer keys.mu.Unlock()
		return keys.inFlight == nil && !keys.asked.IsZero()
	}, 5*time.Second, time.Millisecond)
}

// Token verifies a token as the chain of the ways in does.
func (w *world) Token(t testing.TB, token string) (authn.Identity, error) {
	return verify(t, w.Provider, token)
}

func verify(t testing.TB, p *Provider, token string) (authn.Identity, error) {
	return p.Verify(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/whoami", nil), token)
}

const rs256 = `{"alg":"RS256","kid":"one","typ":"JWT"}`

// claimsWith is a good set of claims with some of them replaced; nil removes one.
func (w *world) claimsWith(changes map[string]any) string {
	now := w.clock.Now()
	c := map[string]any{"iss": w.issuer.URL, "aud": "breakglass", "sub": "7", "email": "alice@example.com", "email_verified": true, "groups": []string{"oncall", "db", "oncall"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return string(data)
}

// token signs a good set of claims with some of them replaced.
func (w *world) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	return sign(t, rsaKey(), rs256, w.claimsWith(changes))
}
