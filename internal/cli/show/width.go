package show

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const (
	emojiPresentation = '\ufe0f' // asks for the wide form of the character before
	keycap            = '\u20e3'
	ellipsis          = "…"
)

// Width is the number of terminal columns that s takes. s must be Safe.
func Width(s string) int {
	if isPlain(s) {
		return len(s)
	}
	total := 0
	for s != "" {
		n, w := cluster(s)
		total += w
		s = s[n:]
	}
	return total
}

// cluster measures the characters at the start of s that a terminal draws as
// one: a base with its marks, an emoji with its modifiers and joined emoji. It
// knows the usual ones of Unicode UAX #29; where a terminal doesn't join, it
// draws more than counted.
func cluster(s string) (bytes, columns int) {
	base, n := utf8.DecodeRuneInString(s)
	columns = runeWidth(base)
	joined := false
	for n < len(s) {
		r, m := utf8.DecodeRuneInString(s[n:])
		switch {
		case r == zeroWidthJoiner:
			joined = columns == 2
		case joined && runeWidth(r) > 0:
			joined = false
		case r == keycap, r == emojiPresentation && unicode.IsSymbol(base):
			columns = 2
		case isSkinTone(r) && columns == 2, unicode.In(r, unicode.M), r == zeroWidthNonJoiner:
		default:
			return n, columns
		}
		n += m
	}
	return n, columns
}

func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.M, unicode.Cf):
		return 0
	case r >= 0x1160 && r <= 0x11ff: // Hangul vowels and finals join the syllable before
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func isSkinTone(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

// Truncate returns s cut to at most columns, with … at the end when something
// was cut. s must be Safe.
func Truncate(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	if columns < 1 {
		return ""
	}
	used, end := 0, 0
	for end < len(s) {
		n, w := cluster(s[end:])
		if used+w > columns-1 {
			break
		}
		used, end = used+w, end+n
	}
	return strings.TrimRight(s[:end], " ") + ellipsis
}

// pad fills s up with spaces.
func pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-Width(s)))
}

// WrapLines wraps each line on its own. Indented lines stay whole: they are
// commands to copy.
func WrapLines(s string, columns int) string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if line == "" || line[0] == ' ' || Width(line) <= columns {
			out = append(out, line)
			continue
		}
		out = append(out, Wrap(line, columns)...)
	}
	return strings.Join(out, "\n")
}

// Wrap breaks a text at spaces into lines of at most columns. s must be Safe.
func Wrap(s string, columns int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= columns:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
