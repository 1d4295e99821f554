//go:build unix

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/mfa/mfatest"
	"breakglass/internal/testenv"
)

// goodCode is the nth of two codes that are good for the next seconds.
func goodCode(t *testing.T, secret string, n int) string {
	t.Helper()
	step := time.Now().Add(10 * time.Second).Truncate(30 * time.Second)
	code, err := mfatest.CodeOf(secret, step.Add(time.Duration(n-2)*30*time.Second))
	require.NoError(t, err)
	return code
}

func TestAPersonEnrolsAndIsAskedForACode(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(testenv.Build(t, "./cmd/breakglassd"), "--dev", "--listen", "127.0.0.1:0", "--data-dir", "data")
	cmd.Dir = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(cmd.Dir, "data"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "data", "policy.yaml"),
		[]byte("version: \"1\"\nrules:\n  - {name: strict, users: [\"*\"], mfa: {required: true}}\n"), 0o600))
	d, err := startServer(cmd)
	require.NoError(t, err)
	t.Cleanup(d.stop)

	p := atTerminal(t, bgctlCommand(t, t.TempDir(), loggedIn(d, "alice"), "mfa", "enrol"), 100)
	p.sees("█") // the QR code
	p.sees(`Secret\S* +[A-Z2-7]{32}`)
	p.sees(`Code from your authenticator >`)
	secret := regexp.MustCompile(`Secret\S* +([A-Z2-7]{32})`).FindStringSubmatch(p.screen())[1]
	p.types("12 34\n")
	p.sees(`A code has 6 digits`)
	p.types("000000\n")
	p.sees(`code is wrong`)
	first := goodCode(t, secret, 1)
	p.types(first[:3] + " " + first[3:] + "\n")
	p.sees(`authenticator is enrolled`)
	assert.Zero(t, p.leaves())

	// Everything is asked for, the code last, and of the same reader.
	p = atTerminal(t, bgctlCommand(t, t.TempDir(), loggedIn(d, "alice"), "invoke", "prod"), 80)
	p.sees(`Why\?`)
	p.types("incident\n")
	p.sees(`20 to 1000\s+characters`)
	p.types("Primary DB is down, INC-4711\n")
	p.sees(`Code from your authenticator >`)
	p.types(first + "\n")
	p.sees(`used already`)
	p.types(goodCode(t, secret, 2) + "\n")
	p.sees(`Expires`)
	assert.Zero(t, p.leaves())

	p = atTerminal(t, bgctlCommand(t, t.TempDir(), loggedIn(d, "alice"), "mfa", "remove"), 80)
	for i := range 3 {
		p.sees(fmt.Sprintf(`(?s)(Code from your authenticator >.*){%d}`, i+1))
		p.types("000000\n")
	}
	p.sees(`Error:.*code is wrong`)
	assert.Equal(t, 3, p.leaves(), "asked three times, then refused")
}
