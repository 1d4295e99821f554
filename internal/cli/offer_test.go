//go:build unix

package cli_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// offering is a server that names an identity provider, where nobody is.
func offering(t *testing.T, clientID, scopes string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 200, "application/json", fmt.Sprintf(`{"oidc":[{"name":"company","issuer":"http://127.0.0.1:1","client_id":%q,"scopes":[%s],"token":"id_token"}]}`, clientID, scopes))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A server that somebody set up could name the client and scopes of something
// else, and use what the login gives.
func TestWhatAServerNamesForALoginIsConfirmedAndRemembered(t *testing.T) {
	t.Parallel()
	const usual = `"openid","email","groups","offline_access"`
	pin := func(t *testing.T, home, server, clientID, scopes string) {
		t.Helper()
		dir := filepath.Join(home, ".config", "bgctl")
		require.NoError(t, os.MkdirAll(dir, 0o700))
		text := fmt.Sprintf(`{"version":1,"logins":{},"providers":{%q:[{"issuer":"http://127.0.0.1:1","client_id":%q,"scopes":[%s],"token":"id_token"}]}}`, server, clientID, scopes)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "logins.json"), []byte(text), 0o600))
	}
	// 7: the provider was asked, and nobody answers there.
	for name, tc := range map[string]struct {
		scopes, pinnedClient, pinnedScopes string
		args                               []string
		code                               int
		says                               []string
	}{
		"first time":                  {usual, "", "", nil, 2, []string{"http://127.0.0.1:1", "Client +bgctl", "openid email groups offline_access", "--yes"}},
		"first time, agreed":          {usual, "", "", []string{"--yes"}, 7, []string{"Client +bgctl"}},
		"as before":                   {usual, "bgctl", usual, nil, 7, nil},
		"another client":              {usual, "other", usual, nil, 2, []string{"not what it said before: client other"}},
		"other scopes":                {usual, "bgctl", `"openid"`, nil, 2, []string{"not what it said before"}},
		"more than a login":           {`"openid","cloud-platform"`, "", "", []string{"--yes"}, 7, []string{"more than a login: cloud-platform"}},
		"more than a login as before": {`"openid","cloud-platform"`, "bgctl", `"openid","cloud-platform"`, nil, 2, []string{"more than a login: cloud-platform"}},
	} {
		for _, flow := range []string{"--oidc", "--device"} {
			t.Run(name+" "+flow, func(t *testing.T) {
				t.Parallel()
				home, server := t.TempDir(), offering(t, "bgctl", tc.scopes)
				if tc.pinnedClient != "" {
					pin(t, home, server, tc.pinnedClient, tc.pinnedScopes)
				}
				r := bgctl(t, home, []string{"BGCTL_KEYRING=off"}, append([]string{"login", "--server", server, flow}, tc.args...)...)
				assert.Equal(t, tc.code, r.code, r.stderr)
				for _, text := range tc.says {
					assert.Regexp(t, text, r.stderr)
				}
				if tc.says == nil {
					assert.NotContains(t, r.stderr, "wants you to log in")
				}
			})
		}
	}
}

func TestAPersonIsAskedWhetherTheIdentityProviderIsTheRightOne(t *testing.T) {
	t.Parallel()
	for answer, code := range map[string]int{"n": 2, "": 2, "y": 7} {
		server := offering(t, "bgctl", `"openid","\u001b[31mred"`)
		p := atTerminal(t, bgctlCommand(t, t.TempDir(), []string{"BGCTL_KEYRING=off"}, "login", "--server", server, "--oidc"), 120)
		p.sees(`wants you to log in here`)
		p.sees(`Identity provider +http://127.0.0.1:1`)
		p.sees(`\[y/N\]`)
		assert.NotContains(t, p.screen(), "\x1b[31m")
		p.types(answer + "\n")
		assert.Equal(t, code, p.leaves(), p.screen())
	}
}
