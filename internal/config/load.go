package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"breakglass/internal/notify"
	"breakglass/internal/yamlfile"
)

// MaxSize bounds the configuration file.
const MaxSize = 1 << 20

// Load reads and validates the file. Its error lists every problem, one to a
// line, as file:line: message.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse is Load for a file that was read already; path names it in messages
// and is where relative paths in it start.
func Parse(path string, data []byte) (Config, error) {
	c, file, problems := yamlfile.DecodeInto(Default(), path, data)
	if !file.IsYAML() {
		return Config{}, problems.Err() // what is missing would only be noise
	}
	v := &validator{file: file, problems: problems}
	c.validate(v)
	if err := v.problems.Err(); err != nil {
		return Config{}, err
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// resolve makes relative paths start at dir.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.Store.SQLite.Path, &c.PolicyFile, &c.RateLimitFile,
		&c.TLS.CertFile, &c.TLS.KeyFile, &c.Audit.File} {
		resolve(p, dir)
	}
	for i := range c.Auth.OIDC {
		resolve(&c.Auth.OIDC[i].CAFile, dir)
	}
	for i := range c.Auth.SessionKeys {
		resolve(&c.Auth.SessionKeys[i].File, dir)
	}
	if c.Auth.MFA != nil {
		for i := range c.Auth.MFA.Keys {
			resolve(&c.Auth.MFA.Keys[i].File, dir)
		}
	}
	resolveSinks(c.Notify.Sinks, dir)
}

func resolveSinks(sinks []notify.SinkConfig, dir string) {
	for i := range sinks {
		resolve(&sinks[i].SecretFile, dir)
		resolveSinks(sinks[i].Sinks, dir)
	}
}

func resolve(path *string, dir string) {
	if *path != "" && !filepath.IsAbs(*path) {
		*path = filepath.Join(dir, *path)
	}
}
