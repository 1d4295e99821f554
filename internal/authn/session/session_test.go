package session_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/session"
)

func load(t testing.TB, texts ...string) *session.Keys {
	t.Helper()
	var sources []session.KeySource
	for _, s := range texts {
		sources = append(sources, session.KeySource{Env: s})
	}
	k, err := session.Load(sources, func(name string) (string, bool) { return name, true })
	require.NoError(t, err)
	return k
}

const (
	first  = "first-0123456789abcdefghijklmnopq"
	second = "second-0123456789abcdefghijklmnop"
)

var (
	now  = time.Date(2026, 3, 2, 2, 4, 5, 0, time.UTC)
	some = session.Session{Name: "alice@example.com", Via: "aws", Subject: "arn:aws:iam::123456789012:user/alice", Server: "here",
		Issued: now, Expires: now.Add(time.Hour)}
)

func TestATokenIsReadByEveryReplicaUntilItEnds(t *testing.T) {
	token, err := load(t, first).Token(some)
	require.NoError(t, err)
	for after, want := range map[time.Duration]error{0: nil, time.Hour - 1: nil, time.Hour: session.ErrExpired, 48 * time.Hour: session.ErrExpired} {
		got, err := load(t, first).Read(token, now.Add(after))
		assert.NotEmpty(t, got.ID)
		got.ID = ""
		assert.ErrorIs(t, err, want)
		assert.Equal(t, some, got)
	}
}

func TestNoTwoTokensAreTheSame(t *testing.T) {
	one, err := load(t, first).Token(some)
	require.NoError(t, err)
	two, err := load(t, first).Token(some)
	require.NoError(t, err)
	assert.NotEqual(t, one, two)
}

func TestKeysAreReplacedWithoutAnInterruption(t *testing.T) {
	old, err := load(t, first).Token(some)
	require.NoError(t, err)
	_, err = load(t, second, first).Read(old, now)
	require.NoError(t, err, "the old key still counts")
	_, err = load(t, second).Read(old, now)
	require.ErrorIs(t, err, session.ErrInvalid)
	fresh, err := load(t, second, first).Token(some)
	require.NoError(t, err)
	_, err = load(t, second).Read(fresh, now)
	require.NoError(t, err, "the first key signs")
}

func TestNoOtherTokenIsRead(t *testing.T) {
	keys := load(t, first)
	token, err := keys.Token(some)
	require.NoError(t, err)
	head, tail, _ := strings.Cut(strings.TrimPrefix(token, session.Prefix), ".")
	enc := base64.RawURLEncoding
	forged, _ := json.Marshal(map[string]any{"name": "sam@example.com", "via": "aws", "sub": "", "srv": "here", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	other := enc.EncodeToString(forged)
	raw, _ := enc.DecodeString(tail)
	// The last character of 32 bytes in base64 has bits that mean nothing.
	twin := tail[:len(tail)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", tail[len(tail)-1])^1])
	for name, bad := range map[string]string{
		"empty": "", "prefix": session.Prefix, "no prefix": head + "." + tail, "no signature": session.Prefix + head, "empty signature": session.Prefix + head + ".",
		"another body": session.Prefix + other + "." + tail, "half a signature": session.Prefix + head + "." + enc.EncodeToString(raw[:16]),
		"another text of the same bytes": session.Prefix + head + "." + twin, "padding": token + "=", "a line break": token + "\n", "three parts": token + "." + tail,
		"the MAC of another purpose": session.Prefix + other + "." + enc.EncodeToString(keys.MAC("aws-nonce/1", forged)),
		"oversized":                  session.Prefix + strings.Repeat("A", 5000) + "." + tail,
	} {
		got, err := keys.Read(bad, now)
		assert.ErrorIs(t, err, session.ErrInvalid, name)
		assert.Zero(t, got, name)
	}
}

func TestATokenThatWouldBeTooLongIsNotMade(t *testing.T) {
	long := some
	long.Subject = strings.Repeat("x", session.MaxToken)
	_, err := load(t, first).Token(long)
	assert.Error(t, err)
}

func TestKeysComeFromEnvironmentAndFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(first+"\n"), 0o600))
	k, err := session.Load([]session.KeySource{{File: path}}, os.LookupEnv)
	require.NoError(t, err)
	token, err := k.Token(some)
	require.NoError(t, err)
	_, err = load(t, first).Read(token, now)
	require.NoError(t, err)

	short, weak := "short-secret", strings.Repeat("ab", 20)
	t.Setenv("SHORT", short)
	t.Setenv("WEAK", weak)
	_, err = session.Load([]session.KeySource{{Env: "SHORT"}, {Env: "WEAK"}, {Env: "NOT_THERE"}, {File: path + "x"}}, os.LookupEnv)
	for _, want := range []string{"auth.session_keys[0]: a key has at least 32", "[1]: the key repeats", "[2]: the environment variable NOT_THERE isn't set", "[3]: "} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), short)
	assert.NotContains(t, err.Error(), weak)
	_, err = session.Load(nil, os.LookupEnv)
	assert.Error(t, err)

	problems := session.Validate([]session.KeySource{{}, {Env: "A", File: "b"}, {Env: first}, {Env: "A1"}, {Env: "A1"}})
	require.Len(t, problems, 4)
	for _, p := range problems {
		assert.NotContains(t, p.Message, first, "the key itself put there by mistake is not repeated")
	}
}

func TestAKeyThatOthersMayReadOrWriteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(first), 0o600))
	for mode, private := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o620: false, 0o604: false, 0o602: false, 0o644: false} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := session.Load([]session.KeySource{{File: path}}, os.LookupEnv)
		if private {
			assert.NoError(t, err, "%o", mode)
			continue
		}
		assert.ErrorContains(t, err, "auth.session_keys[0]: "+path+" can be read or written by others", "%o", mode)
	}
}

func FuzzRead(f *testing.F) {
	keys := load(f, first)
	// The workers are processes of their own, so this token has to be the same in all.
	body := `{"jti":"x","name":"alice","via":"aws","sub":"s","srv":"here","iat":1772417045,"exp":1772420645}`
	enc := base64.RawURLEncoding
	token := session.Prefix + enc.EncodeToString([]byte(body)) + "." + enc.EncodeToString(keys.MAC("session/1", []byte(body)))
	_, err := keys.Read(token, now)
	require.NoError(f, err)
	f.Add(token)
	f.Add(session.Prefix + ".")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := keys.Read(s, now); err == nil && s != token {
			t.Fatalf("%q is taken", s)
		}
	})
}
