package signin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// visit is a login at which the browser is the test.
type visit struct {
	address  *url.URL
	redirect string
	state    string
	nonce    string
	done     chan struct{}
	tokens   Tokens
	err      error
}

func begin(t *testing.T, ctx context.Context, p *Provider) *visit {
	t.Helper()
	v := &visit{done: make(chan struct{})}
	shown := make(chan string, 1)
	go func() {
		defer close(v.done)
		v.tokens, v.err = p.Code(ctx, func(address string) { shown <- address })
	}()
	select {
	case address := <-shown:
		var err error
		v.address, err = url.Parse(address)
		require.NoError(t, err)
	case <-v.done:
		require.NoError(t, v.err)
	}
	q := v.address.Query()
	v.redirect, v.state, v.nonce = q.Get("redirect_uri"), q.Get("state"), q.Get("nonce")
	return v
}

// come is what the browser is sent back with.
func (v *visit) come(t *testing.T, change func(*http.Request), params url.Values) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.redirect+"?"+params.Encode(), nil)
	require.NoError(t, err)
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(body)
}

func (v *visit) wait(t *testing.T) (Tokens, error) {
	t.Helper()
	select {
	case <-v.done:
	case <-time.After(10 * time.Second):
		t.Fatal("the login goes on")
	}
	return v.tokens, v.err
}

func TestTheCodeIsBoundToThisLogin(t *testing.T) {
	f := newFaulty(t)
	v := begin(t, t.Context(), f.discover(t))
	q := v.address.Query()
	assert.Equal(t, []string{"code", "bgctl", "openid email", "S256"}, []string{q.Get("response_type"), q.Get("client_id"), q.Get("scope"), q.Get("code_challenge_method")})
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+/callback$`, v.redirect)
	f.will(f.good(map[string]any{"nonce": v.nonce}))
	status, header, page := v.come(t, nil, url.Values{"state": {v.state}, "code": {"c"}, "iss": {f.URL}})
	assert.Equal(t, 200, status)
	assert.Contains(t, page, "close this window")
	assert.Equal(t, "no-store", header.Get("Cache-Control"))
	assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	tokens, err := v.wait(t)
	require.NoError(t, err)
	assert.Equal(t, "rt", tokens.Refresh)
	form := f.asked()[0]
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	assert.Equal(t, q.Get("code_challenge"), base64.RawURLEncoding.EncodeToString(sum[:]))
	assert.Equal(t, []string{"authorization_code", "c", v.redirect, "bgctl"}, []string{form.Get("grant_type"), form.Get("code"), form.Get("redirect_uri"), form.Get("client_id")})
	again := begin(t, t.Context(), f.discover(t))
	for _, name := range []string{"state", "nonce", "code_challenge", "redirect_uri"} {
		assert.NotEqual(t, q.Get(name), again.address.Query().Get(name), name)
	}
	_, err = http.Get(v.redirect + "?state=" + v.state + "&code=c2")
	assert.Error(t, err, "the listener is gone")
}

func TestAttackRequestsToTheListenerThatAreNotTheAnswer(t *testing.T) {
	f := newFaulty(t)
	v := begin(t, t.Context(), f.discover(t))
	good := url.Values{"state": {v.state}, "code": {"c"}, "iss": {f.URL}}
	for name, tc := range map[string]struct {
		change func(*http.Request)
		params url.Values
		status int
	}{
		"no state":       {nil, url.Values{"code": {"evil"}, "iss": {f.URL}}, 400},
		"another state":  {nil, url.Values{"state": {v.state[1:] + "x"}, "code": {"evil"}, "iss": {f.URL}}, 400},
		"two states":     {nil, url.Values{"state": {v.state, v.state}, "code": {"evil"}, "iss": {f.URL}}, 400},
		"another host":   {func(r *http.Request) { r.Host = "evil.example" }, good, 404},
		"another port":   {func(r *http.Request) { r.Host = "127.0.0.1:1" }, good, 404},
		"localhost":      {func(r *http.Request) { r.Host = strings.Replace(r.Host, "127.0.0.1", "localhost", 1) }, good, 404},
		"another path":   {func(r *http.Request) { r.URL.Path = "/callback/x" }, good, 404},
		"another method": {func(r *http.Request) { r.Method = http.MethodPost }, good, 405},
	} {
		status, _, _ := v.come(t, tc.change, tc.params)
		assert.Equal(t, tc.status, status, name)
	}
	f.will(f.good(map[string]any{"nonce": v.nonce}))
	status, _, _ := v.come(t, nil, good)
	assert.Equal(t, 200, status, "none of them ended the login")
	_, err := v.wait(t)
	require.NoError(t, err)
	require.Len(t, f.asked(), 1)
	assert.Equal(t, "c", f.asked()[0].Get("code"))
}

func TestAttackAnswerOfAnotherProvider(t *testing.T) {
	for name, iss := range map[string][]string{"another": {"https://evil.example"}, "none": nil, "twice": {"x", "x"}} {
		f := newFaulty(t)
		v := begin(t, t.Context(), f.discover(t))
		_, _, page := v.come(t, nil, url.Values{"state": {v.state}, "code": {"c"}, "iss": iss})
		assert.Contains(t, page, "another identity provider", name)
		_, err := v.wait(t)
		require.ErrorContains(t, err, "another identity provider", name)
		assert.Empty(t, f.asked(), "the code goes nowhere")
	}
	f := newFaulty(t)
	delete(f.meta, "authorization_response_iss_parameter_supported")
	v := begin(t, t.Context(), f.discover(t))
	f.will(f.good(map[string]any{"nonce": v.nonce}))
	v.come(t, nil, url.Values{"state": {v.state}, "code": {"c"}})
	_, err := v.wait(t)
	require.NoError(t, err, "a provider that doesn't know RFC 9207 sends no iss")
	v = begin(t, t.Context(), f.discover(t))
	v.come(t, nil, url.Values{"state": {v.state}, "code": {"c"}, "iss": {"https://evil.example"}})
	_, err = v.wait(t)
	require.ErrorContains(t, err, "another identity provider")
}

func TestAttackIDTokenThatIsNotOfThisLogin(t *testing.T) {
	for name, changes := range map[string]map[string]any{
		"another nonce": {"nonce": "other"}, "no nonce": {"nonce": nil}, "another issuer": {"iss": "https://evil.example"}, "another client": {"aud": "other"},
		"asked for by another": {"aud": []string{"bgctl", "other"}, "azp": "other"}, "nobody": {"sub": ""}, "no end": {"exp": nil}, "an odd audience": {"aud": 7},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			v := begin(t, t.Context(), f.discover(t))
			if _, ok := changes["nonce"]; !ok {
				changes["nonce"] = v.nonce
			}
			f.will(f.good(changes))
			v.come(t, nil, url.Values{"state": {v.state}, "code": {"c"}, "iss": {f.URL}})
			tokens, err := v.wait(t)
			require.ErrorContains(t, err, "its ID token is wrong")
			assert.Empty(t, tokens.Bearer)
		})
	}
}

func TestTheRefusalOfAProviderIsShownAndEscaped(t *testing.T) {
	f := newFaulty(t)
	v := begin(t, t.Context(), f.discover(t))
	_, _, page := v.come(t, nil, url.Values{"state": {v.state}, "iss": {f.URL}, "error": {"access_denied"}, "error_description": {`<script>alert("x")</script>`}})
	assert.NotContains(t, page, "<script>")
	assert.Contains(t, page, "&lt;script&gt;")
	_, err := v.wait(t)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "access_denied", e.Code)
}

func TestAnAnswerCountsOnce(t *testing.T) {
	f := newFaulty(t)
	w := &waiting{host: "127.0.0.1:1", issuer: f.URL, state: "s", answer: make(chan answer, 1)}
	assert.Equal(t, 200, serve(t, w, "state=s&code=first"))
	assert.Equal(t, 410, serve(t, w, "state=s&code=second"))
	assert.Equal(t, "first", (<-w.answer).code)
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	f := newFaulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	v := begin(t, ctx, f.discover(t))
	cancel()
	_, err := v.wait(t)
	require.ErrorIs(t, err, context.Canceled)
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	var e *Error
	assert.True(t, errors.As(gaveUp(late), &e))
}

func TestProvidersThatAreNotUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *faulty)
		want   string
	}{
		"another issuer":       {func(f *faulty) { f.meta["issuer"] = "https://evil.example" }, "it calls itself"},
		"no authorization":     {func(f *faulty) { delete(f.meta, "authorization_endpoint") }, "offers no authorization_endpoint"},
		"authorization by ftp": {func(f *faulty) { f.meta["authorization_endpoint"] = "ftp://127.0.0.1/" }, "is not https"},
		"plain authorization":  {func(f *faulty) { f.meta["authorization_endpoint"] = "http://login.example.com/auth" }, "is not https"},
		"no PKCE with S256":    {func(f *faulty) { f.meta["code_challenge_methods_supported"] = []string{"plain"} }, "PKCE"},
		"broken":               {func(f *faulty) { f.meta["issuer"] = 7 }, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			tc.change(f)
			p, err := Discover(t.Context(), f.config())
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err = p.Code(ctx, func(string) { t.Error("asks for a visit") })
			}
			require.ErrorContains(t, err, tc.want)
		})
	}
	for _, issuer := range []string{"http://login.example.com", "login", "ftp://127.0.0.1", "https://a:b@login.example.com", "http://127.0.0.1.evil.example"} {
		_, err := Discover(t.Context(), Config{Issuer: issuer})
		assert.Error(t, err, issuer)
	}
}
