package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADefaultProfileWithCredentialsIsRecognised(t *testing.T) {
	for text, want := range map[string]bool{
		"[default]\naws_access_key_id = AKIA\n":                      true,
		"[default]\n  AWS_Access_Key_Id=AKIA\n":                      true,
		"[ default ]\ncredential_process = x\n":                      true,
		"[profile default]\nrole_arn = x\n":                          true,
		"[default] # mine\nsso_session = corp\n":                     true,
		"[default]\nlogin_session = arn\n":                           true,
		"[default]\nregion = us-east-1\noutput = json\n":             false,
		"[profile other]\naws_access_key_id = AKIA\n":                false,
		"[default]\n# aws_access_key_id = AKIA\n":                    false,
		"[default]\nregion = x\n[other]\naws_access_key_id = AKIA\n": false,
		"[other]\naws_access_key_id = A\n[default]\nrole_arn = x\n":  true,
		"": false, "[": false, "\x00\xff": false,
	} {
		path := filepath.Join(t.TempDir(), "config")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		assert.Equal(t, want, defaultProfileHasCredentials(path), "%q", text)
	}
	assert.False(t, defaultProfileHasCredentials(filepath.Join(t.TempDir(), "missing")))
}

func TestQuotingKeepsAValueOneWord(t *testing.T) {
	for in, want := range map[string]string{
		"prod": "prod", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "-x": "'-x'", "alice@example.com": "alice@example.com",
		"a\nb": `'a\nb'`, "~": "'~'", "a;b": "'a;b'", "*": "'*'",
	} {
		assert.Equal(t, want, quote(in))
	}
	assert.Equal(t, `'a\\b\'c'`, quoteFish(`a\b'c`))
	assert.Equal(t, `'a''b’’c'`, quotePowerShell(`a'b’c`))
}

func TestInstantsAreTimesOrAges(t *testing.T) {
	now := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "90m": now.Add(-90 * time.Minute), "7d": now.AddDate(0, 0, -7),
		"2026-11-22T02:00:00Z": now.Add(-24 * time.Hour), "2026-11-22T03:00:00+01:00": now.Add(-24 * time.Hour),
	} {
		got, err := parseInstant(in, now)
		require.NoError(t, err, in)
		assert.True(t, want.Equal(got), in)
	}
	for _, in := range []string{"yesterday", "-1h", "0h", "-3d", "0d", "99999999d", "d", "2026-11-22", "1e9d"} {
		_, err := parseInstant(in, now)
		assert.Error(t, err, in)
	}
}
