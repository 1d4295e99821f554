package vault

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/zalando/go-keyring"

	"breakglass/internal/testenv"
)

// inSession is set where the tests run again below a keyring of their own.
const inSession = "BREAKGLASS_TEST_KEYRING"

// TestSecretsAreSealedWithAKeyOfTheKeyring runs itself in a session of its own,
// with an empty, unlocked keyring (gnome-keyring, over D-Bus).
func TestSecretsAreSealedWithAKeyOfTheKeyring(t *testing.T) {
	if os.Getenv(inSession) != "" {
		sealing(t)
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("the keyring of this person is not for tests")
	}
	session, err := exec.LookPath("dbus-run-session")
	testenv.Require(t, err == nil, "needs dbus-run-session, which is not installed")
	_, err = exec.LookPath("gnome-keyring-daemon")
	testenv.Require(t, err == nil, "needs gnome-keyring-daemon, which is not installed")
	home := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(home, "run"), 0o700))
	cmd := exec.Command(session, "--", "sh", "-c", `printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null && exec "$0" -test.v -test.run "$1"`,
		os.Args[0], "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inSession+"=1", "HOME="+home, "XDG_RUNTIME_DIR="+filepath.Join(home, "run"), "XDG_DATA_HOME="+filepath.Join(home, "data"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "PASS")
}

func sealing(t *testing.T) {
	ctx := t.Context()
	assert.True(t, Available(os.Getenv))
	long := make([]byte, 10_000)
	sealed, err := Seal(ctx, "one", long)
	require.NoError(t, err)
	got, err := Open(ctx, "one", sealed)
	require.NoError(t, err)
	assert.Equal(t, long, got, "keyrings that take little hold the key of as much as you like")

	again, err := Seal(ctx, "one", []byte("secret"))
	require.NoError(t, err)
	assert.NotContains(t, string(again), "secret")
	got, err = Open(ctx, "one", again)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(got))

	_, err = Open(ctx, "two", again)
	require.ErrorContains(t, err, "no longer has the key")
	other, err := Seal(ctx, "two", []byte("x"))
	require.NoError(t, err)
	_, err = Open(ctx, "one", other)
	require.ErrorContains(t, err, "doesn't fit its key")
	again[20] ^= 1
	_, err = Open(ctx, "one", again)
	require.ErrorContains(t, err, "doesn't fit its key")

	require.NoError(t, keyring.Set(service, "two", "AAAA"))
	_, err = Open(ctx, "two", other)
	require.ErrorContains(t, err, "damaged")
	require.NoError(t, Remove(ctx, "one"))
	require.NoError(t, Remove(ctx, "one"), "removing it twice is no failure")
	_, err = Open(ctx, "one", sealed)
	require.ErrorContains(t, err, "no longer has the key")
}

func TestWithoutASessionThereIsNoKeyring(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere there always is one")
	}
	env := func(key, value string) func(string) string {
		return func(k string) string { return map[string]string{key: value}[k] }
	}
	assert.True(t, Available(env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")))
	assert.False(t, Available(func(k string) string {
		return map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere", "BGCTL_KEYRING": "off"}[k]
	}))
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	_, err := Seal(t.Context(), "one", []byte("x"))
	require.ErrorContains(t, err, "the keyring")
}
