package oidc

import (
	"crypto"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/yamlfile"
)

type yamlDuration = yamlfile.Duration

func TestARotatedKeyIsFetchedAndTheOldOneEnds(t *testing.T) {
	w := newWorld(t)
	next := newEC(t)
	fresh := sign(t, next, `{"alg":"ES256","kid":"two"}`, w.claimsWith(nil))
	w.issuer.set(func(i *testIssuer) { i.keys = map[string]crypto.Signer{"two": next} })
	w.refused(t, fresh) // the issuer was asked a moment ago
	w.clock.advance(retryEvery)
	var together sync.WaitGroup
	for range 20 {
		together.Go(func() {
			_, err := w.Token(t, fresh)
			assert.NoError(t, err, "the new key is fetched as soon as it is seen")
		})
	}
	together.Wait()
	assert.Equal(t, 2, w.issuer.count())
	w.refused(t, w.token(t, nil))
}

func TestKeysWorkWhileTheIssuerIsDownForAsLongAsConfigured(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.KeysKept = yamlDuration(2 * time.Hour) })
	w.issuer.set(func(i *testIssuer) { i.down = true })
	w.clock.advance(2 * time.Hour)
	_, err := w.Token(t, w.token(t, nil))
	require.NoError(t, err)
	w.clock.advance(time.Second)
	_, err = w.Token(t, w.token(t, nil))
	e := breakglass.AsError(err)
	assert.Equal(t, breakglass.CodeUnavailable, e.Code)
	assert.Positive(t, e.RetryAfter)
	w.issuer.set(func(i *testIssuer) { i.down = false })
	w.clock.advance(retryEvery)
	_, err = w.Token(t, w.token(t, nil))
	require.NoError(t, err, "the issuer is back")
}

func TestAServerStartsWhileItsIssuerIsDown(t *testing.T) {
	w := &world{issuer: newTestIssuer(t), clock: &clock{at: time.Now()}}
	w.issuer.set(func(i *testIssuer) { i.down = true })
	w.start(t)
	_, err := w.Token(t, w.token(t, nil))
	assert.Equal(t, breakglass.CodeUnavailable, breakglass.AsError(err).Code)
	w.refused(t, w.token(t, map[string]any{"iss": "https://login.example.com"}))
	w.issuer.set(func(i *testIssuer) { i.down = false })
	w.clock.advance(retryEvery)
	_, err = w.Token(t, w.token(t, nil))
	require.NoError(t, err)
}

func TestAnIssuerThatHangsHoldsNobodyForLong(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	w := &world{issuer: newTestIssuer(t), clock: &clock{at: time.Now()}}
	p, err := New(t.Context(), []Config{{Issuer: hanging.URL, Audiences: []string{"breakglass"}, UsernameClaim: "sub"}}, Deps{Now: w.clock.Now})
	require.NoError(t, err)
	began := time.Now()
	_, err = verify(t, p, w.token(t, map[string]any{"iss": hanging.URL}))
	assert.Equal(t, breakglass.CodeUnavailable, breakglass.AsError(err).Code)
	assert.Less(t, time.Since(began), fetchTimeout-time.Second)
	p.stop()
}

func TestWhatAnIssuerMustNotAnswer(t *testing.T) {
	for name, change := range map[string]func(*testIssuer){
		"another issuer":        func(i *testIssuer) { i.iss = "https://login.example.com" },
		"keys without TLS":      func(i *testIssuer) { i.jwksURI = strings.Replace(i.URL, "127.0.0.1", "0.0.0.0", 1) + "/keys" },
		"keys in a file":        func(i *testIssuer) { i.jwksURI = "file:///etc/passwd" },
		"no place for the keys": func(i *testIssuer) { i.jwksURI = "/keys" },
		"a redirect":            func(i *testIssuer) { i.redirect = "/moved" },
		"more than fits":        func(i *testIssuer) { i.padding = maxDocument },
		"no keys":               func(i *testIssuer) { i.keys = nil },
		"keys that are too short": func(i *testIssuer) {
			i.keys = map[string]crypto.Signer{"one": shortRSAKey()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{issuer: newTestIssuer(t), clock: &clock{at: time.Now()}}
			w.issuer.set(change)
			w.start(t)
			_, err := w.Token(t, w.token(t, nil))
			assert.Equal(t, breakglass.CodeUnavailable, breakglass.AsError(err).Code)
		})
	}
}

func TestOnlyPublicSigningKeysAreTaken(t *testing.T) {
	public, err := jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "public"}.MarshalJSON()
	require.NoError(t, err)
	private, err := jose.JSONWebKey{Key: otherRSAKey(), KeyID: "private"}.MarshalJSON()
	require.NoError(t, err)
	keys, err := parseKeys([]byte(`{"keys":[{"kty":"oct","kid":"oct","k":"c2VjcmV0"},` + string(private) + `,` + string(public) + `]}`))
	require.NoError(t, err)
	require.Len(t, keys, 1)
	assert.Equal(t, "public", keys[0].KeyID)
	for _, bad := range []string{"", "null", "[]", `{"keys":[]}`, `{"keys":7}`, `{"keys":[` + string(private) + `]}`, "{\"keys\":[" + strings.Repeat(string(public)+",", maxKeys) + string(public) + "]}"} {
		_, err := parseKeys([]byte(bad))
		assert.Error(t, err, "%.40s", bad)
	}
}

func TestACompanysOwnAuthorityIsTrustedForItsIssuerAlone(t *testing.T) {
	w := &world{issuer: newTestIssuer(t), clock: &clock{at: time.Now()}}
	w.issuer.Server = httptest.NewTLSServer(w.issuer)
	t.Cleanup(w.issuer.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.issuer.Certificate().Raw}), 0o600))
	w.start(t)
	_, err := w.Token(t, w.token(t, nil))
	assert.Equal(t, breakglass.CodeUnavailable, breakglass.AsError(err).Code)
	w.start(t, func(c *Config) { c.CAFile = file })
	_, err = w.Token(t, w.token(t, nil))
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(file, []byte("no certificate"), 0o600))
	assert.ErrorContains(t, CheckFiles([]Config{{CAFile: file}, {CAFile: file + "x"}}), "auth.oidc[1].ca_file")
	_, err = New(t.Context(), []Config{{CAFile: file}}, Deps{})
	assert.ErrorContains(t, err, "holds no PEM certificate")
	assert.ErrorContains(t, err, "auth.oidc[0].audiences")
}
