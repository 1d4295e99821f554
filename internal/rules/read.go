package rules

import (
	"crypto/sha256"
	"encoding/hex"

	"breakglass/internal/yamlfile"
)

// form is what every file of rules looks like.
type form[R any] struct {
	Version string `yaml:"version"`
	Rules   []R    `yaml:"rules"`
}

// Read decodes a file of rules and checks what comes before the rules, and their
// names. file is what messages call it; why ends the message about a file without
// rules. The Checker goes on from there.
func Read[R any](file string, data []byte, name func(R) string, why string) ([]R, *Checker) {
	f, at, problems := yamlfile.Decode[form[R]](file, data)
	c := NewChecker(at, problems)
	if len(problems) > 0 && f.Version == "" && len(f.Rules) == 0 {
		return nil, c // nothing could be read: what is missing would only be noise
	}
	names := make([]string, len(f.Rules))
	for i, r := range f.Rules {
		names[i] = name(r)
	}
	c.Head(f.Version, names, why)
	return f.Rules, c
}

// SHA256 is the hex digest by which a file of rules is named.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
