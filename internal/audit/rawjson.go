package audit

import (
	"fmt"
	"slices"
)

// Bounds on what a stranger's file may make the verifier hold in memory. An
// entry of the service has at most a few ten thousand bytes.
const (
	maxEntryBytes = 256 << 10
	maxPageBytes  = 32 << 20
	maxDepth      = 16
	maxMembers    = 1000      // of one object
	maxInteger    = 1<<53 - 1 // beyond it readers that use doubles disagree (RFC 8785 section 3.2.2.3)
)

// syntaxError says why bytes are not acceptable JSON. cut says that they
// merely end too early.
type syntaxError struct {
	offset  int
	message string
	cut     bool
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.message, e.offset+1) }

// member is one member of a parsed object: its value in canonical form in the
// parser's out, and as received in the parser's data.
type member struct {
	key              string
	start, end       int
	rawStart, rawEnd int
}

// parser reads JSON more strictly than encoding/json and writes each value in
// canonical form. It refuses whatever two readers could understand in two ways:
// repeated keys, invalid UTF-8, lone surrogates, fractions, exponents, negative
// zero and integers that a double can't hold.
type parser struct {
	data  []byte
	pos   int
	depth int
	out   []byte
	text  []byte // of the string being unescaped
}

// document parses data as exactly one object.
func (p *parser) document() ([]member, error) {
	p.space()
	if err := p.expect('{', "an object"); err != nil {
		return nil, err
	}
	ms, err := p.members()
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.data) {
		return nil, p.fail("something follows the object")
	}
	return ms, nil
}

func (p *parser) fail(message string) error { return &syntaxError{offset: p.pos, message: message} }

func (p *parser) cut() error {
	return &syntaxError{offset: len(p.data), message: "it ends in the middle", cut: true}
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) expect(c byte, what string) error {
	if p.pos >= len(p.data) {
		return p.cut()
	}
	if p.data[p.pos] != c {
		return p.fail("expected " + what)
	}
	p.pos++
	return nil
}

// next reports whether the list goes on after one of its items; its end is consumed.
func (p *parser) next(end byte) (more bool, err error) {
	p.space()
	switch {
	case p.pos >= len(p.data):
		return false, p.cut()
	case p.data[p.pos] == end:
		p.pos++
		return false, nil
	case p.data[p.pos] != ',':
		return false, p.fail("expected a comma or the end of the list")
	}
	p.pos++
	p.space()
	return true, nil
}

// empty consumes the end of a list that has no items.
func (p *parser) empty(end byte) bool {
	p.space()
	if p.pos < len(p.data) && p.data[p.pos] == end {
		p.pos++
		return true
	}
	return false
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail("it is nested too deeply")
	}
	return nil
}

// members parses an object after its brace and returns its members sorted.
func (p *parser) members() ([]member, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.empty('}') {
		return nil, nil
	}
	ms := make([]member, 0, 20)
	for more := true; more; {
		var m member
		if err := p.member(&m); err != nil {
			return nil, err
		}
		if ms = append(ms, m); len(ms) > maxMembers {
			return nil, p.fail("an object has too many fields")
		}
		var err error
		if more, err = p.next('}'); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(ms, func(x, y member) int { return compareKeys(x.key, y.key) })
	for i := 1; i < len(ms); i++ {
		if ms[i].key == ms[i-1].key {
			return nil, p.fail("the field " + shown(ms[i].key) + " occurs twice in the object that ends")
		}
	}
	return ms, nil
}

func (p *parser) member(m *member) error {
	raw, plain, err := p.str()
	if err != nil {
		return err
	}
	m.key = string(raw)
	if !plain {
		m.key = string(p.text)
	}
	p.space()
	if err := p.expect(':', "a colon"); err != nil {
		return err
	}
	p.space()
	m.rawStart, m.start = p.pos, len(p.out)
	if err := p.value(); err != nil {
		return err
	}
	m.rawEnd, m.end = p.pos, len(p.out)
	return nil
}

// value parses any value and appends its canonical form to out.
func (p *parser) value() error {
	if p.pos >= len(p.data) {
		return p.cut()
	}
	switch c := p.data[p.pos]; {
	case c == '"':
		return p.stringValue()
	case c == '{':
		p.pos++
		return p.objectValue()
	case c == '[':
		p.pos++
		return p.array()
	case c == '-' || (c >= '0' && c <= '9'):
		return p.integer()
	}
	return p.literal()
}

// objectValue moves the sorted object to where its members were, so that out
// never grows beyond a small multiple of the input, however deep it is nested.
func (p *parser) objectValue() error {
	from := len(p.out)
	ms, err := p.members()
	if err != nil {
		return err
	}
	sorted := len(p.out)
	p.out = p.appendObject(p.out, ms, "")
	n := copy(p.out[from:], p.out[sorted:])
	p.out = p.out[:from+n]
	return nil
}

// appendObject appends the canonical form of an object, leaving one key out.
func (p *parser) appendObject(b []byte, ms []member, without string) []byte {
	b = append(b, '{')
	first := true
	for _, m := range ms {
		if without != "" && m.key == without {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, m.key), ':')
		b = append(b, p.out[m.start:m.end]...)
	}
	return append(b, '}')
}

func (p *parser) array() error {
	if err := p.enter(); err != nil {
		return err
	}
	defer func() { p.depth-- }()
	p.out = append(p.out, '[')
	for more := !p.empty(']'); more; {
		err := p.value()
		if err != nil {
			return err
		}
		if more, err = p.next(']'); err != nil {
			return err
		}
		if more {
			p.out = append(p.out, ',')
		}
	}
	p.out = append(p.out, ']')
	return nil
}
