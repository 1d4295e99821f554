package api

import (
	"net/http"
	"strings"
)

// maxIdempotencyKey is the longest key, in characters.
const maxIdempotencyKey = 255

const idempotencyHeader = "Idempotency-Key"

// idempotencyKey returns the key of a request; empty when it has none. The
// header is a string of RFC 8941, section 3.3.3, in double quotes, or the same
// characters bare. Both forms of a key are the same key.
func idempotencyKey(h http.Header, f *faults) string {
	values := h[idempotencyHeader]
	if len(values) == 0 {
		return ""
	}
	if len(values) > 1 {
		f.add(idempotencyHeader, "must be given once")
		return ""
	}
	key, ok := values[0], true
	if strings.HasPrefix(key, `"`) {
		key, ok = unquote(key)
	} else if strings.ContainsAny(key, `"\,;`) {
		ok = false // two headers that a proxy has joined, or a broken string
	}
	if !ok || key == "" || len(key) > maxIdempotencyKey || strings.IndexFunc(key, notVisible) >= 0 {
		f.add(idempotencyHeader, `must be 1 to 255 visible ASCII characters, bare or in double quotes; bare, without any of " \ , ;`)
		return ""
	}
	return key
}

func notVisible(r rune) bool { return r <= ' ' || r > '~' }

// unquote reads a string of RFC 8941: \" and \\ are the only escapes, and
// nothing may follow the closing quote.
func unquote(s string) (string, bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			i++
			if i >= len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
