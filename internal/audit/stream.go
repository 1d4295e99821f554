package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// TornError says that the input ends in the middle of an entry, as a mirror
// does after a crash while it was written. Everything before was verified.
// A tail that was cut off looks the same; only a known head tells them apart.
type TornError struct {
	Line  int
	Bytes int // of the unfinished entry or page
}

func (e *TornError) Error() string {
	return fmt.Sprintf("line %d: the input is torn: it ends in the middle of what begins here, after %d bytes, as a crash or a cut-off copy "+
		"leaves it; everything before this line was verified", e.Line, e.Bytes)
}

// VerifyStream verifies a trail in any form in which it is handed around: JSON
// lines (a mirror file), pages {"items":[…]} as the API serves them, or arrays
// of entries; pages and arrays may follow one another and may span lines. Lines
// are read one at a time; JSON that spans lines is held in memory up to 32 MiB.
//
// The error is nil, a *BadEntry (the trail is not what it claims to be), a
// *TornError, or the reader's. The Result tells how far it was verified in
// every case.
func VerifyStream(r io.Reader, o Options) (Result, error) {
	s := &stream{in: bufio.NewReaderSize(r, 16<<10), v: NewVerifier(o)}
	err := s.run()
	var torn *TornError
	if err != nil && !errors.As(err, &torn) {
		return s.v.Result(), err
	}
	res, bad := s.v.Finish()
	if bad != nil { // a known head that is missing says more than a torn line
		return res, bad
	}
	return res, err
}

// jsonSpace is all that JSON takes for white space (RFC 8259 section 2).
const jsonSpace = " \t\r\n"

type stream struct {
	in   *bufio.Reader
	buf  []byte
	line int
	v    *Verifier
}

func (s *stream) run() error {
	for first := true; ; {
		line, ended, err := s.read()
		if err != nil {
			return err
		}
		if len(line) == 0 && !ended {
			return nil
		}
		s.line++
		text := bytes.Trim(line, jsonSpace)
		if len(text) == 0 {
			continue
		}
		if first && ended && spansLines(text) {
			return s.whole(line)
		}
		first = false
		if err := s.text(text, ended); err != nil {
			return err
		}
	}
}

// read returns the next line without its newline; ended says that it had one.
func (s *stream) read() (line []byte, ended bool, err error) {
	s.buf = s.buf[:0]
	for {
		part, err := s.in.ReadSlice('\n')
		s.buf = append(s.buf, part...)
		switch {
		case len(s.buf) > maxPageBytes:
			return nil, false, s.v.fail(&errFields{"the line is longer than 32 MiB"}, s.line+1, 0)
		case err == nil:
			return s.buf[:len(s.buf)-1], true, nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return s.buf, false, nil
		}
		return nil, false, fmt.Errorf("read the trail: %w", err)
	}
}

// spansLines recognises the first line of JSON that is spread over lines. A
// damaged line of a mirror doesn't look like that, so it is named as itself.
func spansLines(text []byte) bool {
	switch text[len(text)-1] {
	case '{', '[', ',', ':':
		return true
	}
	p := parser{data: text}
	return text[0] == '[' && isCut(p.value())
}

// text verifies what one line holds.
func (s *stream) text(text []byte, ended bool) error {
	if !ended {
		if torn := bytes.TrimRight(text, "\x00"); isTorn(torn) {
			return &TornError{Line: s.line, Bytes: len(torn)}
		}
	}
	return s.value(text, func(int) int { return s.line })
}

// isTorn reports whether an unterminated last line is the beginning of an
// object or array. File systems may fill the rest of a torn write with zeros.
func isTorn(text []byte) bool {
	p := parser{data: text}
	return len(text) == 0 || ((text[0] == '{' || text[0] == '[') && isCut(p.value()))
}

// whole verifies JSON that spans lines, of which the first is given.
func (s *stream) whole(first []byte) error {
	data := append(bytes.Clone(first), '\n')
	rest, err := io.ReadAll(io.LimitReader(s.in, maxPageBytes))
	if err != nil {
		return fmt.Errorf("read the trail: %w", err)
	}
	data = append(data, rest...)
	if len(data) >= maxPageBytes {
		return s.v.fail(&errFields{"JSON that spans lines may have 32 MiB at most; one entry on each line has no limit"}, s.line, 0)
	}
	at := lines{data: data, line: s.line}
	p := parser{data: data}
	for p.space(); p.pos < len(data); p.space() {
		from := p.pos
		err := p.value()
		if isCut(err) {
			return &TornError{Line: at.of(from), Bytes: len(data) - from}
		}
		if err != nil {
			return s.v.fail(err, at.of(p.pos), 0)
		}
		p.out = p.out[:0]
		if err := s.value(data[from:p.pos], func(offset int) int { return at.of(from + offset) }); err != nil {
			return err
		}
	}
	return nil
}

// lines finds the lines of offsets that are asked for in ascending order.
type lines struct {
	data []byte
	pos  int
	line int
}

func (l *lines) of(offset int) int {
	if offset > l.pos {
		l.line += bytes.Count(l.data[l.pos:offset], []byte{'\n'})
		l.pos = offset
	}
	return l.line
}

// value verifies one entry, page or array of entries.
func (s *stream) value(text []byte, line func(offset int) int) error {
	p := parser{data: text}
	if text[0] == '[' {
		return s.items(&p, 0, line)
	}
	ms, err := p.document()
	if err != nil {
		return s.v.fail(err, line(0), 0)
	}
	if m := find(ms, "items"); m != nil && text[m.rawStart] == '[' && find(ms, "seq") == nil {
		return s.items(&parser{data: text}, m.rawStart, line)
	}
	return s.v.addParsed(&p, ms, line(0), 0)
}

// items verifies the entries of the array at that place of the text.
func (s *stream) items(p *parser, at int, line func(offset int) int) error {
	p.pos = at + 1
	item := 0
	for more := !p.empty(']'); more; {
		item++
		from := p.pos
		err := p.value()
		if err != nil {
			return s.v.fail(err, line(from), item)
		}
		p.out = p.out[:0]
		if err := s.v.add(p.data[from:p.pos], line(from), item); err != nil {
			return err
		}
		if more, err = p.next(']'); err != nil {
			return s.v.fail(err, line(p.pos), item)
		}
	}
	if p.space(); at == 0 && p.pos < len(p.data) {
		return s.v.fail(p.fail("something follows the list"), line(p.pos), 0)
	}
	return nil
}
