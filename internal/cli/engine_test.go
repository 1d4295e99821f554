package cli_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/testenv"
	"breakglass/internal/testenv/teststore"
)

// sqliteLine is the store in the configurations of scripts.
const sqliteLine = "store: {driver: sqlite, sqlite: {path: breakglass.db}}\n"

// serverIn is a server, not started yet, with its files in dir: with dir's
// config.yaml, or else in development mode.
func serverIn(t testing.TB, bin, dir string) *exec.Cmd {
	t.Helper()
	path := filepath.Join(dir, "config.yaml")
	text, err := os.ReadFile(path)
	configured := !errors.Is(err, fs.ErrNotExist)
	if configured {
		require.NoError(t, err)
	}
	cmd := exec.Command(bin, "--config", "config.yaml")
	switch {
	case testenv.OnDynamoDB(t) && !configured:
		path = developmentOn(t, dir)
		cmd = exec.Command(bin, "--config", path)
	case testenv.OnDynamoDB(t):
		require.Contains(t, string(text), sqliteLine)
		changed := strings.Replace(string(text), sqliteLine, teststore.YAML(teststore.Config(t, dir)), 1)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
	case !configured:
		cmd = exec.Command(bin, "--dev", "--listen", "127.0.0.1:0", "--data-dir", "data")
	}
	cmd.Dir = dir
	return cmd
}

// developmentOn writes down the configuration that development mode has, but for
// the store: development mode itself knows SQLite alone.
func developmentOn(t testing.TB, dir string) (path string) {
	t.Helper()
	data := filepath.Join(dir, "data")
	c, err := app.DevConfig("127.0.0.1:0", data)
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString("listen: 127.0.0.1:0\nsts: {issuer: dev}\npolicy_file: policy.yaml\naccess_file: access.yaml\napprovals_file: approvals.yaml\n" + teststore.YAML(teststore.Config(t, dir)))
	b.WriteString("auth:\n  tokens:\n")
	for _, p := range c.Auth.Tokens {
		_, _ = fmt.Fprintf(&b, "    - {name: %s, sha256: %q, groups: [%s]}\n", p.Name, p.SHA256, strings.Join(p.Groups, ", "))
	}
	_, _ = fmt.Fprintf(&b, "roles: {reviewer: {users: %q}, auditor: {users: %q}, delegate: {users: %q}}\nprofiles:\n",
		c.Roles.Reviewer.Users, c.Roles.Auditor.Users, c.Roles.Delegate.Users)
	for name, p := range c.Profiles {
		_, _ = fmt.Fprintf(&b, "  %s: {role_arn: %q, region: %s}\n", name, p.RoleARN, p.Region)
	}
	path = filepath.Join(data, "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}
