package notify

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessage bounds the words of a failure that are logged and stored, in bytes.
const maxMessage = 300

// printable makes text from elsewhere safe for a log or a terminal: what isn't
// printable becomes an escape, and the text is cut at limit bytes. A log
// handler's own escaping isn't enough: JSON lets C1 controls and bidirectional
// overrides through.
func printable(s string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		var out string
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Sprintf(`\x%02x`, s[i])
		case r == ' ' || unicode.IsPrint(r):
			out = s[i : i+n]
		default:
			out = fmt.Sprintf(`\u{%x}`, r)
		}
		if b.Len()+len(out) > limit {
			b.WriteString("…")
			break
		}
		b.WriteString(out)
		i += n
	}
	return b.String()
}
