package awsproof

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheRegionIsOneThatTheServerOffersAndReallyARegion(t *testing.T) {
	for name, tc := range map[string]struct {
		wanted, own string
		offered     []string
		region, err string
	}{
		"wanted":              {"eu-west-1", "us-east-1", []string{"us-east-1", "eu-west-1"}, "eu-west-1", ""},
		"the profile's":       {"", "eu-west-1", []string{"us-east-1", "eu-west-1"}, "eu-west-1", ""},
		"the first":           {"", "ap-south-1", []string{"us-east-1", "eu-west-1"}, "us-east-1", ""},
		"wanted in vain":      {"ap-south-1", "", []string{"us-east-1"}, "", "only in us-east-1"},
		"a host for a Region": {"", "", []string{"us-east-1.evil.example#"}, "", "no AWS Region"},
		"wanted, and a host":  {"evil.example/", "", []string{"evil.example/"}, "", "no AWS Region"},
	} {
		got, err := Identity{region: tc.own}.Region(tc.wanted, tc.offered)
		assert.Equal(t, tc.region, got, name)
		if tc.err != "" {
			assert.ErrorContains(t, err, tc.err, name)
		}
	}
}

func TestAProofHoldsNoSecretAndSignsServerAndNonce(t *testing.T) {
	id := Identity{creds: aws.Credentials{AccessKeyID: "ASIAEXAMPLEEXAMPLE00", SecretAccessKey: "the-secret-key", SessionToken: "the-session-token"}}
	at := time.Date(2026, 3, 2, 2, 4, 5, 0, time.UTC)
	prove := func(host, nonce, region string) string {
		p, err := id.Prove(t.Context(), host, nonce, region, at)
		require.NoError(t, err)
		assert.Equal(t, []string{host, nonce, "20260302T020405Z", "the-session-token"}, []string{p.Server, p.Nonce, p.Date, p.SecurityToken})
		assert.NotContains(t, p.Authorization, "the-secret-key")
		assert.Contains(t, p.Authorization, "SignedHeaders=content-length;host;x-amz-date;x-amz-security-token;x-breakglass-nonce;x-breakglass-server,")
		_, signature, _ := strings.Cut(p.Authorization, "Signature=")
		return signature
	}
	seen := map[string]bool{}
	for _, c := range [][3]string{{"a", "n", "us-east-1"}, {"b", "n", "us-east-1"}, {"a", "m", "us-east-1"}, {"a", "n", "cn-north-1"}} {
		signature := prove(c[0], c[1], c[2])
		assert.Len(t, signature, 64)
		assert.False(t, seen[signature], "the signature covers all of it")
		seen[signature] = true
	}
}
