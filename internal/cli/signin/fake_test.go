package signin

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// faulty is a provider that answers as it is told to: a real one, which
// internal/e2e uses, has none of these faults.
type faulty struct {
	*httptest.Server
	mu      sync.Mutex
	meta    map[string]any
	answers []reply // of the token endpoint, one after the other; the last one stays
	device  reply
	forms   []url.Values // what the token endpoint got
}

type reply struct {
	status int
	body   any
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	f.meta = map[string]any{"issuer": f.URL, "authorization_endpoint": f.URL + "/auth", "token_endpoint": f.URL + "/token",
		"device_authorization_endpoint": f.URL + "/device", "revocation_endpoint": f.URL + "/revoke", "authorization_response_iss_parameter_supported": true}
	f.device = reply{200, map[string]any{"device_code": "dc", "user_code": "ABCD-EFGH", "verification_uri": f.URL + "/go", "expires_in": 600, "interval": 2}}
	return f
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var a reply
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		a = reply{200, f.meta}
	case "/device":
		a = f.device
	case "/token":
		_ = r.ParseForm()
		f.forms = append(f.forms, r.PostForm)
		a = f.answers[0]
		if len(f.answers) > 1 {
			f.answers = f.answers[1:]
		}
	default:
		a = reply{404, nil}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

func (f *faulty) will(answers ...reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = answers
}

func (f *faulty) asked() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forms
}

func (f *faulty) config() Config {
	return Config{Issuer: f.URL, ClientID: "bgctl", Scopes: []string{"openid", "email"}, Token: IDToken, Now: time.Now,
		HTTP: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (f *faulty) discover(t *testing.T) *Provider {
	t.Helper()
	p, err := Discover(t.Context(), f.config())
	require.NoError(t, err)
	return p
}

// idToken is an unsigned ID token with some claims replaced; nil removes one.
func (f *faulty) idToken(changes map[string]any) string {
	c := map[string]any{"iss": f.URL, "aud": "bgctl", "sub": "7", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

// good is an answer with tokens.
func (f *faulty) good(changes map[string]any) reply {
	return reply{200, map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 300, "refresh_token": "rt", "id_token": f.idToken(changes)}}
}

func refusedWith(code string) reply {
	return reply{400, map[string]string{"error": code, "error_description": "because"}}
}
