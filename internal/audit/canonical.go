package audit

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"breakglass/internal/breakglass"
)

// appendCanonical is written by hand because it runs for every entry in the
// store's single writer. It must leave out exactly what encoding/json leaves
// out (the tags of breakglass.LogEntry); a test holds the two against each
// other field by field.
func appendCanonical(b []byte, e *breakglass.LogEntry) []byte {
	b = append(b, `{"actor":`...)
	b = appendString(b, e.Actor)
	b = appendOptional(b, `,"closed_by":`, e.ClosedBy)
	b = appendOptional(b, `,"closed_reason":`, e.ClosedReason)
	if len(e.Detail) > 0 {
		b = appendMap(append(b, `,"detail":`...), e.Detail)
	}
	if e.DurationSeconds != 0 {
		b = strconv.AppendInt(append(b, `,"duration_seconds":`...), e.DurationSeconds, 10)
	}
	b = appendString(append(b, `,"event":`...), string(e.Event))
	b = appendOptional(b, `,"event_id":`, e.EventID)
	if !e.ExpiresAt.IsZero() {
		b = appendTime(append(b, `,"expires_at":`...), e.ExpiresAt)
	}
	b = appendOptional(b, `,"invoker":`, e.Invoker)
	b = appendOptional(b, `,"justification":`, e.Justification)
	b = appendString(append(b, `,"prev_hash":`...), e.PrevHash)
	b = appendOptional(b, `,"profile":`, e.Profile)
	b = appendOptional(b, `,"reason":`, e.Reason)
	b = appendOptional(b, `,"reason_code":`, string(e.ReasonCode))
	b = appendOptional(b, `,"request_id":`, e.RequestID)
	b = strconv.AppendInt(append(b, `,"seq":`...), e.Seq, 10)
	b = appendOptional(b, `,"status":`, string(e.Status))
	b = appendTime(append(b, `,"timestamp":`...), e.Timestamp)
	return append(b, '}')
}

func appendOptional(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, key...), value)
}

func appendTime(b []byte, t time.Time) []byte {
	b = t.UTC().AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"')
}

type pair struct{ key, value string }

func appendMap(b []byte, m map[string]string) []byte {
	var room [24]pair
	pairs := room[:0]
	for k, v := range m {
		pairs = append(pairs, pair{k, v})
	}
	slices.SortFunc(pairs, func(x, y pair) int { return compareKeys(x.key, y.key) })
	b = append(b, '{')
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, p.key), ':')
		b = appendString(b, p.value)
	}
	return append(b, '}')
}

// compareKeys orders keys by their UTF-16 code units, as RFC 8785 section
// 3.2.3 wants. That differs from the order of the bytes only where a character
// beyond U+FFFF meets one from U+E000 on; ours are ASCII.
func compareKeys(x, y string) int {
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] >= utf8.RuneSelf || y[i] >= utf8.RuneSelf {
			return slices.Compare(utf16.Encode([]rune(x)), utf16.Encode([]rune(y)))
		}
		if x[i] != y[i] {
			return cmp.Compare(x[i], y[i])
		}
	}
	return cmp.Compare(len(x), len(y))
}

// appendString quotes s with the escapes of RFC 8785 section 3.2.2.2. Bytes
// that aren't UTF-8 become U+FFFD one by one, as in encoding/json: what is
// served must hash to what was stored.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for s != "" {
		n := plainPrefix(s)
		b, s = append(b, s[:n]...), s[n:]
		if s == "" {
			break
		}
		if s[0] < utf8.RuneSelf {
			b, s = appendEscape(b, s[0]), s[1:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		b, s = utf8.AppendRune(b, r), s[n:]
	}
	return append(b, '"')
}

// plainPrefix is the length of the ASCII at the start of s that needs no
// escape. It looks at eight bytes at once: a bit is set in the top of each byte
// that is below a space, a quote, a backslash or not ASCII. Borrows can only set
// bits above a byte that is really special, so the first one found is right.
func plainPrefix(s string) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		special := w | (w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)
		if special &= tops; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

func appendEscape(b []byte, c byte) []byte {
	if short := shortEscape(c); short != 0 {
		return append(b, '\\', short)
	}
	const hexDigits = "0123456789abcdef"
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func shortEscape(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case '\b':
		return 'b'
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\f':
		return 'f'
	case '\r':
		return 'r'
	}
	return 0
}
