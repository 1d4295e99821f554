package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installed copies the example configuration, changed, to a folder of its own.
func installed(t *testing.T, change func(file, text string) string) (config string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.yaml", "policy.yaml", "ratelimit.yaml", "access.yaml", "approvals.yaml"} {
		data, err := os.ReadFile(filepath.Join("../../examples", name))
		require.NoError(t, err)
		text := strings.ReplaceAll(string(data), "/var/lib/breakglass/", dir+"/") // where the unit's service may write
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(change(name, text)), 0o600))
	}
	t.Setenv("SIEM_HOOK_SECRET", "whsec_"+strings.Repeat("QUJD", 10))
	return filepath.Join(dir, "config.yaml")
}

// lineOf is where the text begins in the file, as :N:
func lineOf(t *testing.T, path, text string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	before, _, found := strings.Cut(string(data), text)
	require.True(t, found, text)
	return filepath.Base(path) + fmt.Sprintf(":%d: ", 1+strings.Count(before, "\n"))
}

func TestCheckReportsEverythingAtOnceWithFileAndLine(t *testing.T) {
	config := installed(t, func(file, text string) string {
		switch file {
		case "config.yaml":
			text = strings.Replace(text, "listen: 127.0.0.1:8080 ", "listen: nowhere ", 1)
			text = strings.Replace(text, "# tls:\n", "tls: {cert_file: no.crt, key_file: no.key}\n", 1)
			return text
		case "policy.yaml":
			return strings.Replace(text, "allowed_reason_codes: [security]", "allowed_reason_codes: [secrity]", 1)
		case "access.yaml":
			return strings.Replace(text, "effect: deny", "effect: forbid", 1)
		case "approvals.yaml":
			return strings.Replace(text, "approvals: 1 ", "approvals: 6 ", 1)
		}
		return strings.Replace(text, "cooldown: 30m", "cooldown: 30x", 1)
	})
	dir := filepath.Dir(config)
	require.NoError(t, os.Unsetenv("SIEM_HOOK_SECRET"))
	_, err := Check(config)
	require.Error(t, err)
	for _, want := range []string{
		lineOf(t, config, "listen: nowhere") + "listen: ",
		lineOf(t, config, "secret_env: SIEM") + "notify.sinks[1].secret_env: the environment variable SIEM_HOOK_SECRET isn't set",
		lineOf(t, config, "tls: {cert") + "tls.cert_file: ",
		lineOf(t, filepath.Join(dir, "policy.yaml"), "[secrity]") + "rules[2].allowed_reason_codes[0]: ",
		lineOf(t, filepath.Join(dir, "ratelimit.yaml"), "30x") + "rules[0].cooldown: ",
		lineOf(t, filepath.Join(dir, "access.yaml"), "forbid") + "rules[0].effect: ",
		lineOf(t, filepath.Join(dir, "approvals.yaml"), "approvals: 6") + "rules[0].approvals: ",
	} {
		assert.ErrorContains(t, err, want)
	}
}

func TestCheckNamesTheFieldOfAFileThatIsMissing(t *testing.T) {
	config := installed(t, func(_, text string) string {
		return strings.NewReplacer("policy_file: policy.yaml", "policy_file: gone.yaml", "rate_limit_file: ratelimit.yaml", "rate_limit_file: away.yaml",
			"access_file: access.yaml", "access_file: off.yaml", "approvals_file: approvals.yaml", "approvals_file: lost.yaml").Replace(text)
	})
	_, err := Check(config)
	require.ErrorContains(t, err, lineOf(t, config, "policy_file:")+"policy_file: ")
	require.ErrorContains(t, err, "gone.yaml")
	require.ErrorContains(t, err, lineOf(t, config, "rate_limit_file:")+"rate_limit_file: ")
	require.ErrorContains(t, err, lineOf(t, config, "access_file:")+"access_file: ")
	require.ErrorContains(t, err, lineOf(t, config, "approvals_file:")+"approvals_file: ")
}

func TestCheckNeverRepeatsASecretThatStandsInTheWrongPlace(t *testing.T) {
	const secret = "whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD"
	config := installed(t, func(_, text string) string { return strings.Replace(text, "SIEM_HOOK_SECRET", secret, 1) })
	_, err := Check(config)
	require.ErrorContains(t, err, "secret_env")
	assert.NotContains(t, err.Error(), secret)
}

func TestCheckWarnsAboutNamesThatNothingHas(t *testing.T) {
	config := installed(t, func(file, text string) string {
		switch file {
		case "config.yaml":
			text = strings.Replace(text, "auditor: {users: [dashboard]}", "auditor: {users: [dashbord]}", 1)
			return strings.Replace(text, ", dba]", "]", 1)
		case "policy.yaml":
			text = strings.Replace(text, "profiles: [prod-db]", "profiles: [prod-db, stagin*]", 1)
			return strings.Replace(text, "users: [sam@example.com]", "users: [sam@exmple.com]", 1)
		case "access.yaml":
			return strings.Replace(text, "profiles: [prod-db]", "profiles: [prod-bd]", 1)
		case "approvals.yaml":
			text = strings.Replace(text, "groups: [oncall, dba, platform]", "groups: [oncall, platfrm]", 1)
			text = strings.Replace(text, "users: [alice@example.com]", "users: [alic@example.com]", 1)
			text = strings.Replace(text, `["prod*"]`, `["prod*", dev]`, 1)
			return strings.Replace(text, "profiles: [prod]", `profiles: ["prd*"]`, 1)
		}
		return strings.Replace(text, `profiles: ["prod*"]`, "profiles: [production]", 1)
	})
	dir := filepath.Dir(config)
	policy, limits := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "ratelimit.yaml")
	access, approvals := filepath.Join(dir, "access.yaml"), filepath.Join(dir, "approvals.yaml")
	warnings, err := Check(config)
	require.NoError(t, err, "it may be meant")
	for i, want := range []string{
		lineOf(t, config, "dashbord") + `warning: roles.auditor.users[0]: no token of auth.tokens belongs to "dashbord"`,
		lineOf(t, policy, "stagin*") + `warning: rules[0].profiles[1]: no profile of the configuration is "stagin*"`,
		lineOf(t, policy, "[dba]") + `warning: rules[0].groups[0]: no token of auth.tokens has the group "dba"`,
		lineOf(t, policy, "sam@exmple") + `warning: rules[2].users[0]: no token of auth.tokens belongs to "sam@exmple.com"`,
		lineOf(t, limits, "[production]") + `warning: rules[0].profiles[0]: no profile of the configuration is "production"`,
		lineOf(t, access, "prod-bd") + `warning: rules[0].profiles[0]: no profile of the configuration is "prod-bd"`,
		lineOf(t, access, "[dba]") + `warning: rules[1].groups[0]: no token of auth.tokens has the group "dba"`,
		lineOf(t, approvals, "dev]") + `warning: rules[0].profiles[1]: no profile of the configuration is "dev"`,
		lineOf(t, approvals, "platfrm") + `warning: rules[0].requesters.groups[1]: no token of auth.tokens has the group "platfrm"`,
		lineOf(t, approvals, "alic@") + `warning: rules[0].approvers.users[0]: no token of auth.tokens belongs to "alic@example.com"`,
		lineOf(t, approvals, "prd*") + `warning: rules[0].auto_approve[0].profiles[0]: no profile of the configuration is "prd*"`,
	} {
		require.Greater(t, len(warnings), i)
		assert.Equal(t, dir+"/"+want, warnings[i])
	}
	assert.Len(t, warnings, 11)
}

func TestPrivateFilesThatEverybodyMayReadAreNamed(t *testing.T) {
	config := installed(t, func(file, text string) string {
		return strings.Replace(text, "secret_env: SIEM_HOOK_SECRET", "secret_file: hook", 1)
	})
	dir := filepath.Dir(config)
	write := func(name string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("whsec_QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD"), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	for _, name := range []string{"hook", "breakglass.db", "breakglass.db-wal"} {
		write(name, 0o600)
	}
	warnings, err := Check(config)
	require.NoError(t, err)
	require.Empty(t, warnings)
	for _, name := range []string{"hook", "breakglass.db", "breakglass.db-wal"} {
		write(name, 0o644)
	}
	warnings, err = Check(config)
	require.NoError(t, err)
	require.Len(t, warnings, 3)
	assert.Contains(t, warnings[0], "warning: store.sqlite.path: can be read by everybody")
	assert.Contains(t, warnings[1], "breakglass.db-wal")
	assert.Contains(t, warnings[2], "notify.sinks[1].secret_file: can be read by everybody")
}

func TestCheckLooksAtCertificates(t *testing.T) {
	config := installed(t, func(file, text string) string {
		if file != "config.yaml" {
			return text
		}
		return text + "tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: gone.pem, client_auth: require}\n"
	})
	_, err := Check(config)
	require.ErrorContains(t, err, lineOf(t, config, "cert_file: cert.pem")+"tls.cert_file: ")
}

func TestCheckRefusesKeysAndCAsThatOthersCanGetAt(t *testing.T) {
	config := installed(t, func(file, text string) string {
		return strings.Replace(text, "\nauth:\n", "\nauth:\n  session_keys: [{file: session.key}]\n  oidc:\n    - {issuer: \"https://login.example.com\", audiences: [breakglass], username_claim: sub, ca_file: ca.pem}\n", 1)
	})
	dir := filepath.Dir(config)
	for _, name := range []string{"session.key", "ca.pem"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("0123456789abcdefghijklmnopqrstuvwxyz"), 0o600))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o666))
	}
	_, err := Check(config)
	require.ErrorContains(t, err, "auth.session_keys[0]: ")
	assert.ErrorContains(t, err, "session.key can be read or written by others")
	assert.ErrorContains(t, err, "auth.oidc[0].ca_file: ")
	assert.ErrorContains(t, err, "ca.pem can be written by others")
}
