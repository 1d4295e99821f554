package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// maxLine bounds what a stranger's file makes the reader hold: an entry has
// 256 KiB at most, its event and its deliveries far less.
const maxLine = 4 << 20

// Reader reads an export and verifies it.
type Reader struct {
	in     *bufio.Reader
	sum    hash.Hash
	buf    []byte
	line   int
	header Header
	check  checker
}

// NewReader reads the header. An error about the contents is a *LineError.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), check: newChecker()}
	t.check.lives = lives{}
	line, err := t.next()
	if errors.Is(err, io.EOF) {
		return nil, &LineError{1, errors.New("there is nothing to import: the input is empty")}
	}
	if err != nil {
		return nil, err
	}
	if t.header, t.check.former, err = parseHeader(line); err != nil {
		return nil, &LineError{t.line, err}
	}
	t.add(line)
	return t, nil
}

// Header is what the export announces; whether it is true shows at the end.
func (t *Reader) Header() Header { return t.header }

func parseHeader(line []byte) (h Header, former bool, err error) {
	var loose struct{ Format int }
	if err := json.Unmarshal(line, &loose); kindOf(line) != kindHeader || err != nil {
		return h, false, errors.New("this is not an export of breakglassd: it doesn't begin with a header")
	}
	if loose.Format > Format {
		return h, false, fmt.Errorf("the export was written by a newer breakglassd (format %d, this one knows %d)", loose.Format, Format)
	}
	r, err := decode[headerLine](line)
	if err != nil {
		return h, false, err
	}
	h = Header{Source: r.Source, Counts: r.Counts}
	if r.Head != (audit.Anchor{}).String() {
		if h.Head, err = audit.ParseAnchor(r.Head); err != nil {
			return h, false, fmt.Errorf("the head of the trail: %w", err)
		}
	}
	former = r.Format == formerFormat
	if r.Format != Format && !former || former && r.Counts.Requests != 0 || h.Head.Seq != r.Counts.Entries {
		return h, false, errors.New("the header contradicts itself")
	}
	return h, former, nil
}

// Each hands every record to one of the functions, in the order of the export.
// It returns nil once the trailer has proven that all of it is there and as it
// was written: until then nothing may be relied on. An error of a function is
// returned as it is; one about the contents is a *LineError.
func (t *Reader) Each(entry func(Entry) error, idempotent func(breakglass.Idempotent) error, factor func(breakglass.Factor) error) error {
	for {
		line, err := t.next()
		if errors.Is(err, io.EOF) {
			return &LineError{t.line, errors.New("the export ends here without its trailer: it was cut off")}
		}
		if err != nil {
			return err
		}
		var passOn func() error
		var bad error
		switch kind := kindOf(line); kind {
		case kindEntry:
			var e Entry
			e, bad = t.check.entry(line)
			passOn = func() error { return entry(e) }
		case kindIdempotency:
			var r breakglass.Idempotent
			r, bad = t.check.idempotent(line)
			passOn = func() error { return idempotent(r) }
		case kindFactor:
			var f breakglass.Factor
			f, bad = t.check.factor(line)
			passOn = func() error { return factor(f) }
		case kindTrailer:
			return t.end(line)
		case "":
			bad = errors.New("this is not a record of an export")
		default:
			bad = fmt.Errorf("a record of the kind %.40q is unknown", kind)
		}
		if bad != nil {
			return at(t.line, bad)
		}
		t.add(line)
		if err := passOn(); err != nil {
			return err
		}
	}
}

// end checks the trailer, and that nothing follows it.
func (t *Reader) end(line []byte) error {
	r, err := decode[trailerLine](line)
	switch {
	case err != nil:
	case r.SHA256 != hex.EncodeToString(t.sum.Sum(nil)):
		err = errors.New("the export was changed: the bytes before this line don't have the SHA-256 that stands here")
	case r.Counts != t.header.Counts:
		err = errors.New("the counts here are not those of the header")
	default:
		err = t.check.finish(t.header)
	}
	if err != nil {
		return at(t.line, err)
	}
	if _, err := t.in.Peek(1); !errors.Is(err, io.EOF) {
		if err != nil {
			return fmt.Errorf("read the export: %w", err)
		}
		return &LineError{t.line + 1, errors.New("something follows the trailer")}
	}
	return nil
}

// at adds the line, unless the error is about an earlier one.
func at(line int, err error) error {
	var told *LineError
	if errors.As(err, &told) {
		return err
	}
	return &LineError{line, err}
}

func (t *Reader) add(line []byte) {
	_, _ = t.sum.Write(line) // a hash takes everything
	_, _ = t.sum.Write([]byte{'\n'})
}

// next is the next line without its newline; io.EOF when there is none.
func (t *Reader) next() ([]byte, error) {
	t.buf = t.buf[:0]
	for {
		part, err := t.in.ReadSlice('\n')
		t.buf = append(t.buf, part...)
		switch {
		case len(t.buf) > maxLine:
			return nil, &LineError{t.line + 1, fmt.Errorf("the line is longer than %d bytes, which no record is", maxLine)}
		case err == nil:
			t.line++
			return t.buf[:len(t.buf)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(t.buf) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, &LineError{t.line + 1, errors.New("the export ends in the middle of this line: it was cut off")}
		default:
			return nil, fmt.Errorf("read the export: %w", err)
		}
	}
}

// Verify reads a whole export and does nothing else with it.
func Verify(r io.Reader) (Header, error) {
	t, err := NewReader(r)
	if err != nil {
		return Header{}, err
	}
	return t.header, t.Each(func(Entry) error { return nil }, func(breakglass.Idempotent) error { return nil },
		func(breakglass.Factor) error { return nil })
}
