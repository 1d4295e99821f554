package api

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxCause bounds what one refused request can write to the log, in bytes.
const maxCause = 300

// loggable is a cause as the log may hold it: bounded, and without characters
// that can't be seen. Parts of it can come from whoever made the request.
func loggable(cause string) string {
	var b strings.Builder
	for _, r := range cause {
		text := string(r)
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			text = fmt.Sprintf(`\u{%x}`, r)
		}
		if b.Len()+len(text) > maxCause-len("…") {
			b.WriteString("…")
			break
		}
		b.WriteString(text)
	}
	return b.String()
}
