package audit

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

func (p *parser) literal() error {
	for _, word := range []string{"true", "false", "null"} {
		rest := p.data[p.pos:]
		if bytes.HasPrefix(rest, []byte(word)) {
			p.out = append(p.out, word...)
			p.pos += len(word)
			return nil
		}
		if bytes.HasPrefix([]byte(word), rest) {
			return p.cut()
		}
	}
	return p.fail("expected a value")
}

func (p *parser) integer() error {
	from := p.pos
	if p.data[p.pos] == '-' {
		p.pos++
	}
	digits := p.pos
	for p.pos < len(p.data) && p.data[p.pos] >= '0' && p.data[p.pos] <= '9' {
		p.pos++
	}
	if p.pos == len(p.data) {
		return p.cut()
	}
	text := string(p.data[from:p.pos])
	leadingZero := p.data[digits] == '0' && (p.pos-digits > 1 || digits > from)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || leadingZero || bytes.IndexByte([]byte(".eE"), p.data[p.pos]) >= 0 {
		return p.fail("a number must be a plain integer")
	}
	if n > maxInteger || n < -maxInteger {
		return p.fail("a number is too large")
	}
	p.out = append(p.out, text...)
	return nil
}

func (p *parser) stringValue() error {
	raw, plain, err := p.str()
	if err != nil {
		return err
	}
	if plain { // without escapes a valid string is canonical as it stands
		p.out = append(append(append(p.out, '"'), raw...), '"')
		return nil
	}
	p.out = appendString(p.out, string(p.text))
	return nil
}

// str parses a string. Without escapes raw is its text; else p.text is.
func (p *parser) str() (raw []byte, plain bool, err error) {
	if err := p.expect('"', "a string"); err != nil {
		return nil, false, err
	}
	from := p.pos
	p.text = p.text[:0]
	plain = true
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c == '"':
			raw = p.data[from:p.pos]
			p.pos++
			return raw, plain, nil
		case c == '\\':
			if plain {
				plain, p.text = false, append(p.text, p.data[from:p.pos]...)
			}
			if err := p.escape(); err != nil {
				return nil, false, err
			}
		case c < ' ':
			return nil, false, p.fail("a raw control character in a string")
		default:
			if err := p.char(plain); err != nil {
				return nil, false, err
			}
		}
	}
	return nil, false, p.cut()
}

func (p *parser) char(plain bool) error {
	n := 1
	if p.data[p.pos] >= utf8.RuneSelf {
		var r rune
		if r, n = utf8.DecodeRune(p.data[p.pos:]); r == utf8.RuneError && n == 1 {
			if !utf8.FullRune(p.data[p.pos:]) {
				return p.cut()
			}
			return p.fail("invalid UTF-8")
		}
	}
	if !plain {
		p.text = append(p.text, p.data[p.pos:p.pos+n]...)
	}
	p.pos += n
	return nil
}

func (p *parser) escape() error {
	if p.pos+1 >= len(p.data) {
		return p.cut()
	}
	if c := p.data[p.pos+1]; c != 'u' {
		i := bytes.IndexByte([]byte(`"\/bfnrt`), c)
		if i < 0 {
			return p.fail("an unknown escape")
		}
		p.text = append(p.text, "\"\\/\b\f\n\r\t"[i])
		p.pos += 2
		return nil
	}
	r, err := p.unit()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		if rest := p.data[p.pos:]; len(rest) < 2 && bytes.HasPrefix([]byte(`\u`), rest) {
			return p.cut()
		} else if !bytes.HasPrefix(rest, []byte(`\u`)) {
			return p.fail("half of a surrogate pair")
		}
		low, err := p.unit()
		if err != nil {
			return err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return p.fail("half of a surrogate pair")
		}
	}
	p.text = utf8.AppendRune(p.text, r)
	return nil
}

// unit parses one \uXXXX.
func (p *parser) unit() (rune, error) {
	if p.pos+6 > len(p.data) {
		return 0, p.cut()
	}
	var r rune
	for _, c := range p.data[p.pos+2 : p.pos+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, p.fail("an unknown escape")
		}
		r = r<<4 | rune(c)
	}
	p.pos += 6
	return r, nil
}

// shown makes text from a file fit for a message: quoted, escaped and short.
func shown(s string) string {
	const longest = 80
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strconv.Quote(s)
}
