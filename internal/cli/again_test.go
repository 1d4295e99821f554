package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestALoginThatTheServerRefusesIsRepeatedAsItWasMade(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	for login, want := range map[string]string{
		`"token": "bgt_gone"`: "",
		`"oidc": {"id": "1", "issuer": "https://login.example.com", "client_id": "bgctl", "token": "id_token", "tokens": {"bearer": "eyJhbGciOiJSUzI1NiJ9.e30.AA"}}`: " --oidc",
		`"aws": {"id": "1", "token": "bgs_gone", "expires": "2999-01-01T00:00:00Z", "profile": "on call", "region": "eu-west-1"}`:                                    " --aws --profile 'on call' --region eu-west-1",
	} {
		home := t.TempDir()
		dir := filepath.Join(home, ".config/bgctl")
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "logins.json"), fmt.Appendf(nil, `{"version": 1, "logins": {%q: {"name": "alice", %s}}}`, d.url, login), 0o600))
		got := bgctl(t, home, []string{"BGCTL_SERVER=" + d.url}, "whoami")
		assert.Equal(t, 3, got.code, got.stderr)
		assert.Contains(t, got.stderr, "bgctl login --server "+d.url+want+"\n")
	}
}
