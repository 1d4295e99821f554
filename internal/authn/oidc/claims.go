package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth bounds the nesting of claims. Real tokens have two or three levels.
const maxDepth = 12

// claims are the claims of a token by their exact names.
type claims map[string]json.RawMessage

// decodeClaims reads a JSON object strictly: valid UTF-8, no name twice at any
// level. Two readers that each take another one of two values is how a check
// and its use are driven apart (RFC 8725, section 2.4).
func decodeClaims(data []byte) (claims, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	if err := walk(d, '{', 1); err != nil {
		return nil, err
	}
	if d.More() || len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return nil, errors.New("something follows the JSON object")
	}
	var c claims
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, errors.New("not JSON")
	}
	return c, nil
}

// walk reads up to the end of an object or array that has begun.
func walk(d *json.Decoder, open json.Delim, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deeply")
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			name, ok := t.(string)
			if err != nil || !ok {
				return errors.New("not JSON")
			}
			if seen[name] {
				return errors.New("a name is there twice")
			}
			seen[name] = true
		}
		t, err := d.Token()
		if err != nil {
			return errors.New("not JSON")
		}
		if inner, ok := t.(json.Delim); ok {
			if err := walk(d, inner, depth+1); err != nil {
				return err
			}
		}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("not JSON")
	}
	return nil
}

// exact is the object of these names alone. encoding/json would also take Kid
// for kid.
func (c claims) exact(names ...string) []byte {
	kept := claims{}
	for _, n := range names {
		if v, ok := c[n]; ok {
			kept[n] = v
		}
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return nil // not JSON, and refused as such
	}
	return data
}

func (c claims) text(name string) (string, error) {
	raw, ok := c[name]
	if !ok {
		return "", fmt.Errorf("no claim %q", name)
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("claim %q is not a string", name)
	}
	return *s, nil
}

// texts is a claim that holds one string or a list of strings; none when it
// isn't there. A list within the list is no list of strings.
func (c claims) texts(name string) ([]string, error) {
	raw, ok := c[name]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	if one, err := c.text(name); err == nil {
		return []string{one}, nil
	}
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("claim %q is neither a string nor a list of strings", name)
	}
	out := make([]string, len(list))
	for i, s := range list {
		if s == nil {
			return nil, fmt.Errorf("claim %q holds something other than strings", name)
		}
		out[i] = *s
	}
	return out, nil
}

// instant is a claim in seconds since 1970; ok is false when it isn't there.
func (c claims) instant(name string) (t time.Time, ok bool, err error) {
	raw, ok := c[name]
	if !ok {
		return t, false, nil
	}
	var n float64
	if err := json.Unmarshal(raw, &n); err != nil || bytes.Equal(raw, []byte("null")) || n < 0 || n > 1<<40 {
		return t, true, fmt.Errorf("claim %q is not a time in seconds", name)
	}
	whole, part := math.Modf(n)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}

// is reports whether a claim is there with exactly this value: the text of a
// string, or true, false or a number as it is written.
func (c claims) is(name, value string) bool {
	raw, ok := c[name]
	if !ok {
		return false
	}
	if s, err := c.text(name); err == nil {
		return s == value
	}
	switch text := string(raw); {
	case strings.ContainsAny(text[:1], `{["n`): // lists, objects, null
		return false
	default:
		return text == value
	}
}
