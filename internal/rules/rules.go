// Package rules holds what the files of rules have in common: the checks of
// their shape, people, and the matching of profiles.
package rules

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/yamlfile"
)

// Version is the only version of them all.
const Version = "1"

// Checker collects what is wrong with a file beyond its form.
type Checker struct {
	file     *yamlfile.File
	problems yamlfile.Problems
}

// NewChecker begins with the problems that decoding found.
func NewChecker(file *yamlfile.File, problems yamlfile.Problems) *Checker {
	return &Checker{file: file, problems: problems}
}

// Add reports a problem with the value at path, unless that value, or
// something in it, has one already: the second would only follow from the first.
func (c *Checker) Add(path, format string, args ...any) {
	if c.Clean(path) {
		c.problems = append(c.problems, c.file.Problem(path, fmt.Sprintf(format, args...)))
	}
}

// Clean reports whether nothing is wrong so far with the value at path.
func (c *Checker) Clean(path string) bool {
	return !slices.ContainsFunc(c.problems, func(p yamlfile.Problem) bool {
		rest, inside := strings.CutPrefix(p.Path, path)
		return inside && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// Err returns every problem, or nil.
func (c *Checker) Err() error { return c.problems.Err() }

// Head checks what comes before the rules, and the names of the rules.
func (c *Checker) Head(version string, names []string, why string) {
	switch version {
	case Version:
	case "":
		c.Add("version", `is required: write version: "%s"`, Version)
	default:
		c.Add("version", "%.64q is unknown to this server, which knows %.64q", version, Version)
	}
	if len(names) == 0 {
		c.Add("rules", "needs at least one rule: %s", why)
	}
	seen := map[string]int{}
	for i, name := range names {
		at := fmt.Sprintf("rules[%d].name", i)
		if name == "" {
			c.Add(at, "is required: refusals and the audit trail name the rule")
			continue
		}
		c.Name(at, name)
		if first, dup := seen[name]; dup {
			c.Add(at, "%.64q is the name of rules[%d] on line %d too", name, first, c.file.Line(fmt.Sprintf("rules[%d].name", first)))
			continue
		}
		seen[name] = i
	}
}

// Name checks the form of a name.
func (c *Checker) Name(path, name string) {
	if problem := breakglass.CheckName(name); problem != "" {
		c.Add(path, "%s", problem)
	}
}

// Profiles checks the profiles of a rule.
func (c *Checker) Profiles(at string, patterns []string) {
	for i, pattern := range patterns {
		item := fmt.Sprintf("%s[%d]", at, i)
		c.Name(item, pattern)
		if _, err := path.Match(hide(pattern), ""); err != nil {
			c.Add(item, `%.64q is not a valid pattern: [ needs its ], and \ something after it`, pattern)
		}
	}
	c.Unique(at, patterns)
}

// Unique reports items of a list that are there twice.
func (c *Checker) Unique(at string, items []string) {
	for i, item := range items {
		if first := slices.Index(items, item); first < i {
			c.Add(fmt.Sprintf("%s[%d]", at, i), "%.64q is there twice", item)
		}
	}
}

// Words writes a length of time for people, such as 1h30m, in whole seconds
// rounded up: whoever waits that long is not too early.
func Words(d time.Duration) string {
	if whole := d.Truncate(time.Second); whole < d {
		d = whole + time.Second
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// List joins words for people: a, b or c.
func List[T ~string](items []T, last string) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = string(item)
	}
	n := len(words) - 1
	if n < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}
