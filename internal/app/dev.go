package app

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"breakglass/internal/authn"
	"breakglass/internal/config"
)

// DevTokensFile holds the bearer tokens of development mode, by name.
const DevTokensFile = "dev-tokens.json" // #nosec G101 -- a file's name

// devPeople are the principals of development mode and their groups.
var devPeople = map[string][]string{
	"alice": {"engineers"},
	"bob":   {"engineers"},
	"sam":   {"security"},
	"bot":   nil,
}

const devPolicy = `# Development mode: everybody here may invoke every profile.
# Edit it while the server runs; a broken file leaves the last good one in force.
version: "1"
rules:
  - name: dev-open
    users: ["*"]
    max_extensions: 1
`

const devAccess = `# Development mode: alice has standing access to staging; prod is for those whom
# somebody approves, or who break the glass.
version: "1"
rules:
  - name: dev-standing
    effect: allow
    profiles: [staging]
    users: [alice]
    max_session: 1h
`

const devApprovals = `# Development mode: everybody may ask for every profile, and sam or bob approves;
# nobody approves their own request.
version: "1"
rules:
  - name: dev-approved
    profiles: [prod, staging]
    approvers: {users: [sam, bob]}
    approvals: 1
`

// DevConfig is the configuration of development mode: loopback, SQLite in
// dir, open rules, and an issuer whose keys open nothing. Tokens are made
// on the first start and kept in dir.
func DevConfig(listen, dir string) (config.Config, error) {
	if !config.Loopback(listen) {
		return config.Config{}, fmt.Errorf("--dev listens on loopback alone, not on %q", listen)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return config.Config{}, fmt.Errorf("data directory: %w", err)
	}
	tokens, err := devTokens(filepath.Join(dir, DevTokensFile))
	if err != nil {
		return config.Config{}, err
	}
	c := config.Default()
	c.PolicyFile = filepath.Join(dir, "policy.yaml")
	c.AccessFile = filepath.Join(dir, "access.yaml")
	c.ApprovalsFile = filepath.Join(dir, "approvals.yaml")
	for path, text := range map[string]string{c.PolicyFile: devPolicy, c.AccessFile: devAccess, c.ApprovalsFile: devApprovals} {
		if err := writeNew(path, []byte(text)); err != nil && !errors.Is(err, fs.ErrExist) {
			return config.Config{}, err
		}
	}
	if c.Auth.MFA, err = devMFA(filepath.Join(dir, "dev-mfa.key")); err != nil {
		return config.Config{}, err
	}
	c.Listen = listen
	c.Store.SQLite.Path = filepath.Join(dir, "breakglass.db")
	c.STS.Issuer = "dev"
	c.Profiles = map[string]config.Profile{
		"prod":    {RoleARN: "arn:aws:iam::123456789012:role/BreakGlassProd", Region: "us-east-1"},
		"staging": {RoleARN: "arn:aws:iam::123456789012:role/BreakGlassStaging", Region: "us-east-1"},
	}
	for _, name := range slices.Sorted(maps.Keys(devPeople)) {
		sum := sha256.Sum256([]byte(tokens[name]))
		c.Auth.Tokens = append(c.Auth.Tokens, authn.Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Groups: devPeople[name]})
	}
	c.Roles.Reviewer.Users = []string{"sam"}
	c.Roles.Auditor.Users = []string{"sam"}
	c.Roles.Delegate.Users = []string{"bot"}
	return c, nil
}

// devTokens reads the tokens of an earlier start, or makes new ones.
func devTokens(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newDevTokens(path)
	}
	if err != nil {
		return nil, err
	}
	tokens := map[string]string{}
	if err := json.Unmarshal(data, &tokens); err != nil {
		return nil, fmt.Errorf("%s is not the token file of development mode (%w); remove it to get new tokens", path, err)
	}
	for name := range devPeople {
		if tokens[name] == "" {
			return nil, fmt.Errorf("%s has no token for %s; remove it to get new tokens", path, name)
		}
	}
	return tokens, nil
}

func newDevTokens(path string) (map[string]string, error) {
	tokens := map[string]string{}
	for name := range devPeople {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // never fails: crypto/rand aborts the program instead
		tokens[name] = "dev-" + name + "-" + base64.RawURLEncoding.EncodeToString(b)
	}
	data, err := json.MarshalIndent(tokens, "", "  ")
	if err != nil {
		return nil, err
	}
	return tokens, writeNew(path, append(data, '\n'))
}

// writeNew creates a file that only its owner can read; it fails when there is
// one already.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
