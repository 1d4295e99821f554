package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"breakglass/internal/breakglass"
)

// Writer writes an export. After an error it is of no use: what was written
// lacks its trailer, so nobody takes it for whole.
type Writer struct {
	out    *bufio.Writer
	sum    hash.Hash
	header Header
	check  checker
}

// NewWriter begins an export of what the header announces.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	t := &Writer{out: bufio.NewWriterSize(w, 64<<10), sum: sha256.New(), header: h, check: newChecker()}
	line, err := encode(headerLine{kindHeader, Format, h.Source, h.Head.String(), h.Counts})
	if err != nil {
		return nil, err
	}
	return t, t.write(line)
}

func (t *Writer) write(line []byte) error {
	line = append(line, '\n')
	_, _ = t.sum.Write(line) // a hash takes everything
	_, err := t.out.Write(line)
	return err
}

// Entry writes the next entry of the trail.
func (t *Writer) Entry(e Entry) error {
	r := entryLine{Kind: kindEntry, Hash: e.Hash, Event: e.Event, Request: e.Request, Deliveries: e.Deliveries, Body: e.Body}
	if e.Snapshot != "" {
		r.Snapshot = json.RawMessage(e.Snapshot)
	}
	line, err := encode(r)
	if err == nil {
		var written Entry
		if written, err = t.check.entry(line); err == nil && !bytes.Equal(written.Body, e.Body) {
			err = errors.New("its body is not in canonical form") // encode removes white space
		}
	}
	if err != nil {
		return fmt.Errorf("audit entry %d: %w", t.check.trail.Result().LastSeq+1, err)
	}
	return t.write(line)
}

// Idempotent writes the next idempotency record, by caller and key.
func (t *Writer) Idempotent(r breakglass.Idempotent) error {
	line, err := encode(idempotencyLine{kindIdempotency, r.Caller, r.Key, r.Fingerprint, r.EventID, r.CreatedAt})
	if err == nil {
		_, err = t.check.idempotent(line)
	}
	if err != nil {
		return fmt.Errorf("idempotency record of %q: %w", r.Caller, err)
	}
	return t.write(line)
}

// Close checks that everything which was announced was written, and ends the
// export.
func (t *Writer) Close() error {
	if err := t.check.finish(t.header); err != nil {
		return fmt.Errorf("%w: the store was changed during the export, or behind the server's back", err)
	}
	line, err := encode(trailerLine{kindTrailer, t.check.counts, hex.EncodeToString(t.sum.Sum(nil))})
	if err != nil {
		return err
	}
	if err := t.write(line); err != nil {
		return err
	}
	return t.out.Flush()
}
