// Package show turns values into what a terminal or a program may read: text
// of other people made harmless, tables that fit, times and durations in words.
package show

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"breakglass/internal/breakglass"
)

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
)

// Safe returns s with everything made visible that could steer a terminal or
// make a text read as another one: control characters and with them escape
// sequences, line breaks, bidirectional overrides (Unicode UAX #9), invisible
// format characters and fillers, private-use and unassigned code points, bytes
// that aren't UTF-8. Joiners stay: emoji and many scripts need them. Kinds of space become
// a plain space.
//
// All text that came from outside goes through here on its way to a terminal.
func Safe(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case isHarmless(r):
			b.WriteRune(r)
		case unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// isHarmless says that a character may go to a terminal as it is.
func isHarmless(r rune) bool {
	return (unicode.IsPrint(r) || r == zeroWidthJoiner || r == zeroWidthNonJoiner) && !breakglass.IsInvisible(r)
}

// Lines is Safe for text that may have several lines: line breaks stay.
func Lines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Safe(lines[i])
	}
	return strings.Join(lines, "\n")
}

// JSON returns JSON that means the same as data and holds no character that
// Safe would change: they are written as \u escapes, which encoding/json does
// for some of them only. data must be valid JSON; the line breaks and spaces
// of its layout stay.
func JSON(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == '\n' || isHarmless(r) && (r != utf8.RuneError || n > 1):
			out = append(out, data[:n]...)
		case r == '\t' || r == '\r':
			out = append(out, ' ') // layout; within a string JSON forbids it
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		data = data[n:]
	}
	return out
}

// Indented marshals v as indented JSON that is safe to print, with a newline.
func Indented(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return append(JSON(b), '\n'), nil
}
