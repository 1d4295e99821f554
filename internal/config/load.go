package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"breakglass/internal/fileperm"
	"breakglass/internal/notify"
	"breakglass/internal/yamlfile"
)

// MaxSize bounds the configuration file.
const MaxSize = 1 << 20

// Load reads and validates the file. Its error lists every problem, one to a
// line, as file:line: message.
func Load(path string) (Config, error) {
	data, err := read(path)
	if err != nil {
		return Config{}, err
	}
	return Parse(path, data)
}

// Inspected is a configuration file with what is wrong with it.
type Inspected struct {
	Config   Config // what could be read of it
	File     *yamlfile.File
	Problems yamlfile.Problems
}

// Usable reports whether there is anything to look at beside the problems.
func (i Inspected) Usable() bool { return i.File.IsYAML() }

// Inspect is Load for somebody who wants to see more than the problems of the
// file itself: those of the files that it names. Its error says that the file
// can't be read at all.
func Inspect(path string) (Inspected, error) {
	data, err := read(path)
	if err != nil {
		return Inspected{}, err
	}
	return inspect(path, data), nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err == nil {
		err = fileperm.Trusted(path, info)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return data, nil
}

// Parse is Load for a file that was read already; path names it in messages
// and is where relative paths in it start.
func Parse(path string, data []byte) (Config, error) {
	i := inspect(path, data)
	if err := i.Problems.Err(); err != nil {
		return Config{}, err
	}
	return i.Config, nil
}

func inspect(path string, data []byte) Inspected {
	c, file, problems := yamlfile.DecodeInto(Default(), path, data)
	if !file.IsYAML() {
		return Inspected{File: file, Problems: problems} // what is missing would only be noise
	}
	v := &validator{file: file, problems: problems}
	c.validate(v)
	c.resolve(filepath.Dir(path))
	return Inspected{Config: c, File: file, Problems: v.problems}
}

// resolve makes relative paths start at dir.
func (c *Config) resolve(dir string) {
	for _, p := range []*string{&c.Store.SQLite.Path, &c.PolicyFile, &c.RateLimitFile, &c.AccessFile, &c.ApprovalsFile,
		&c.TLS.CertFile, &c.TLS.KeyFile, &c.TLS.ClientCAFile, &c.Audit.File} {
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
