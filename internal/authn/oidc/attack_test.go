package oidc

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// refused wants a token to be refused as invalid, and its content in no text
// that a caller sees. It returns that text.
func (w *world) refused(t *testing.T, token string) (message string) {
	t.Helper()
	who, err := w.Token(t, token)
	require.Error(t, err, "accepted as %v", who)
	assert.Zero(t, who)
	e := breakglass.AsError(err)
	assert.Equal(t, breakglass.CodeUnauthenticated, e.Code, "%v", err)
	require.ErrorIs(t, err, authn.ErrInvalidCredentials)
	assert.NotContains(t, e.Message, "alice")
	return e.Message
}

func TestAGoodTokenNamesItsOwner(t *testing.T) {
	w := newWorld(t)
	who, err := w.Token(t, w.token(t, map[string]any{"amr": []string{"pwd", "otp"}, "acr": "gold", "auth_time": w.clock.Now().Unix()}))
	require.NoError(t, err)
	assert.Equal(t, authn.Identity{Name: "alice@example.com", Groups: []string{"oncall", "db", "oncall"},
		Via:       breakglass.Via{Method: breakglass.MethodOIDC, Source: w.issuer.URL + "#7"},
		Assurance: breakglass.Assurance{Methods: []string{"pwd", "otp"}, Class: "gold", At: w.clock.Now().Truncate(time.Second)}}, who)

	who, err = w.Token(t, w.token(t, map[string]any{"groups": "security", "amr": 7, "acr": []string{"gold"}, "auth_time": "now"}))
	require.NoError(t, err)
	assert.Equal(t, []string{"security"}, who.Groups)
	assert.Zero(t, who.Assurance, "what is malformed proves nothing")
}

func TestOnlyConfiguredValuesStandForASecondFactor(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MFA = &MFA{AMR: []string{"otp", "hwk"}, ACR: []string{"gold"}} })
	for name, tc := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"none": {nil, ""}, "amr": {map[string]any{"amr": []string{"pwd", "otp"}}, "otp"}, "one amr as a string": {map[string]any{"amr": "hwk"}, "hwk"},
		"acr": {map[string]any{"acr": "gold"}, "gold"}, "others": {map[string]any{"amr": []string{"pwd", "OTP", "otp "}, "acr": "silver"}, ""},
		"in the wrong claim": {map[string]any{"amr": []string{"gold"}, "acr": "otp"}, ""}, "empty": {map[string]any{"amr": []string{""}, "acr": ""}, ""},
		"a list for acr":   {map[string]any{"acr": []string{"gold"}}, ""},
		"a list in a list": {map[string]any{"amr": []any{[]string{"otp"}}}, ""},
		"an object":        {map[string]any{"amr": map[string]any{"otp": true}}, ""},
	} {
		who, err := w.Token(t, w.token(t, tc.claims))
		require.NoError(t, err, name)
		assert.Equal(t, tc.want, who.Assurance.Factor, name)
	}
	w = newWorld(t)
	who, err := w.Token(t, w.token(t, map[string]any{"amr": []string{"otp"}, "acr": "gold"}))
	require.NoError(t, err)
	assert.Empty(t, who.Assurance.Factor, "by default none does")
}

// The name can pass to another account; the record says which one it was.
func TestTheAccountOfATokenIsPartOfHowItsOwnerCame(t *testing.T) {
	w := newWorld(t)
	for sub, want := range map[string]string{
		"00u1a2b3c4": "#00u1a2b3c4", "repo:example/infra:ref:refs/heads/main": "#repo:example/infra:ref:refs/heads/main",
		"a b%\n\u202e#é": "#a%20b%25%0A%E2%80%AE#%C3%A9", strings.Repeat("x", 256): "",
	} {
		who, err := w.Token(t, w.token(t, map[string]any{"sub": sub}))
		require.NoError(t, err)
		if len(sub) > 255 {
			assert.Regexp(t, "^oidc:"+w.issuer.URL+"#sha256:[0-9a-f]{64}$", who.Via.String())
			continue
		}
		assert.Equal(t, "oidc:"+w.issuer.URL+want, who.Via.String())
	}
	who, err := w.Token(t, w.token(t, map[string]any{"sub": nil}))
	require.NoError(t, err)
	assert.Equal(t, "oidc:"+w.issuer.URL, who.Via.String())
	for _, bad := range []any{"", 7, []string{"7"}, json.RawMessage("null")} {
		w.refused(t, w.token(t, map[string]any{"sub": bad}))
	}
}

func TestAttackUnsignedToken(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Algorithms = []string{"RS256", "ES256"} })
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		header := fmt.Sprintf(`{"alg":%q,"kid":"one"}`, alg)
		input := b64([]byte(header)) + "." + b64([]byte(w.claimsWith(nil)))
		good := strings.Split(w.token(t, nil), ".")
		w.refused(t, input+".")
		w.refused(t, input+"."+good[2])
		w.refused(t, good[0]+"."+good[1]+".")
	}
}

// The public key is public: a server that took its bytes for an HMAC secret
// would accept what anybody signs.
func TestAttackHMACWithThePublicKey(t *testing.T) {
	w := newWorld(t)
	der, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	require.NoError(t, err)
	jwk, err := jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "one"}.MarshalJSON()
	require.NoError(t, err)
	for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), jwk, nil} {
		for _, alg := range []string{"HS256", "RS256", "hs256"} {
			w.refused(t, signHMAC(secret, fmt.Sprintf(`{"alg":%q,"kid":"one"}`, alg), w.claimsWith(nil)))
		}
	}
}

// A symmetric or private key in the key set must not become one that tokens
// are checked with.
func TestAttackKeySetWithOtherKindsOfKeys(t *testing.T) {
	w := newWorld(t)
	short, err := jose.JSONWebKey{Key: shortRSAKey().Public(), KeyID: "short"}.MarshalJSON()
	require.NoError(t, err)
	encryption, err := jose.JSONWebKey{Key: otherRSAKey().Public(), KeyID: "enc", Use: "enc"}.MarshalJSON()
	require.NoError(t, err)
	private, err := jose.JSONWebKey{Key: otherRSAKey(), KeyID: "private"}.MarshalJSON()
	require.NoError(t, err)
	w.issuer.set(func(i *testIssuer) {
		i.extra = []json.RawMessage{json.RawMessage(`{"kty":"oct","kid":"oct","k":"c2VjcmV0"}`), short, encryption, private, json.RawMessage(`{"kty":"strange"}`), json.RawMessage(`7`)}
	})
	w.clock.advance(retryEvery)
	w.refused(t, signHMAC([]byte("secret"), `{"alg":"HS256","kid":"oct"}`, w.claimsWith(nil)))
	w.refused(t, sign(t, shortRSAKey(), `{"alg":"RS256","kid":"short"}`, w.claimsWith(nil)))
	w.refused(t, sign(t, otherRSAKey(), `{"alg":"RS256","kid":"enc"}`, w.claimsWith(nil)))
	w.refused(t, sign(t, otherRSAKey(), `{"alg":"RS256","kid":"private"}`, w.claimsWith(nil)))
	assert.Equal(t, 2, w.issuer.count(), "the set was fetched again")
	_, err = w.Token(t, w.token(t, nil))
	require.NoError(t, err, "odd keys don't spoil the set")
}

func TestAttackAlgorithmThatIsNotConfigured(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Algorithms = []string{"ES256"} })
	ec := newEC(t)
	w.issuer.set(func(i *testIssuer) { i.keys = map[string]crypto.Signer{"one": rsaKey(), "ec": ec} })
	w.clock.advance(retryEvery)
	token := sign(t, ec, `{"alg":"ES256","kid":"ec"}`, w.claimsWith(nil))
	_, err := w.Token(t, token)
	require.NoError(t, err)
	w.refused(t, w.token(t, nil))
	w.refused(t, sign(t, ec, `{"alg":"RS256","kid":"ec"}`, w.claimsWith(nil)))
	w.refused(t, sign(t, rsaKey(), `{"alg":"ES256","kid":"one"}`, w.claimsWith(nil)))
}

func TestAttackOtherAudience(t *testing.T) {
	w := newWorld(t)
	for name, aud := range map[string]any{
		"another server": "breakglass-staging", "none": nil, "empty": "", "empty list": []string{}, "null": json.RawMessage("null"),
		"prefix": "breakglas", "longer": "breakglass ", "other case": "Breakglass", "list of others": []string{"a", "b"},
		"nested list": []any{[]string{"breakglass"}}, "object": map[string]string{"aud": "breakglass"}, "number": 7, "with a number": []any{"breakglass", 7},
		"with null": []any{"breakglass", nil}, "joined": "breakglass,other",
	} {
		t.Run(name, func(t *testing.T) { w.refused(t, w.token(t, map[string]any{"aud": aud})) })
	}
}

// A token for several services may have been asked for by any of them.
func TestAttackTokenOfSeveralAudiencesAskedForBySomebodyElse(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Login = &Login{ClientID: "bgctl", Token: AccessToken} })
	several := []string{"wiki", "breakglass"}
	w.refused(t, w.token(t, map[string]any{"aud": several}))
	for _, azp := range []any{"wiki", "", 7, []string{"breakglass"}, "breakglass2"} {
		w.refused(t, w.token(t, map[string]any{"aud": several, "azp": azp}))
	}
	for _, azp := range []string{"breakglass", "bgctl"} {
		_, err := w.Token(t, w.token(t, map[string]any{"aud": several, "azp": azp}))
		assert.NoError(t, err)
	}
	narrow := newWorld(t, func(c *Config) { c.AuthorizedParties = []string{"bgctl"} })
	for _, azp := range []any{nil, "wiki", "breakglass"} {
		narrow.refused(t, narrow.token(t, map[string]any{"azp": azp}))
	}
	_, err := narrow.Token(t, narrow.token(t, map[string]any{"azp": "bgctl"}))
	assert.NoError(t, err)
}

func TestAttackOtherIssuer(t *testing.T) {
	w := newWorld(t)
	for _, iss := range []any{"https://login.example.com", w.issuer.URL + "/", strings.ToUpper(w.issuer.URL), "", nil, 7, []string{w.issuer.URL}, w.issuer.URL + "#"} {
		w.refused(t, w.token(t, map[string]any{"iss": iss}))
	}
}

// Each issuer's tokens are checked with its own keys and by its own rules.
func TestAttackOneConfiguredIssuerSpeaksForAnother(t *testing.T) {
	w := newWorld(t)
	ci := newTestIssuer(t)
	ci.set(func(i *testIssuer) { i.keys = map[string]crypto.Signer{"one": otherRSAKey()} })
	both, err := New(t.Context(), []Config{
		{Issuer: w.issuer.URL, Audiences: []string{"breakglass"}, UsernameClaim: "email"},
		{Issuer: ci.URL, Audiences: []string{"breakglass"}, UsernameClaim: "email", NamePrefix: "ci:"},
	}, Deps{Now: w.clock.Now})
	require.NoError(t, err)
	t.Cleanup(func() { _ = both.Close() })
	forged := sign(t, otherRSAKey(), rs256, w.claimsWith(nil))
	_, err = verify(t, both, forged)
	require.ErrorIs(t, err, errBadSign)
	who, err := verify(t, both, sign(t, otherRSAKey(), rs256, w.claimsWith(map[string]any{"iss": ci.URL})))
	require.NoError(t, err)
	assert.Equal(t, "ci:alice@example.com", who.Name, "the prefix keeps one issuer's names out of another's")
}

func TestAttackExpiredToken(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	for exp, ok := range map[any]bool{
		now.Add(time.Second).Unix(): true, now.Unix(): true, now.Add(-59 * time.Second).Unix(): true,
		now.Add(-60 * time.Second).Unix(): false, now.Add(-time.Hour).Unix(): false, 0: false, -1: false, "2027": false,
		json.Number("1e300"): false, json.Number("99999999999999999999"): false,
	} {
		_, err := w.Token(t, w.token(t, map[string]any{"exp": exp}))
		assert.Equal(t, ok, err == nil, "exp %v at %d: %v", exp, now.Unix(), err)
	}
	w.refused(t, w.token(t, map[string]any{"exp": nil}))
	w.refused(t, w.token(t, map[string]any{"exp": json.RawMessage("null")}))
	assert.Contains(t, w.refused(t, w.token(t, map[string]any{"exp": now.Add(-time.Hour).Unix()})), "expired")
	exact := newWorld(t, func(c *Config) { c.ClockSkew = new(yamlDuration) })
	exact.refused(t, exact.token(t, map[string]any{"exp": exact.clock.Now().Unix()}))
}

func TestAttackTokenFromTheFuture(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	for _, claim := range []string{"iat", "nbf"} {
		for at, ok := range map[time.Duration]bool{0: true, 60 * time.Second: true, 61 * time.Second: false, time.Hour: false} {
			_, err := w.Token(t, w.token(t, map[string]any{claim: now.Add(at).Unix()}))
			assert.Equal(t, ok, err == nil, "%s in %s: %v", claim, at, err)
		}
		w.refused(t, w.token(t, map[string]any{claim: "now"}))
	}
	w.refused(t, w.token(t, map[string]any{"iat": nil}))
}

func TestAttackUnknownKey(t *testing.T) {
	w := newWorld(t)
	w.clock.advance(retryEvery)
	for range 50 {
		w.refused(t, sign(t, otherRSAKey(), `{"alg":"RS256","kid":"mine"}`, w.claimsWith(nil)))
	}
	assert.Equal(t, 2, w.issuer.count(), "a caller can't make the server flood the issuer")
	w.refused(t, sign(t, otherRSAKey(), rs256, w.claimsWith(nil)))
	w.refused(t, sign(t, otherRSAKey(), `{"alg":"RS256"}`, w.claimsWith(nil)))
	assert.Equal(t, 2, w.issuer.count(), "a wrong signature is no reason to fetch keys")
	_, err := w.Token(t, sign(t, rsaKey(), `{"alg":"RS256"}`, w.claimsWith(nil)))
	assert.NoError(t, err, "an issuer that names no key has its keys tried")
}

func TestAttackKidThatIsNoName(t *testing.T) {
	w := newWorld(t)
	for _, kid := range []string{`"../../../../dev/null"`, `"' OR 1=1 --"`, `"one\u0000"`, `"http://169.254.169.254/key"`, `["one"]`, `{"one":1}`, `7`,
		`"` + strings.Repeat("k", maxKid+1) + `"`} {
		w.refused(t, sign(t, otherRSAKey(), `{"alg":"RS256","kid":`+kid+`}`, w.claimsWith(nil)))
	}
	asked := w.issuer.count()
	w.clock.advance(retryEvery)
	w.refused(t, sign(t, rsaKey(), `{"alg":"RS256","kid":"`+strings.Repeat("k", maxKid+1)+`"}`, w.claimsWith(nil)))
	assert.Equal(t, asked, w.issuer.count(), "no issuer is asked for such a key")
	w.refused(t, sign(t, rsaKey(), `{"alg":"RS256","Kid":"one","kid":"two"}`, w.claimsWith(nil)))
}

// A token brings the key that it is signed with.
func TestAttackTokenWithItsOwnKey(t *testing.T) {
	w := newWorld(t)
	evil := newTestIssuer(t)
	evil.set(func(i *testIssuer) { i.keys = map[string]crypto.Signer{"one": otherRSAKey()} })
	jwk, err := jose.JSONWebKey{Key: otherRSAKey().Public(), KeyID: "one"}.MarshalJSON()
	require.NoError(t, err)
	for _, field := range []string{`"jwk":` + string(jwk), `"jku":"` + evil.URL + `/keys"`, `"x5u":"` + evil.URL + `"`, `"x5c":["AAAA"]`, `"crit":["b64"],"b64":false`} {
		w.refused(t, sign(t, otherRSAKey(), `{"alg":"RS256","kid":"one",`+field+`}`, w.claimsWith(nil)))
	}
	for _, field := range []string{`"jwk":` + string(jwk), `"jku":"` + evil.URL + `/keys"`, `"x5u":"` + evil.URL + `"`, `"crit":["b64"],"b64":true`, `"crit":[]`} {
		w.refused(t, sign(t, rsaKey(), `{"alg":"RS256","kid":"one",`+field+`}`, w.claimsWith(nil)))
	}
	assert.Zero(t, evil.count())
}

func TestAttackTokenOfAnotherType(t *testing.T) {
	w := newWorld(t)
	for typ, ok := range map[string]bool{"JWT": true, "at+jwt": true, "application/at+jwt": true, "AT+JWT": true,
		"logout+jwt": false, "dpop+jwt": false, "secevent+jwt": false, "JOSE": false} {
		_, err := w.Token(t, sign(t, rsaKey(), `{"alg":"RS256","kid":"one","typ":"`+typ+`"}`, w.claimsWith(nil)))
		assert.Equal(t, ok, err == nil, typ)
	}
}

func TestAttackOversizedToken(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, map[string]any{"padding": ""})
	room := (authn.MaxJWT - len(token)) / 4 * 3
	_, err := w.Token(t, w.token(t, map[string]any{"padding": strings.Repeat("x", room-3)}))
	assert.NoError(t, err)
	w.refused(t, w.token(t, map[string]any{"padding": strings.Repeat("x", room+6)}))
	many := make([]string, maxGroups+1)
	for i := range many {
		many[i] = "g"
	}
	w.refused(t, w.token(t, map[string]any{"groups": many}))
}

func TestAttackDuplicateClaims(t *testing.T) {
	w := newWorld(t)
	good := w.claimsWith(nil)
	for _, again := range []string{`"email":"sam@example.com"`, `"iss":"` + w.issuer.URL + `"`, `"aud":"breakglass"`, `"exp":9999999999`, `"x":{"a":1,"a":2}`, `"x":[{"a":1,"a":1}]`,
		`"\u0065mail":"sam@example.com"`} {
		w.refused(t, sign(t, rsaKey(), rs256, `{`+again+`,`+good[1:]))
		w.refused(t, sign(t, rsaKey(), rs256, good[:len(good)-1]+`,`+again+`}`))
	}
	w.refused(t, sign(t, rsaKey(), `{"alg":"RS256","kid":"one","alg":"RS256"}`, good))
	// Names are exact: another case is another claim.
	w.refused(t, sign(t, rsaKey(), rs256, strings.Replace(good, `"email"`, `"Email"`, 1)))
	who, err := w.Token(t, sign(t, rsaKey(), rs256, `{"EMAIL":"sam@example.com",`+good[1:]))
	require.NoError(t, err)
	assert.Equal(t, "alice@example.com", who.Name)
}

func TestAttackNestedClaims(t *testing.T) {
	w := newWorld(t)
	for _, groups := range []string{`[["oncall"]]`, `[{"name":"oncall"}]`, `{"oncall":true}`, `["oncall",7]`, `["oncall",null]`, `true`, `7`,
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000), strings.Repeat("[", 20) + strings.Repeat("]", 20)} {
		token := sign(t, rsaKey(), rs256, strings.Replace(w.claimsWith(map[string]any{"groups": "@"}), `"@"`, groups, 1))
		w.refused(t, token)
	}
	for _, email := range []any{[]string{"alice@example.com"}, map[string]string{"a": "b"}, 7, true, nil, json.RawMessage("null"), "", " alice", "al\u202eice", "al\nice",
		strings.Repeat("a", 400), ":system"} {
		w.refused(t, w.token(t, map[string]any{"email": email}))
	}
	deep := `"x":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	w.refused(t, sign(t, rsaKey(), rs256, `{`+deep+`,`+w.claimsWith(nil)[1:]))
}

func TestPrefixesKeepTheGroupsOfAnIssuerApart(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.GroupPrefix = "sso:" })
	who, err := w.Token(t, w.token(t, map[string]any{"groups": []string{"oncall", "db"}}))
	require.NoError(t, err)
	assert.Equal(t, []string{"sso:oncall", "sso:db"}, who.Groups)
	none := newWorld(t, func(c *Config) { c.GroupsClaim = "" })
	who, err = none.Token(t, none.token(t, nil))
	require.NoError(t, err)
	assert.Empty(t, who.Groups)
}

func TestRequiredClaimsAreExact(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.RequiredClaims = map[string]string{"workflow_ref": "example/infra/.github/workflows/restore.yaml@refs/heads/main", "protected": "true"}
	})
	good := map[string]any{"workflow_ref": "example/infra/.github/workflows/restore.yaml@refs/heads/main", "protected": true}
	_, err := w.Token(t, w.token(t, good))
	require.NoError(t, err)
	assert.Contains(t, w.refused(t, w.token(t, map[string]any{"workflow_ref": "secret-branch", "protected": true})), `"workflow_ref"`, "whoever has the token may know which claim it was")
	assert.NotContains(t, w.refused(t, w.token(t, map[string]any{"workflow_ref": "secret-branch"})), "restore.yaml", "but not what it should be")
	for name, bad := range map[string]map[string]any{
		"none": {}, "only one": {"protected": true},
		"other branch":  {"workflow_ref": "example/infra/.github/workflows/restore.yaml@refs/heads/main2", "protected": true},
		"in a list":     {"workflow_ref": []any{good["workflow_ref"]}, "protected": true},
		"false":         {"workflow_ref": good["workflow_ref"], "protected": false},
		"list of trues": {"workflow_ref": good["workflow_ref"], "protected": []bool{true}},
		"null":          {"workflow_ref": good["workflow_ref"], "protected": nil},
	} {
		t.Run(name, func(t *testing.T) { w.refused(t, w.token(t, bad)) })
	}
}

// The signature and the audience were checked: whoever holds the token may
// know why their name isn't taken, as docs/security.md says.
func TestARefusedNameSaysWhatIsWrongWithIt(t *testing.T) {
	w := newWorld(t)
	for name, want := range map[string]string{
		"\u0430lice@example.com": "must not mix letters of several scripts",
		"al\u202eice":            "must not contain control or invisible characters",
		"a  b":                   "must not contain two spaces in a row",
		"":                       "must not be empty",
		":system":                "begin with a colon",
	} {
		message := w.refused(t, w.token(t, map[string]any{"email": name}))
		assert.Contains(t, message, want)
		assert.Contains(t, message, `"email"`)
	}
	assert.Contains(t, w.refused(t, w.token(t, map[string]any{"email": nil})), `in the claim "email"`)
	// Another's token explains nothing.
	assert.NotContains(t, w.refused(t, w.token(t, map[string]any{"email": "a  b", "aud": "other"})), "spaces")
	assert.NotContains(t, w.refused(t, sign(t, otherRSAKey(), rs256, w.claimsWith(map[string]any{"email": "a  b"}))), "spaces")
}

func TestAnAddressThatIsNotVerifiedIsNoName(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []any{nil, false, "false", "", 1, json.RawMessage("null"), []bool{true}} {
		w.refused(t, w.token(t, map[string]any{"email_verified": bad}))
	}
	for _, good := range []any{true, "true"} {
		_, err := w.Token(t, w.token(t, map[string]any{"email_verified": good}))
		assert.NoError(t, err)
	}
	trusting := newWorld(t, func(c *Config) { c.EmailVerified = NotRequired })
	_, err := trusting.Token(t, trusting.token(t, map[string]any{"email_verified": nil}))
	assert.NoError(t, err)
	require.Len(t, Warnings([]Config{{EmailVerified: NotRequired}}), 1)
	assert.Contains(t, Warnings([]Config{{EmailVerified: NotRequired}})[0], "auth.oidc[0].email_verified is not_required")
	assert.Empty(t, Warnings([]Config{{}}))
}

func TestAttackTokenForAnotherPurpose(t *testing.T) {
	w := newWorld(t)
	for claim, values := range map[string][]any{
		"events": {map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}, json.RawMessage("null")},
		"cnf":    {map[string]any{"jkt": "x"}, map[string]any{}},
		"act":    {map[string]any{"sub": "robot"}},
		"typ":    {"Refresh", "Offline", "Logout", "logout", []string{"Refresh"}, 7},
	} {
		for _, value := range values {
			w.refused(t, w.token(t, map[string]any{claim: value}))
		}
	}
	for _, good := range []string{"Bearer", "ID"} {
		_, err := w.Token(t, w.token(t, map[string]any{"typ": good}))
		assert.NoError(t, err)
	}
}

func TestTokensThatAreGoodForTooLongAreRefused(t *testing.T) {
	for limit, most := range map[time.Duration]time.Duration{0: 24 * time.Hour, time.Hour: time.Hour} {
		w := newWorld(t, func(c *Config) { c.MaxLifetime = yamlDuration(limit) })
		_, err := w.Token(t, w.token(t, map[string]any{"exp": w.clock.Now().Add(most).Unix()}))
		assert.NoError(t, err)
		assert.Contains(t, w.refused(t, w.token(t, map[string]any{"exp": w.clock.Now().Add(most + time.Second).Unix()})), "longer")
	}
}

func TestTokensThatAreNone(t *testing.T) {
	w := newWorld(t)
	good := w.token(t, nil)
	parts := strings.Split(good, ".")
	for _, token := range []string{"", ".", "..", "...", "a.b.c", good + ".", "." + good, good + "=", parts[0] + "." + parts[1], parts[0] + "." + parts[1] + "." + parts[2] + "." + parts[2],
		parts[0] + "." + parts[1] + "=." + parts[2], parts[0] + "." + parts[2] + "." + parts[1], b64([]byte("[]")) + "." + parts[1] + "." + parts[2],
		b64([]byte("null")) + "." + parts[1] + "." + parts[2], parts[0] + "." + b64([]byte("null")) + "." + parts[2], b64([]byte(rs256+"{}")) + "." + parts[1] + "." + parts[2],
		`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`} {
		w.refused(t, token)
	}
	flipped := []byte(good)
	flipped[len(parts[0])+10] ^= 1
	w.refused(t, string(flipped))
}
