package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/oidc"
	"breakglass/internal/config"
)

const loginHost = "login.example.test"

// companyLogin is the company's identity provider, which is reached by its name alone.
// It publishes its key; the tokens are those of people who logged in before.
type companyLogin struct {
	url, caFile string
	key         *rsa.PrivateKey
}

func newCompanyLogin(t *testing.T) *companyLogin {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	i := &companyLogin{key: key, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	ca := newAuthority(t, "company")
	require.NoError(t, os.WriteFile(i.caFile, ca.pem, 0o600))
	publish := func(document func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(document())
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/.well-known/openid-configuration", publish(func() any { return map[string]string{"issuer": i.url, "jwks_uri": i.url + "/keys"} }))
	mux.Handle("/keys", publish(func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one", Use: "sig"}}}
	}))
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Hour, loginHost).certificate(t)}, MinVersion: tls.VersionTLS12}
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	i.url = "https://" + net.JoinHostPort(loginHost, port)
	server.StartTLS()
	t.Cleanup(server.Close)
	return i
}

// configure makes the issuer one of the server's.
func (i *companyLogin) configure(c *config.Config) {
	c.Auth.OIDC = []oidc.Config{{Issuer: i.url, Audiences: []string{"breakglass"}, UsernameClaim: "email", CAFile: i.caFile}}
}

// token is bob's, and says that it is of that issuer.
func (i *companyLogin) token(t *testing.T, name string) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", "one")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: i.key}, options)
	require.NoError(t, err)
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"iss": name, "aud": "breakglass", "email": "bob@example.com", "email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	require.NoError(t, err)
	signed, err := signer.Sign(claims)
	require.NoError(t, err)
	token, err := signed.CompactSerialize()
	require.NoError(t, err)
	return token
}

// login is the answer to a bearer token.
func (c caller) login(t *testing.T, bearer string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := c.do(ctx, "nobody", http.MethodGet, "/v1/whoami", "", "Authorization", "Bearer "+bearer)
	require.NoError(t, err)
	return a
}

// isDown checks what those hear who log in at the issuer meanwhile.
func (i *companyLogin) isDown(t *testing.T, c caller) {
	t.Helper()
	a := c.login(t, i.token(t, i.url))
	assert.Equal(t, http.StatusServiceUnavailable, a.status, "%s", a.body)
	assert.Equal(t, "unavailable", a.code())
	assert.Contains(t, string(a.body), "Other ways to log in work")
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	a = c.login(t, i.token(t, "https://login.example.org"))
	assert.Equal(t, http.StatusUnauthorized, a.status, "an issuer that isn't the server's: %s", a.body)
	assert.Equal(t, "unauthenticated", a.code())
}

// isBack waits until the same token is good.
func (i *companyLogin) isBack(t *testing.T, c caller) {
	t.Helper()
	var a answer
	assert.Eventually(t, func() bool { a = c.login(t, i.token(t, i.url)); return a.status == http.StatusOK }, patience, patience/1000)
	assert.Contains(t, string(a.body), "bob@example.com")
}
