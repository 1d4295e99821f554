package rules

import (
	"path"
	"slices"
	"strings"
)

// Profiles selects profiles by name or pattern; none at all selects every one.
// In a pattern * stands for any characters, ? for any one, [a-z] for one of a
// range, and \ takes the meaning from the next character.
type Profiles []string

// Match reports whether the profile is selected. Upper and lower case differ.
//
// Unlike in path.Match, * and ? stand for a slash too: a rate limit written
// for "*" that didn't reach the profile "team/prod" would be no limit at all.
func (p Profiles) Match(profile string) bool {
	return len(p) == 0 || slices.ContainsFunc(p, func(pattern string) bool {
		ok, err := path.Match(hide(pattern), hide(profile))
		return ok && err == nil
	})
}

// hide replaces slashes by a character that no name can hold.
func hide(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
