// Package session makes and reads the server's own session tokens: what a
// caller gets for an identity that was proved once, by a way in that can't be
// asked again at every call.
//
// A token carries everything about itself and is signed with a key from the
// configuration, so every replica takes it, a restart doesn't end it, and no
// table has to be kept.
package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"breakglass/internal/fileperm"
)

// KeySource says where a key is: in an environment variable or in a file.
type KeySource struct {
	Env  string `yaml:"env"`
	File string `yaml:"file"`
}

// Problem is one thing that is wrong with a configuration. Path leads to it, as
// in [0].env. Message never repeats a value that could be a key.
type Problem struct {
	Path    string
	Message string
}

// MinKey and maxKey bound the text of a key, in bytes.
const (
	MinKey = 32
	maxKey = 4 << 10
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// Validate returns everything that is wrong with the sources; it looks at
// nothing outside them.
func Validate(sources []KeySource) []Problem {
	var ps []Problem
	seen := map[KeySource]int{}
	for i, s := range sources {
		path := fmt.Sprintf("[%d]", i)
		switch {
		case s.Env == "" && s.File == "":
			ps = append(ps, Problem{path, "needs env, the name of an environment variable, or file"})
		case s.Env != "" && s.File != "":
			ps = append(ps, Problem{path, "can't have env and file together"})
		case s.Env != "" && !envName.MatchString(s.Env):
			// Not quoted: the likeliest mistake is the key itself.
			ps = append(ps, Problem{path + ".env", "must be the name of an environment variable, not the key"})
		}
		if first, dup := seen[s]; dup {
			ps = append(ps, Problem{path, fmt.Sprintf("is the same as [%d]", first)})
		}
		seen[s] = i
	}
	return ps
}

// Keys sign with the first key and accept every one, so that a key is replaced
// by putting the new one in front and removing the old one when what it signed
// has ended. Safe for concurrent use.
type Keys struct{ keys [][]byte }

// Load reads the keys. lookup is os.LookupEnv. Its error joins what is wrong
// with each.
func Load(sources []KeySource, lookup func(string) (string, bool)) (*Keys, error) {
	k := &Keys{}
	var errs []error
	for i, s := range sources {
		text, err := read(s, lookup)
		if err == nil {
			err = checkKey(text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.session_keys[%d]: %w", i, err))
			continue
		}
		k.keys = append(k.keys, []byte(text))
	}
	if len(sources) == 0 {
		errs = append(errs, errors.New("auth.session_keys: there is none"))
	}
	return k, errors.Join(errs...)
}

// Random returns a key that nobody else has and that ends with the process.
func Random() *Keys {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand aborts the program instead
	return &Keys{keys: [][]byte{key}}
}

func read(s KeySource, lookup func(string) (string, bool)) (string, error) {
	if s.File == "" {
		text, ok := lookup(s.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s isn't set", s.Env)
		}
		return strings.TrimSpace(text), nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := fileperm.Private(s.File, info); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

func checkKey(text string) error {
	distinct := map[rune]bool{}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return errors.New("a key is printable text, such as the output of: openssl rand -base64 32")
		}
		distinct[r] = true
	}
	switch {
	case len(text) < MinKey:
		return fmt.Errorf("a key has at least %d characters, such as the output of: openssl rand -base64 32", MinKey)
	case len(text) > maxKey:
		return fmt.Errorf("a key has at most %d characters", maxKey)
	case len(distinct) < 8: // the placeholder that nobody replaced
		return errors.New("the key repeats a few characters; use the output of: openssl rand -base64 32")
	}
	return nil
}

// MAC returns the HMAC-SHA256 of data under the first key, for one purpose: a
// MAC made for one is worth nothing for another.
func (k *Keys) MAC(purpose string, data []byte) []byte { return mac(k.keys[0], purpose, data) }

// Verify reports whether any key made the MAC. It takes the same time wherever
// the MACs differ.
func (k *Keys) Verify(purpose string, data, tag []byte) bool {
	ok := false
	for _, key := range k.keys {
		ok = hmac.Equal(mac(key, purpose, data), tag) || ok
	}
	return ok
}

func mac(key []byte, purpose string, data []byte) []byte {
	derive := hmac.New(sha256.New, key)
	derive.Write([]byte("breakglass/" + purpose))
	h := hmac.New(sha256.New, derive.Sum(nil))
	h.Write(data)
	return h.Sum(nil)
}
