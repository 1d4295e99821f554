package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withAuth is the example with more ways in.
func withAuth(t *testing.T, lines string) (config string) {
	t.Helper()
	return installed(t, func(_, text string) string { return strings.Replace(text, "\nauth:\n", "\nauth:\n"+lines, 1) })
}

const issuers = `  oidc:
    - issuer: https://login.example.com
      audiences: [breakglass]
      username_claim: sub
`

func TestCheckWarnsOfFoldersThatTheServerWouldMiss(t *testing.T) {
	config := installed(t, func(file, text string) string {
		return strings.NewReplacer("/breakglass.db", "/data/breakglass.db", "/audit.jsonl", "/trail/audit.jsonl").Replace(text)
	})
	warnings, err := Check(config)
	require.NoError(t, err)
	require.Len(t, warnings, 2)
	assert.Regexp(t, `: warning: store\.sqlite\.path: lies in \S+/data, which doesn't exist`, warnings[0])
	assert.Regexp(t, `: warning: audit\.file: lies in \S+/trail, which doesn't exist`, warnings[1])
}

func TestCheckReportsEveryFaultOfAnIssuerAtOnce(t *testing.T) {
	config := withAuth(t, issuers+"      ca_file: gone.pem\n      clock_skew: 11m\n      algorithms: [HS256]\n")
	warnings, err := Check(config)
	for _, want := range []string{
		lineOf(t, config, "ca_file: gone") + "auth.oidc[0].ca_file: ",
		lineOf(t, config, "clock_skew") + "auth.oidc[0].clock_skew: must be from 0s to 10m",
		lineOf(t, config, "algorithms: [HS") + "auth.oidc[0].algorithms[0]: ",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, strings.Join(warnings, "\n"), "clock_skew", "what is wrong isn't warned of too")
	assert.Equal(t, 1, strings.Count(err.Error(), "ca_file"))
}

func TestCheckWarnsOfWordsThatAreNoBooleans(t *testing.T) {
	config := withAuth(t, issuers+"      required_claims: {mfa: yes, on_call: ON, email_verified: true, admin: \"false\", locked: False, role: oncall}\n")
	warnings, err := Check(config)
	require.NoError(t, err)
	warnings = slices.DeleteFunc(warnings, func(w string) bool { return !strings.Contains(w, "required_claims") })
	require.Len(t, warnings, 3)
	at := lineOf(t, config, "required_claims:") + "warning: auth.oidc[0].required_claims: wants "
	for i, want := range []string{`"locked" to be the text "False"; if the claim is a boolean, write false`, `"mfa" to be the text "yes"; if the claim is a boolean, write true`, `"on_call" to be the text "ON"`} {
		assert.Contains(t, warnings[i], at+want)
	}
}

func TestCheckWarnsOfSessionKeysThatSignNothing(t *testing.T) {
	t.Setenv("BREAKGLASS_SESSION_KEY", "c2Vzc2lvbi1rZXktb2YtYS10ZXN0LTAxMjM0NTY3ODk=")
	warnings, err := Check(withAuth(t, "  session_keys: [{env: BREAKGLASS_SESSION_KEY}]\n"))
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "warning: auth.session_keys: has no use without auth.aws")
}
