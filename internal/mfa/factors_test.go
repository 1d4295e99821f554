package mfa

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
)

var now = time.Unix(1_790_000_000, 0).UTC()

func keyText(seed byte) string {
	raw := make([]byte, keySize)
	for i := range raw {
		raw[i] = seed + byte(i)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// under returns factors with these keys, the first of which seals.
func under(t *testing.T, keys ...string) *Factors {
	t.Helper()
	env := map[string]string{}
	c := Config{Enrolment: EnrolmentOpen}
	for i, k := range keys {
		name := fmt.Sprintf("KEY_%d", i)
		env[name] = k
		c.Keys = append(c.Keys, session.KeySource{Env: name})
	}
	f, err := New(c, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	require.NoError(t, err)
	return f
}

func enrolled(t *testing.T, f *Factors, name string) (breakglass.Factor, []byte) {
	t.Helper()
	made, err := f.New(name)
	require.NoError(t, err)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(made.Secret)
	require.NoError(t, err)
	require.Len(t, secret, 20)
	return breakglass.Factor{Name: name, Sealed: made.Sealed, KeyID: made.KeyID}, secret
}

func codeNow(secret []byte) breakglass.TOTPCode {
	return breakglass.TOTPCode(code(secret, stepAt(now), digits))
}

func TestASealedSecretOpensForItsOwnerAlone(t *testing.T) {
	f := under(t, keyText(1))
	alice, secret := enrolled(t, f, "alice@example.com")
	raw, err := base64.RawStdEncoding.DecodeString(alice.Sealed)
	require.NoError(t, err)
	assert.False(t, bytes.Contains(raw, secret), "the secret is sealed")
	step, err := f.Step(alice, codeNow(secret), now)
	require.NoError(t, err)
	assert.Equal(t, stepAt(now), step)

	moved := alice
	moved.Name = "bob@example.com"
	_, err = f.Step(moved, codeNow(secret), now)
	require.ErrorContains(t, err, "belongs to somebody else", "a record copied to another person")
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		bad := alice
		bad.Sealed = base64.RawStdEncoding.EncodeToString(changed)
		_, err = f.Step(bad, codeNow(secret), now)
		require.Error(t, err, "byte %d was changed", i)
	}
	for _, sealed := range []string{"", "!", "YQ"} {
		bad := alice
		bad.Sealed = sealed
		_, err = f.Step(bad, codeNow(secret), now)
		require.Error(t, err, "%q", sealed)
	}
	again, _ := enrolled(t, f, "alice@example.com")
	assert.NotEqual(t, alice.Sealed, again.Sealed)
}

func TestKeysRotate(t *testing.T) {
	old := under(t, keyText(1))
	factor, secret := enrolled(t, old, "alice")

	both := under(t, keyText(50), keyText(1))
	step, err := both.Step(factor, codeNow(secret), now)
	require.NoError(t, err)
	require.NotZero(t, step, "what an older key sealed still opens")
	renewed, err := both.Reseal(factor)
	require.NoError(t, err)
	require.NotEqual(t, factor.KeyID, renewed.KeyID)
	unchanged, err := both.Reseal(renewed)
	require.NoError(t, err)
	require.Equal(t, renewed, unchanged)

	alone := under(t, keyText(50))
	step, err = alone.Step(renewed, codeNow(secret), now)
	require.NoError(t, err)
	require.NotZero(t, step, "the older key isn't needed any more")
	_, err = alone.Step(factor, codeNow(secret), now)
	require.ErrorIs(t, err, errNoKey, "what wasn't sealed anew is lost with its key")
	_, err = alone.Reseal(factor)
	require.ErrorIs(t, err, errNoKey)
}

func TestTheURIIsWhatAppsRead(t *testing.T) {
	f := under(t, keyText(1))
	f.issuer = "Example & Co"
	made, err := f.New("jürgen müller@example.com")
	require.NoError(t, err)
	u, err := url.Parse(made.URI)
	require.NoError(t, err)
	assert.Equal(t, "otpauth", u.Scheme)
	assert.Equal(t, "totp", u.Host)
	assert.Equal(t, "/Example & Co:jürgen müller@example.com", u.Path)
	assert.Equal(t, url.Values{"secret": {made.Secret}, "issuer": {"Example & Co"}}, u.Query())
	for _, text := range []string{made.String(), fmt.Sprintf("%v %+v %#v", made, made, made)} {
		assert.NotContains(t, text, made.Secret)
	}
}

func TestBadKeysAreRefusedWithoutRepeatingThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte(keyText(1)+"\n"), 0o600))
	_, err := New(Config{Keys: []session.KeySource{{File: file}}}, nil)
	require.NoError(t, err, "white space around a key is no part of it")
	for name, text := range map[string]string{
		"short": "c2hvcnQ=", "not base64": strings.Repeat("?", 44), "zeros": base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"long": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("0123456789"), 5)),
	} {
		_, err := New(Config{Keys: []session.KeySource{{Env: "K"}}}, func(string) (string, bool) { return text, true })
		require.ErrorContains(t, err, "auth.mfa.keys[0]: ", name)
		assert.NotContains(t, err.Error(), text, name)
	}
	_, err = New(Config{Keys: []session.KeySource{{Env: "K"}, {File: file}}}, func(string) (string, bool) { return keyText(1), true })
	require.ErrorContains(t, err, "auth.mfa.keys[1]: is there twice")
	_, err = New(Config{Keys: []session.KeySource{{Env: "K"}, {File: file + "x"}}}, func(string) (string, bool) { return "", false })
	require.ErrorContains(t, err, "K isn't set")
	require.ErrorContains(t, err, "auth.mfa.keys[1]")
	_, err = New(Config{}, nil)
	require.ErrorContains(t, err, "there is none")
}

func TestValidate(t *testing.T) {
	good := Config{Keys: []session.KeySource{{Env: "K"}}, Enrolment: EnrolmentAdmin}
	assert.Empty(t, good.Validate())
	for path, c := range map[string]Config{
		"keys":        {Enrolment: EnrolmentOpen},
		"keys[0].env": {Enrolment: EnrolmentOpen, Keys: []session.KeySource{{Env: keyText(1)}}},
		"enrolment":   {Keys: good.Keys},
		"issuer":      {Enrolment: EnrolmentOpen, Keys: good.Keys, Issuer: "a:b"},
	} {
		ps := c.Validate()
		require.Len(t, ps, 1, path)
		assert.Equal(t, path, ps[0].Path)
		assert.NotContains(t, ps[0].Message, keyText(1))
	}
}
