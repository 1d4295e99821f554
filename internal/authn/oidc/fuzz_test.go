package oidc

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// FuzzClaims holds the mapping of claims to a principal against what any other
// reader of the same JSON sees.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{
		`{"iss":"https://i","aud":"breakglass","email":"alice@example.com","email_verified":true,"groups":["a","b"],"iat":1,"exp":100,"amr":["otp"],"auth_time":5}`,
		`{"iss":"https://i","aud":["breakglass","x"],"azp":"breakglass","email":"a","email_verified":"true","groups":"g","iat":1.5,"nbf":2,"exp":1e2,"r":"v"}`,
		`{"email":"a","email":"b"}`, `{"groups":[["a"]]}`, `[]`, `{"exp":1e999}`, `{"a":{"b":[{"c":null}]}}`, "{\"\xff\":1}", `{"Iss":"https://i"}`,
	} {
		f.Add([]byte(s))
	}
	cfg := Config{Issuer: "https://i", Audiences: []string{"breakglass"}, UsernameClaim: "email", GroupsClaim: "groups", NamePrefix: "p:", RequiredClaims: map[string]string{"r": "v"}}
	now := time.Unix(50, 0)
	f.Fuzz(func(t *testing.T, data []byte) {
		cl, err := decodeClaims(data)
		if err != nil {
			return
		}
		id, err := cfg.accept(cl, now)
		if err != nil {
			return
		}
		var plain map[string]any
		if err := json.Unmarshal(data, &plain); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		if plain["iss"] != "https://i" || plain["r"] != "v" || id.Name != "p:"+plain["email"].(string) || plain["exp"].(float64) < -10 {
			t.Fatalf("%s became %+v", data, id)
		}
		if problem := breakglass.CheckName(id.Name); problem != "" || strings.HasPrefix(id.Name, ":") {
			t.Fatalf("%q %s", id.Name, problem)
		}
		if list, ok := plain["groups"].([]any); ok && len(list) != len(id.Groups) {
			t.Fatalf("%s has the groups %q", data, id.Groups)
		}
	})
}

// FuzzToken feeds whole tokens to everything that looks at them before their
// signature.
func FuzzToken(f *testing.F) {
	f.Add(b64([]byte(rs256)) + "." + b64([]byte(`{"iss":"https://i"}`)) + ".AAAA")
	f.Add("eyJ..")
	f.Fuzz(func(t *testing.T, token string) {
		issuer, err := open(token)
		if err == nil && (strings.Count(token, ".") != 2 || len(token) > authn.MaxJWT) {
			t.Fatalf("%q is taken for a token of %q", token, issuer)
		}
	})
}
