package breakglass

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths of free text, in Unicode code points after trimming.
const (
	MinJustification = 20
	MaxJustification = 1000
	MaxTicket        = 100
	MaxClosedReason  = 1000
	MaxName          = 256
)

// CheckJustification returns what is wrong with a justification, or "".
// It expects the text as the caller sent it; white space around it doesn't count.
func CheckJustification(s string) string {
	return checkText(strings.TrimSpace(s), MinJustification, MaxJustification)
}

// CheckTicket returns what is wrong with a ticket reference, or "". Empty is allowed.
func CheckTicket(s string) string { return checkText(strings.TrimSpace(s), 0, MaxTicket) }

// CheckClosedReason returns what is wrong with the reason for closing, or "".
func CheckClosedReason(s string) string { return checkText(strings.TrimSpace(s), 1, MaxClosedReason) }

// CheckName returns what is wrong with the name of a profile or principal, or
// "". Only the form is checked here, not whether it exists.
func CheckName(s string) string {
	if strings.TrimSpace(s) != s {
		return "must not begin or end with white space"
	}
	return checkText(s, 1, MaxName)
}

func checkText(s string, minLen, maxLen int) string {
	if !utf8.ValidString(s) {
		return "must be valid UTF-8"
	}
	if i := strings.IndexFunc(s, isUnsafe); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Sprintf("must not contain control or invisible characters (found %U)", r)
	}
	switch n := utf8.RuneCountInString(s); {
	case n == 0 && minLen > 0:
		return fmt.Sprintf("must not be empty (%d to %d characters)", minLen, maxLen)
	case n < minLen || n > maxLen:
		return fmt.Sprintf("must have %d to %d characters, has %d", minLen, maxLen, n)
	case minLen > 1 && 2*legible(s) < minLen:
		return "must be text that can be read: most of it shows nothing by itself"
	}
	return ""
}

// legible counts the characters that show something by themselves: no white
// space, no marks, no joiners. Half of the shortest text must be such, which
// leaves room for combining marks and emoji sequences.
func legible(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsSpace(r) && !unicode.In(r, unicode.M, unicode.Cf) {
			n++
		}
	}
	return n
}

// isUnsafe reports characters that can change how the text around them is
// shown, or that hide: control characters, line and paragraph separators, the
// bidirectional overrides with which a text can be made to read as another
// (Unicode UAX #9), characters that show nothing, and tags, which hide a second
// text in the first. Joiners stay allowed: emoji and many scripts need them.
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) || IsInvisible(r)
}

// IsInvisible reports format characters, fillers and blanks that show nothing
// and that no ordinary text needs. Some of them are letters or marks to Unicode
// and printable to package unicode, so whoever shows text of others asks here too.
func IsInvisible(r rune) bool { return unicode.Is(invisible, r) }

// invisible is the table of IsInvisible. openapi.yaml lists the same. U+FE0F
// is not in it: it makes emoji of symbols.
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00AD, Hi: 0x00AD, Stride: 1}, // soft hyphen
		{Lo: 0x034F, Hi: 0x034F, Stride: 1}, // combining grapheme joiner
		{Lo: 0x115F, Hi: 0x1160, Stride: 1}, // Hangul fillers
		{Lo: 0x17B4, Hi: 0x17B5, Stride: 1}, // Khmer inherent vowels
		{Lo: 0x180B, Hi: 0x180F, Stride: 1}, // Mongolian variation selectors, vowel separator
		{Lo: 0x200B, Hi: 0x200B, Stride: 1}, // zero-width space
		{Lo: 0x2060, Hi: 0x2064, Stride: 1}, // word joiner, invisible operators
		{Lo: 0x206A, Hi: 0x206F, Stride: 1}, // deprecated format characters
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, // empty Braille pattern
		{Lo: 0x3164, Hi: 0x3164, Stride: 1}, // Hangul filler
		{Lo: 0xFEFF, Hi: 0xFEFF, Stride: 1}, // byte order mark
		{Lo: 0xFFA0, Hi: 0xFFA0, Stride: 1}, // half-width Hangul filler
		{Lo: 0xFFF9, Hi: 0xFFFB, Stride: 1}, // interlinear annotation
	},
	R32: []unicode.Range32{
		{Lo: 0x1D173, Hi: 0x1D17A, Stride: 1}, // musical format characters
		{Lo: 0xE0000, Hi: 0xE007F, Stride: 1}, // tags
		{Lo: 0xE0100, Hi: 0xE01EF, Stride: 1}, // variation selectors 17 to 256
	},
	LatinOffset: 1,
}
