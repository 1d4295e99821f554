// Package settings finds out which server bgctl speaks to and with which
// token: from the environment, the configuration file and the stored logins.
package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"breakglass/internal/client"
)

// Settings are what a command runs with.
type Settings struct {
	Server     string // canonical; empty when none is configured
	ServerFrom string // where it was found, in words
	Token      string // empty when there is none for Server
	TokenFrom  string
	OIDC       *OIDC // instead of Token: the login at an identity provider
	AWS        *AWS  // instead of Token: the login with an AWS identity
	AllowHTTP  bool
	CAPEM      []byte
	CertPEM    []byte // the client's certificate, and its key
	KeyPEM     []byte
	Output     string // "table" or "json"

	ConfigFile string
	LoginFile  string
	CacheDir   string
	StateDir   string // what must not be lost with the cache
}

// The formats of output.
const (
	Table = "table"
	JSON  = "json"
)

// Load reads the settings. server, when not empty, goes before everything else.
func Load(getenv func(string) string, server string) (Settings, error) {
	s := Settings{Output: Table}
	explicit, err := s.paths(getenv)
	if err != nil {
		return s, err
	}
	f, err := readConfig(s.ConfigFile, explicit)
	if err != nil {
		return s, err
	}
	if f.Output != "" {
		s.Output = f.Output
	}
	if s.AllowHTTP, err = allowHTTP(f, getenv("BGCTL_ALLOW_HTTP")); err != nil {
		return s, err
	}
	logins, err := ReadLogins(s.LoginFile)
	if err != nil {
		return s, err
	}
	if err := s.server(server, getenv("BGCTL_SERVER"), f, logins); err != nil {
		return s, err
	}
	s.token(getenv("BGCTL_TOKEN"), logins)
	return s, s.pemFiles(getenv, f)
}

// paths says where the files are; explicit that the configuration file was
// named and must be there.
func (s *Settings) paths(getenv func(string) string) (explicit bool, err error) {
	home := getenv("HOME")
	if home == "" {
		home = getenv("USERPROFILE")
	}
	dir := func(xdg, fallback string) string {
		// The XDG Base Directory Specification wants relative paths ignored.
		if d := getenv(xdg); filepath.IsAbs(d) {
			return filepath.Join(d, "bgctl")
		}
		if home == "" {
			return ""
		}
		return filepath.Join(home, fallback, "bgctl")
	}
	s.CacheDir = dir("XDG_CACHE_HOME", ".cache")
	s.StateDir = dir("XDG_STATE_HOME", filepath.Join(".local", "state"))
	s.ConfigFile = getenv("BGCTL_CONFIG")
	explicit = s.ConfigFile != ""
	if !explicit {
		config := dir("XDG_CONFIG_HOME", ".config")
		if config == "" {
			return false, errors.New("neither HOME nor XDG_CONFIG_HOME is set, so there is no place for the configuration")
		}
		s.ConfigFile = filepath.Join(config, "config.yaml")
	}
	s.LoginFile = filepath.Join(filepath.Dir(s.ConfigFile), "logins.json")
	return explicit, nil
}

func allowHTTP(f file, env string) (bool, error) {
	switch env {
	case "":
		return f.AllowHTTP, nil
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, fmt.Errorf("BGCTL_ALLOW_HTTP must be 1 or 0, not %q", env)
}

func (s *Settings) server(flag, env string, f file, logins Logins) error {
	for _, from := range []struct{ value, name string }{
		{flag, "--server"}, {env, "BGCTL_SERVER"}, {f.Server, s.ConfigFile}, {logins.Current, "the last login"},
	} {
		if from.value == "" {
			continue
		}
		u, err := client.ParseServer(from.value, s.AllowHTTP)
		if err != nil {
			return fmt.Errorf("%s: %w", from.name, err)
		}
		s.Server, s.ServerFrom = u.String(), from.name
		return nil
	}
	return nil
}

// token takes the token from the environment, or the one stored for this very
// server: a token never goes to a server that it wasn't given for.
func (s *Settings) token(env string, logins Logins) {
	if env != "" {
		s.Token, s.TokenFrom = env, "BGCTL_TOKEN"
		return
	}
	if l, ok := logins.ByServer[s.Server]; ok && s.Server != "" {
		s.Token, s.TokenFrom, s.OIDC, s.AWS = l.Token, s.LoginFile, l.OIDC, l.AWS
		if l.OIDC != nil {
			s.TokenFrom = "the login at " + l.OIDC.Issuer
		}
		if l.AWS != nil {
			s.TokenFrom = "the login with an AWS identity, in " + s.LoginFile
		}
	}
}

// Identity tells the logins of a server apart. It is secret.
func (s Settings) Identity() string {
	switch {
	case s.Token == "" && s.OIDC != nil:
		return "oidc:" + s.OIDC.ID
	case s.Token == "" && s.AWS != nil:
		return "aws:" + s.AWS.ID
	}
	return s.Token
}

// pemFiles reads the certificates and the key that the settings name.
func (s *Settings) pemFiles(getenv func(string) string, f file) error {
	for _, p := range []struct {
		env, field, path string
		to               *[]byte
	}{
		{"BGCTL_CA_FILE", "ca_file", f.CAFile, &s.CAPEM},
		{"BGCTL_CLIENT_CERT", "client_cert", f.ClientCert, &s.CertPEM},
		{"BGCTL_CLIENT_KEY", "client_key", f.ClientKey, &s.KeyPEM},
	} {
		path, from := getenv(p.env), p.env
		if path == "" {
			path, from = p.path, p.field
			if path != "" && !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(s.ConfigFile), path)
			}
		}
		if path == "" {
			continue
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		*p.to = pem
	}
	if (s.CertPEM == nil) != (s.KeyPEM == nil) {
		return errors.New("client_cert and client_key (BGCTL_CLIENT_CERT and BGCTL_CLIENT_KEY) go together")
	}
	return nil
}
