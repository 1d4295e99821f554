package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fields says which members an object may have, and how each is read: a
// function that stores the value, or returns what is wrong with it.
type fields map[string]func(raw json.RawMessage) (problem string)

// read stores every member of the object and notes all that are unknown,
// repeated or of the wrong type. Names are exact: encoding/json would take
// "Profile" for "profile", and the last of two.
func (known fields) read(obj object, f *faults) {
	seen := map[string]int{}
	for _, m := range obj {
		seen[m.name]++
		read, ok := known[m.name]
		switch {
		case seen[m.name] == 2:
			f.add(shown(m.name), "must be given once")
		case seen[m.name] > 2:
		case !ok:
			f.add(shown(m.name), "is not a field of this request"+known.hint())
		default:
			f.add(m.name, read(m.value))
		}
	}
}

func (known fields) hint() string {
	if len(known) == 0 {
		return "; it has none"
	}
	return "; it has " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

// text reads a string.
func text(out *string) func(json.RawMessage) string {
	return func(raw json.RawMessage) string {
		if raw[0] != '"' {
			return "must be a string, not " + kind(raw)
		}
		if hasLoneSurrogate(raw) {
			return "must not contain half of a surrogate pair"
		}
		if json.Unmarshal(raw, out) != nil {
			return "must be a string"
		}
		return ""
	}
}

// optionalText reads a string and keeps apart an empty and an absent one.
func optionalText(out **string) func(json.RawMessage) string {
	return func(raw json.RawMessage) string {
		var s string
		problem := text(&s)(raw)
		if problem == "" {
			*out = &s
		}
		return problem
	}
}

// optionalInteger reads a whole number, written without fraction and exponent.
func optionalInteger(out **int64) func(json.RawMessage) string {
	return func(raw json.RawMessage) string {
		if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
			return "must be a whole number, not " + kind(raw)
		}
		if strings.ContainsAny(string(raw), ".eE") {
			return "must be a whole number without fraction or exponent"
		}
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return fmt.Sprintf("is out of range: %s", shown(string(raw)))
		}
		*out = &n
		return ""
	}
}

// hasLoneSurrogate finds escapes such as \ud800 without their other half.
// encoding/json would replace them silently; they are no Unicode text (RFC
// 7493, section 2.1).
func hasLoneSurrogate(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] != 'u' {
			i++ // an escaped character, which may be a backslash
			continue
		}
		switch u := hex4(raw[i+2:]); {
		case u >= 0xD800 && u < 0xDC00:
			low := raw[min(i+6, len(raw)):]
			if len(low) < 6 || low[0] != '\\' || low[1] != 'u' {
				return true
			}
			if l := hex4(low[2:]); l < 0xDC00 || l > 0xDFFF {
				return true
			}
			i += 11
		case u >= 0xDC00 && u < 0xE000:
			return true
		default:
			i += 5
		}
	}
	return false
}

func hex4(b []byte) int64 {
	n, err := strconv.ParseInt(string(b[:min(4, len(b))]), 16, 32)
	if err != nil {
		return -1
	}
	return n
}
