package cli

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/zalando/go-keyring"

	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/signin"
)

const sessionServer = "https://breakglass.example.com"

// While a command runs, somebody may log in again as somebody else. What began
// in one name isn't finished in another.
func TestARenewalDoesNotGoOnAsAnotherLogin(t *testing.T) {
	now := time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)
	mine := settings.OIDC{ID: "one", Issuer: "https://login.example.com", ClientID: "bgctl", Plain: &signin.Tokens{Bearer: "alice-token", Expires: now}}
	fresh := &signin.Tokens{Bearer: "bob-token", Expires: now.Add(time.Hour)}
	for name, stored := range map[string]settings.OIDC{
		"another login":  {ID: "two", Issuer: mine.Issuer, ClientID: "bgctl", Plain: fresh},
		"another issuer": {ID: "one", Issuer: "https://elsewhere.example.com", ClientID: "bgctl", Plain: fresh},
		"the same":       {ID: "one", Issuer: mine.Issuer, ClientID: "bgctl", Plain: fresh},
	} {
		path := filepath.Join(t.TempDir(), "logins.json")
		require.NoError(t, settings.WriteLogins(path, settings.Logins{Version: 1, ByServer: map[string]settings.Login{sessionServer: {OIDC: &stored}}}))
		a := newApp(Program{Stderr: &bytes.Buffer{}, Now: func() time.Time { return now }})
		token, err := a.session(settings.Settings{Server: sessionServer, OIDC: &mine, LoginFile: path}).token(t.Context())
		if name == "the same" {
			require.NoError(t, err)
			assert.Equal(t, "bob-token", token)
			continue
		}
		assert.ErrorContains(t, err, "Another login", name)
		assert.Empty(t, token, name)
	}
}

// A login that the keyring seals stays sealed, or says that it doesn't.
func TestASealedLoginDoesNotLieInTheOpenUnnoticed(t *testing.T) {
	off := func(string) string { return "off" }
	var said string
	warn := func(format string, args ...any) { said += fmt.Sprintf(format, args...) }
	tokens := signin.Tokens{Bearer: "b", Refresh: "r"}
	keyring.MockInit()
	o := settings.OIDC{ID: "one", Sealed: []byte("before")}
	require.NoError(t, keepTokens(t.Context(), &o, tokens, off, warn))
	assert.NotEmpty(t, o.Sealed, "whatever BGCTL_KEYRING says today")
	assert.Nil(t, o.Plain)
	got, err := openTokens(t.Context(), &o)
	require.NoError(t, err)
	assert.Equal(t, tokens, got)
	assert.Empty(t, said)

	keyring.MockInitWithError(errors.New("locked"))
	require.NoError(t, keepTokens(t.Context(), &o, tokens, off, warn))
	assert.Nil(t, o.Sealed)
	assert.Equal(t, &tokens, o.Plain)
	assert.Contains(t, said, "from now on are kept as they are")
	assert.Contains(t, said, "locked")
	said = ""
	require.NoError(t, keepTokens(t.Context(), &settings.OIDC{ID: "two"}, tokens, off, warn))
	assert.Empty(t, said, "it never was sealed")
}

// The keyring is locked between the opening of the tokens and their sealing.
func TestARenewalThatCanNotSealSaysSo(t *testing.T) {
	keyring.MockInit()
	now := time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC)
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			keyring.MockInitWithError(errors.New("locked"))
			_, _ = io.WriteString(w, `{"access_token":"new","token_type":"Bearer","expires_in":300,"refresh_token":"r2"}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q,"authorization_endpoint":%q}`, provider.URL, provider.URL+"/token", provider.URL+"/auth")
	}))
	t.Cleanup(provider.Close)
	o := settings.OIDC{ID: "one", Issuer: provider.URL, ClientID: "bgctl", Token: signin.AccessToken, Sealed: []byte("x")}
	require.NoError(t, keepTokens(t.Context(), &o, signin.Tokens{Bearer: "old", Refresh: "r", Expires: now}, func(string) string { return "" }, t.Logf))
	path := filepath.Join(t.TempDir(), "logins.json")
	require.NoError(t, settings.WriteLogins(path, settings.Logins{Version: 1, ByServer: map[string]settings.Login{sessionServer: {OIDC: &o}}}))
	var said bytes.Buffer
	a := newApp(Program{Stderr: &said, Now: func() time.Time { return now }})
	token, err := a.session(settings.Settings{Server: sessionServer, OIDC: &o, LoginFile: path}).token(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "new", token)
	assert.Contains(t, said.String(), "Warning: the tokens of this login were sealed")
}

func TestWhatWasAgreedToOutlivesTheLogin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logins.json")
	a := newApp(Program{Stderr: &bytes.Buffer{}, Now: time.Now})
	s := settings.Settings{Server: sessionServer, LoginFile: path, CacheDir: t.TempDir()}
	for _, client := range []string{"first", "second"} {
		o := settings.OIDC{ID: client, Issuer: "http://127.0.0.1:1", ClientID: client, Scopes: []string{"openid"}, Token: "id_token", Plain: &signin.Tokens{Bearer: "b"}}
		require.NoError(t, a.storeLogin(t.Context(), s, settings.Login{Name: "alice", OIDC: &o}))
	}
	require.NoError(t, a.logout(t.Context(), s))
	l, err := settings.ReadLogins(path)
	require.NoError(t, err)
	assert.Empty(t, l.ByServer)
	assert.Equal(t, []settings.Provider{{Issuer: "http://127.0.0.1:1", ClientID: "second", Scopes: []string{"openid"}, Token: "id_token"}}, l.Providers[sessionServer])
	o := settings.OIDC{Issuer: "http://127.0.0.1:1", ClientID: "second", Scopes: []string{"openid"}, Token: "id_token"}
	assert.NoError(t, a.confirmOffer(t.Context(), s, o, false))
	o.ClientID = "first"
	assert.Error(t, a.confirmOffer(t.Context(), s, o, false))
}

// Who can make certificates for the server is not trusted to make the provider's.
func TestTheAuthorityOfTheServerIsNotThatOfTheProvider(t *testing.T) {
	var provider *httptest.Server
	provider = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q,"authorization_endpoint":%q}`, provider.URL, provider.URL+"/token", provider.URL+"/auth")
	}))
	provider.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that bgctl breaks off
	provider.StartTLS()
	t.Cleanup(provider.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: provider.Certificate().Raw}), 0o600))
	for name, works := range map[string]bool{"BGCTL_CA_FILE": false, "BGCTL_PROVIDER_CA_FILE": true} {
		home := t.TempDir()
		s, err := settings.Load(func(key string) string { return map[string]string{"HOME": home, name: ca}[key] }, sessionServer)
		require.NoError(t, err)
		a := newApp(Program{Stderr: io.Discard, Now: time.Now})
		_, err = a.provider(t.Context(), s, settings.OIDC{Issuer: provider.URL, ClientID: "bgctl", Token: signin.IDToken})
		assert.Equal(t, works, err == nil, "%s: %v", name, err)
	}
	home := t.TempDir()
	config := filepath.Join(home, "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte("provider_ca_file: ca.pem\n"), 0o600))
	load := func() (settings.Settings, error) {
		return settings.Load(func(key string) string { return map[string]string{"HOME": home, "BGCTL_CONFIG": config}[key] }, sessionServer)
	}
	_, err := load()
	require.ErrorContains(t, err, "provider_ca_file: ")
	require.NoError(t, os.WriteFile(filepath.Join(home, "ca.pem"), []byte("x"), 0o600))
	s, err := load()
	require.NoError(t, err)
	assert.Equal(t, "x", string(s.ProviderCAPEM), "relative to the file")
	assert.Empty(t, s.CAPEM)
}
