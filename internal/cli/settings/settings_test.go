package settings

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// place is a home directory of a test.
type place struct {
	dir string
	env map[string]string
}

func newPlace(t *testing.T) place {
	dir := t.TempDir()
	return place{dir, map[string]string{"HOME": dir}}
}

func (p place) getenv(k string) string { return p.env[k] }

func (p place) write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(p.dir, ".config/bgctl", name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func TestEveryProblemOfTheFileIsNamedWithItsLine(t *testing.T) {
	p := newPlace(t)
	path := p.write(t, "config.yaml", "server: 7\nserver: https://a.example\nsrever: https://a.example\nallow_http: maybe\noutput: xml\ntoken: abc\n", 0o600)
	_, err := Load(p.getenv, "")
	var bad *FileError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Problems, 6)
	for i, want := range []string{
		":1: server must be text", ":2: \"server\" is set a second time (first in line 1)", ":3: \"srever\" is not a setting",
		":4: allow_http must be true or false", ":5: output must be table or json", ":6: tokens don't belong",
	} {
		assert.Contains(t, bad.Problems[i], path+want)
	}
}

func TestBrokenFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"server: [":                            "config.yaml:",
		"- a":                                  "config.yaml:1:",
		"just text":                            "config.yaml:1:",
		"server: a\n---\nserver: b":            "one document",
		"server: nonsense":                     "config.yaml:1: server:",
		"output: &x json\nca_file: *x":         "config.yaml:2:",
		"a: &a [x]\nb: *a\nserver: !!binary x": "config.yaml:3:",
	} {
		p := newPlace(t)
		p.write(t, "config.yaml", text, 0o600)
		_, err := Load(p.getenv, "")
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "{}"} {
		p := newPlace(t)
		p.write(t, "config.yaml", text, 0o600)
		_, err := Load(p.getenv, "")
		assert.NoError(t, err, "%q", text)
	}
}

func TestTheNearestSettingWins(t *testing.T) {
	p := newPlace(t)
	p.write(t, "logins.json", `{"version":1,"current":"https://login.example","logins":{"https://login.example":{"token":"t1"}}}`, 0o600)
	s, err := Load(p.getenv, "")
	require.NoError(t, err)
	assert.Equal(t, []string{"https://login.example", "t1"}, []string{s.Server, s.Token})

	p.write(t, "config.yaml", "server: https://file.example\noutput: json\n", 0o600)
	s, err = Load(p.getenv, "")
	require.NoError(t, err)
	assert.Equal(t, []string{"https://file.example", "", "json"}, []string{s.Server, s.Token, s.Output})

	p.env["BGCTL_SERVER"] = "https://ENV.example/"
	s, err = Load(p.getenv, "")
	require.NoError(t, err)
	assert.Equal(t, "https://env.example", s.Server)

	p.env["BGCTL_TOKEN"] = "t2"
	s, err = Load(p.getenv, "https://flag.example")
	require.NoError(t, err)
	assert.Equal(t, []string{"https://flag.example", "t2"}, []string{s.Server, s.Token})
}

func TestAStoredTokenGoesToItsOwnServerOnly(t *testing.T) {
	p := newPlace(t)
	p.write(t, "logins.json", `{"version":1,"current":"https://a.example","logins":{"https://a.example":{"token":"secret"}}}`, 0o600)
	for server, want := range map[string]string{
		"https://a.example": "secret", "https://A.example:443/": "secret", "https://a.example:8443": "", "https://b.example": "",
		"https://a.example/bg": "", "https://a.example.evil.example": "",
	} {
		s, err := Load(p.getenv, server)
		require.NoError(t, err)
		assert.Equal(t, want, s.Token, server)
	}
	p.env["BGCTL_ALLOW_HTTP"] = "1"
	s, err := Load(p.getenv, "http://a.example")
	require.NoError(t, err)
	assert.Empty(t, s.Token, "a token given over https must not go over http")
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o644: false, 0o620: false} {
		p := newPlace(t)
		path := p.write(t, "logins.json", `{"version":1,"logins":{}}`, mode)
		_, err := Load(p.getenv, "")
		assert.Equal(t, ok, err == nil, "mode %o: %v", mode, err)
		if !ok {
			assert.Contains(t, err.Error(), "chmod 600 "+path)
		}
	}
}

func TestADamagedLoginFileNeverShowsItsTokens(t *testing.T) {
	p := newPlace(t)
	p.write(t, "logins.json", `{"version":1,"logins":{"https://a.example":"supersecret"}}`, 0o600)
	_, err := Load(p.getenv, "")
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "supersecret")
}

func TestLoginsAreWrittenPrivateAndWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "bgctl", "logins.json")
	want := Logins{Version: 1, Current: "https://a.example", ByServer: map[string]Login{"https://a.example": {Token: "t", Name: "alice"}}}
	require.NoError(t, WriteLogins(path, want))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(filepath.Dir(path))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	got, err := ReadLogins(path)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file stays")
}

func TestPlainHTTPNeedsToBeAllowed(t *testing.T) {
	p := newPlace(t)
	_, err := Load(p.getenv, "http://bg.example")
	assert.ErrorContains(t, err, "allow_http")
	p.write(t, "config.yaml", "server: http://bg.example\nallow_http: true\n", 0o600)
	s, err := Load(p.getenv, "")
	require.NoError(t, err)
	assert.Equal(t, "http://bg.example", s.Server)
	p.env["BGCTL_ALLOW_HTTP"] = "0"
	_, err = Load(p.getenv, "")
	assert.Error(t, err)
	p.env["BGCTL_ALLOW_HTTP"] = "yes"
	_, err = Load(p.getenv, "")
	assert.ErrorContains(t, err, "BGCTL_ALLOW_HTTP")
}

func TestRelativeXDGDirectoriesAreIgnored(t *testing.T) {
	p := newPlace(t)
	p.env["XDG_CONFIG_HOME"], p.env["XDG_CACHE_HOME"] = "relative", "also/relative"
	s, err := Load(p.getenv, "")
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(p.dir, ".config/bgctl/config.yaml"), s.ConfigFile)
	assert.Equal(t, filepath.Join(p.dir, ".cache/bgctl"), s.CacheDir)
	p.env["XDG_CONFIG_HOME"], p.env["XDG_CACHE_HOME"] = "/xdg/config", "/xdg/cache"
	s, err = Load(p.getenv, "")
	require.NoError(t, err)
	assert.Equal(t, "/xdg/config/bgctl/config.yaml", s.ConfigFile)
	assert.Equal(t, "/xdg/cache/bgctl", s.CacheDir)
	p.env["BGCTL_CONFIG"] = filepath.Join(p.dir, "missing.yaml")
	_, err = Load(p.getenv, "")
	assert.ErrorContains(t, err, "missing.yaml", "a file that was named must be there")
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{"server: https://a.example\n", "a: &a [*a]", "? x\n: y", "!!map {}", "server: !!str 7", "- 1", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseConfig("config.yaml", data) })
}
