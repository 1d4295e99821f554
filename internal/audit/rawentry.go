package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"
)

// rawEntry is an entry as somebody received it: the fields that make the
// chain, and the hash of all it contains, known fields or not.
type rawEntry struct {
	seq       int64
	prevHash  string
	hash      string
	timestamp time.Time
	computed  string // what the contents hash to
}

// errFields says that an object is JSON but not an entry of an audit trail.
type errFields struct{ message string }

func (e *errFields) Error() string { return e.message }

// parseEntry reads an entry from the JSON as received. The error is a
// *syntaxError or an *errFields.
func parseEntry(data []byte) (rawEntry, error) {
	p := parser{data: data, out: make([]byte, 0, 2*min(len(data), maxEntryBytes))}
	if err := p.fits(); err != nil { // before work is spent on it
		return rawEntry{}, err
	}
	ms, err := p.document()
	if err != nil {
		return rawEntry{}, err
	}
	return p.entry(ms)
}

func (p *parser) fits() error {
	if len(p.data) > maxEntryBytes {
		return &errFields{"it is longer than " + strconv.Itoa(maxEntryBytes) + " bytes, which no entry is"}
	}
	return nil
}

func (p *parser) entry(ms []member) (rawEntry, error) {
	var e rawEntry
	if err := p.fits(); err != nil {
		return e, err
	}
	seq, err := p.field(ms, "seq")
	if err != nil {
		return e, err
	}
	if e.seq, err = strconv.ParseInt(string(seq), 10, 64); err != nil || e.seq < 1 {
		return e, &errFields{"its seq is not a positive integer"}
	}
	if e.prevHash, err = p.hashField(ms, "prev_hash"); err != nil {
		return e, err
	}
	if e.hash, err = p.hashField(ms, "hash"); err != nil {
		return e, err
	}
	stamp, err := p.field(ms, "timestamp")
	if err != nil {
		return e, err
	}
	if e.timestamp, err = time.Parse(time.RFC3339Nano, string(bytes.Trim(stamp, `"`))); err != nil {
		return e, &errFields{"its timestamp is not an RFC 3339 time"}
	}
	from := len(p.out)
	p.out = p.appendObject(p.out, ms, "hash")
	e.computed = hexDigest(sha256.Sum256(p.out[from:]))
	return e, nil
}

func (p *parser) field(ms []member, key string) ([]byte, error) {
	m := find(ms, key)
	if m == nil {
		return nil, &errFields{"it has no " + key}
	}
	return p.out[m.start:m.end], nil
}

func find(ms []member, key string) *member {
	for i := range ms {
		if ms[i].key == key {
			return &ms[i]
		}
	}
	return nil
}

func (p *parser) hashField(ms []member, key string) (string, error) {
	v, err := p.field(ms, key)
	if err != nil {
		return "", err
	}
	s := string(bytes.Trim(v, `"`))
	if !isHash(s) || len(v) != len(s)+2 {
		return "", &errFields{"its " + key + " is not a hash of 64 lower-case hex digits"}
	}
	return s, nil
}

// isCut reports whether the bytes are the beginning of JSON that goes on.
func isCut(err error) bool {
	var s *syntaxError
	return errors.As(err, &s) && s.cut
}
