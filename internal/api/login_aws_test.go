package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/authn/awsiam"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/sqlite"
)

// aws is the real login with AWS identities. What is tested here is what becomes
// of it over HTTP, so STS says what the test wants; internal/authn/awsiam has the
// emulator and its signatures.
type aws struct {
	real   *awsiam.Login
	arn    atomic.Value
	panics bool
	asked  atomic.Int32
	// held is what STS waits for before it answers the key of a flood.
	held    chan struct{}
	release func()
}

const floodKey = "AKIAFLOODFLOODFLOO00"

func newAWS(t testing.TB, denied ...string) *aws {
	t.Helper()
	a := &aws{held: make(chan struct{})}
	a.release = sync.OnceFunc(func() { close(a.held) })
	a.says("arn:aws:iam::123456789012:user/alice")
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		if strings.Contains(r.Header.Get("Authorization"), floodKey) {
			<-a.held
			w.WriteHeader(http.StatusForbidden)
			return
		}
		arn := a.arn.Load().(string)
		if arn == "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"GetCallerIdentityResponse":{"GetCallerIdentityResult":{"Account":"123456789012","Arn":%q,"UserId":"x"}}}`, arn)
	}))
	t.Cleanup(func() { a.release(); sts.Close() })
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "login.db"), sqlite.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	a.real, err = awsiam.New(awsiam.Config{ServerNames: []string{"127.0.0.1"}, Regions: []string{"us-east-1"}, Endpoint: sts.URL,
		Rules: []awsiam.Rule{{Account: "123456789012", User: "alice", Name: alice, Groups: []string{"engineers"}}}},
		awsiam.Deps{Keys: session.Random(), Store: store, Now: time.Now, Denied: authn.DenyNames(denied)})
	require.NoError(t, err)
	t.Cleanup(a.real.Close)
	return a
}

func (a *aws) says(arn string) { a.arn.Store(arn) }

func (a *aws) Challenge() awsiam.Challenge {
	if a.panics {
		panic("boom-4711")
	}
	return a.real.Challenge()
}

func (a *aws) Login(ctx context.Context, p awsiam.Proof) (awsiam.Session, error) {
	if a.panics {
		panic("boom-4711")
	}
	return a.real.Login(ctx, p)
}

func (s *server) challenge(t testing.TB) string {
	t.Helper()
	var out struct {
		Nonce     string    `json:"nonce"`
		ExpiresAt time.Time `json:"expires_at"`
		Regions   []string  `json:"regions"`
	}
	s.call(t, request{method: "POST", path: "/v1/login/aws/challenge"}).into(200, &out)
	assert.Equal(t, []string{"us-east-1"}, out.Regions)
	assert.WithinDuration(t, time.Now().Add(awsiam.NonceLife), out.ExpiresAt, 5*time.Second)
	return out.Nonce
}

func proof(nonce string) map[string]any {
	date := time.Now().UTC().Format("20060102T150405Z")
	return map[string]any{"server": "127.0.0.1", "nonce": nonce, "amz_date": date,
		"authorization": "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLEEXAMPLE00/" + date[:8] + "/us-east-1/sts/aws4_request, " +
			"SignedHeaders=host;x-amz-date;x-breakglass-nonce;x-breakglass-server, Signature=" + strings.Repeat("0a", 32)}
}

func (s *server) login(t testing.TB, body map[string]any) answer {
	t.Helper()
	b, err := json.Marshal(body)
	require.NoError(t, err)
	return s.call(t, request{method: "POST", path: "/v1/login/aws", body: string(b)})
}

func TestALoginWithAnAWSIdentityGivesASession(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	got := s.login(t, proof(s.challenge(t)))
	var out struct {
		Token, Name string
		Type        string    `json:"token_type"`
		Expires     time.Time `json:"expires_at"`
		Groups      []string
		By          string `json:"authenticated_by"`
	}
	got.into(200, &out)
	assert.Equal(t, []string{alice, "Bearer", "aws:arn:aws:iam::123456789012:user/alice"}, []string{out.Name, out.Type, out.By})
	assert.Equal(t, []string{"engineers"}, out.Groups)
	assert.NotContains(t, s.log.String(), out.Token)
	assert.Contains(t, s.log.String(), `"principal":"alice@example.com"`)
}

func TestEachRefusalOfALoginHasItsStatus(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	refuse := func(body map[string]any, status int, code breakglass.Code, detail string) {
		t.Helper()
		got := s.login(t, body)
		require.Equal(t, status, got.status, "%s", got.body)
		assert.Equal(t, code, got.problem().Code)
		assert.Contains(t, string(got.body), detail)
		if status == 401 {
			assert.Equal(t, `Bearer realm="breakglass"`, got.header.Get("WWW-Authenticate"))
		}
	}
	used := proof(s.challenge(t))
	require.Equal(t, 200, s.login(t, used).status)
	refuse(used, 401, breakglass.CodeUnauthenticated, "used before")
	before := a.asked.Load()
	refuse(proof("x"), 401, breakglass.CodeUnauthenticated, "nonce")
	relayed := proof(s.challenge(t))
	relayed["server"] = "evil.example\u202e"
	refuse(relayed, 422, breakglass.CodeInvalidRequest, "server")
	relayed["server"] = "evil.example"
	refuse(relayed, 401, breakglass.CodeUnauthenticated, `\"evil.example\"`)
	refuse(map[string]any{"server": "127.0.0.1"}, 422, breakglass.CodeInvalidRequest, "authorization")
	assert.Equal(t, before, a.asked.Load(), "STS isn't asked about what is wrong already")
	a.says("arn:aws:sts::123456789012:assumed-role/Other/i-1")
	refuse(proof(s.challenge(t)), 403, breakglass.CodeForbidden, "arn:aws:sts::123456789012:assumed-role/Other/i-1")
	a.says("")
	refuse(proof(s.challenge(t)), 503, breakglass.CodeUnavailable, "another way in")
	assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/v1/whoami", as: alice}).status, "other ways in are not affected")
	assert.Empty(t, s.entries(t), "strangers can't write to the audit trail")
	// The cause is in the log, and no part of a proof.
	assert.Contains(t, s.log.String(), "the nonce was used before")
	assert.NotContains(t, s.log.String(), strings.Repeat("0a", 32))
}

func TestWhoIsDeniedGetsNoSession(t *testing.T) {
	a := newAWS(t, strings.ToUpper(alice))
	s := start(t, options{awsLogin: a})
	got := s.login(t, proof(s.challenge(t)))
	require.Equal(t, http.StatusForbidden, got.status)
	assert.Contains(t, string(got.body), "auth.denied")
}

// Readers that take the last of two fields, or any case of a name, made forged
// logins out of genuine ones elsewhere.
func TestABodyThatCanBeReadInTwoWaysIsNoLogin(t *testing.T) {
	a := newAWS(t)
	s := start(t, options{awsLogin: a})
	for name, change := range map[string]func(string) string{
		"a field twice":           func(b string) string { return strings.Replace(b, "{", `{"nonce":"x",`, 1) },
		"a field in another case": func(b string) string { return strings.Replace(b, "{", `{"Nonce":"x",`, 1) },
		"another case alone":      func(b string) string { return strings.Replace(b, `"nonce"`, `"Nonce"`, 1) },
		"an escaped name twice":   func(b string) string { return strings.Replace(b, "{", `{"\u006eonce":"x",`, 1) },
		"an unknown field":        func(b string) string { return strings.Replace(b, "{", `{"headers":{},`, 1) },
		"a list":                  func(b string) string { return strings.Replace(b, `"127.0.0.1"`, `["127.0.0.1"]`, 1) },
		"null":                    func(b string) string { return strings.Replace(b, "{", `{"security_token":null,`, 1) },
	} {
		b, err := json.Marshal(proof(s.challenge(t)))
		require.NoError(t, err)
		got := s.call(t, request{method: "POST", path: "/v1/login/aws", body: change(string(b))})
		assert.Equal(t, 422, got.status, name)
	}
	b, err := json.Marshal(proof(s.challenge(t)))
	require.NoError(t, err)
	for query, status := range map[string]int{"?": 200, "?nonce=x": 422, "?Action=AssumeRole": 422} {
		assert.Equal(t, status, s.call(t, request{method: "POST", path: "/v1/login/aws" + query, body: string(b)}).status, query)
	}
	assert.EqualValues(t, 1, a.asked.Load())
	// What isn't a request at all.
	for path, want := range map[string]int{"/v1/login/aws": 400, "/v1/login/aws/challenge": 400} {
		assert.Equal(t, want, s.call(t, request{method: "POST", path: path, body: "{"}).status)
		assert.Equal(t, 413, s.call(t, request{method: "POST", path: path, body: `{"x":"` + strings.Repeat("x", 70<<10) + `"}`}).status)
		assert.Equal(t, 415, s.call(t, request{method: "POST", path: path, body: "{}", contentType: "text/plain"}).status)
		assert.Equal(t, 422, s.call(t, request{method: "POST", path: path, body: `{"x":1}`}).status)
		assert.Equal(t, 405, s.call(t, request{method: "GET", path: path}).status)
	}
	a.panics = true
	assert.Equal(t, 500, s.login(t, proof("x")).status)
	assert.Equal(t, 500, s.call(t, request{method: "POST", path: "/v1/login/aws/challenge"}).status)
}
