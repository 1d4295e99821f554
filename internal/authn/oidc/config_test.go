package oidc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestEveryFaultOfTheIssuersIsReportedAtOnce(t *testing.T) {
	long, negative := yamlDuration(time.Hour), yamlDuration(-time.Second)
	got := map[string]string{}
	for _, p := range Validate([]Config{
		{},
		{Issuer: "http://login.example.com", Audiences: []string{"a", ""}, UsernameClaim: "sub", Algorithms: []string{"RS256", "none", "HS256"}, ClockSkew: &long, KeysKept: 1},
		{Issuer: "https://login.example.com", Name: "x", Audiences: []string{"a"}, UsernameClaim: "sub", NamePrefix: ":sys", ClockSkew: &negative,
			Login: &Login{ClientID: "bgctl", Scopes: []string{"email", "a b"}, Token: "refresh_token"}},
		{Issuer: "https://login.example.com", Name: "x", Audiences: []string{"a"}, UsernameClaim: "sub", GroupPrefix: "a\n", RequiredClaims: map[string]string{"x": ""}, Login: &Login{}},
		{Issuer: "https://me@login.example.com?x=y", Audiences: []string{"a"}, UsernameClaim: "sub", MFA: &MFA{}},
		{Issuer: "https://two.example.com", Audiences: []string{"a"}, UsernameClaim: "sub", MFA: &MFA{AMR: []string{"pwd", ""}, ACR: []string{""}}},
	}) {
		got[p.Path] += p.Message
	}
	for path, want := range map[string]string{
		"[0].issuer": "is required", "[0].audiences": "is required", "[0].username_claim": "is required",
		"[1].issuer": "https://", "[1].audiences[1]": "empty", "[1].algorithms[1]": `"none" is not accepted`, "[1].algorithms[2]": `"HS256" is not accepted`,
		"[1].clock_skew": "10m", "[1].keys_kept": "1m",
		"[2].name_prefix": "colon", "[2].clock_skew": "from 0s", "[2].login.scopes": "openid", "[2].login.scopes[1]": "is not a scope", "[2].login.token": "id_token or access_token",
		"[3].issuer": "is also that of [2]", "[3].name": "is also that of [2]", "[3].group_prefix": "control", "[3].required_claims": "name and a value",
		"[3].login.client_id": "empty", "[3].audiences": "must hold login.client_id", "[4].issuer": "no user, query",
		"[4].mfa": "needs a value", "[5].mfa.amr": "must not hold pwd", "[5].mfa.amr[1]": "empty", "[5].mfa.acr[0]": "empty",
	} {
		assert.Contains(t, got[path], want, path)
		delete(got, path)
	}
	assert.Empty(t, got)
}

func TestPlainHTTPIsForLoopbackAlone(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/realms/x": true, "http://127.0.0.1:5556": true, "http://localhost:5556/dex": true, "http://[::1]:1": true,
		"http://127.0.0.1.example.com": false, "http://10.0.0.1": false, "ftp://127.0.0.1": false, "login.example.com": false, "https://": false, "https://x#y": false,
	} {
		assert.Equal(t, ok, CheckIssuer(issuer) == "", issuer)
	}
}
