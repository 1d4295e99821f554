package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// Format is the number of the form that this program writes. It reads the one
// before, too, which knows no access requests and less about events.
const (
	Format       = 2
	formerFormat = 1
)

// Header says what an export holds.
type Header struct {
	Source string       // the engine that it comes from
	Head   audit.Anchor // the newest entry; zero when there is none
	Counts Counts
}

// Counts is how many records of each kind there are.
type Counts struct {
	Events      int64 `json:"events"`
	Entries     int64 `json:"entries"`
	Deliveries  int64 `json:"deliveries"`
	Idempotency int64 `json:"idempotency"`
	Factors     int64 `json:"factors"`
	Requests    int64 `json:"requests,omitzero"` // as in format 1, when there are none
}

func (c Counts) String() string {
	return fmt.Sprintf("%d events, %d audit entries, %d deliveries, %d idempotency records, %d second factors, %d access requests", c.Events, c.Entries, c.Deliveries,
		c.Idempotency, c.Factors, c.Requests)
}

// Entry is an audit entry with what belongs to it.
type Entry struct {
	Body []byte // the canonical bytes that Hash covers
	Hash string
	Log  breakglass.LogEntry // Body and Hash, decoded; set by Reader

	Event      *breakglass.Event         // of a breakglass.invoked entry, as it is now
	Request    *breakglass.AccessRequest // of a request.created entry, as it is now
	Deliveries []Delivery                // by sink
	Snapshot   string                    // the event right after the change, as JSON; empty without deliveries or event
}

// Delivery is a notification that waits or was given up.
type Delivery struct {
	Sink        string    `json:"sink"`
	NextAttempt time.Time `json:"next_attempt"`
	Attempts    int       `json:"attempts"`
	Dead        bool      `json:"dead"`
	LastError   string    `json:"last_error"`
}

// The kinds of lines.
const (
	kindHeader      = "header"
	kindEntry       = "entry"
	kindIdempotency = "idempotency"
	kindTrailer     = "trailer"
)

// The lines. The order of the fields is that of the bytes.
type (
	headerLine struct {
		Kind   string `json:"kind"`
		Format int    `json:"format"`
		Source string `json:"source"`
		Head   string `json:"head"`
		Counts Counts `json:"counts"`
	}
	entryLine struct {
		Kind       string                    `json:"kind"`
		Hash       string                    `json:"hash"`
		Event      *breakglass.Event         `json:"event,omitempty"`
		Request    *breakglass.AccessRequest `json:"request,omitempty"`
		Deliveries []Delivery                `json:"deliveries,omitempty"`
		Snapshot   json.RawMessage           `json:"snapshot,omitempty"`
		Body       json.RawMessage           `json:"body"`
	}
	formerEntryLine struct {
		Kind       string          `json:"kind"`
		Hash       string          `json:"hash"`
		Event      *formerEvent    `json:"event,omitempty"`
		Deliveries []Delivery      `json:"deliveries,omitempty"`
		Snapshot   json.RawMessage `json:"snapshot,omitempty"`
		Body       json.RawMessage `json:"body"`
	}
	// formerEvent hides what came later: a line that has it isn't of format 1.
	formerEvent struct {
		breakglass.Event
		Sessions   struct{} `json:"sessions,omitzero"`
		Extensions struct{} `json:"extensions,omitzero"`
		WarnAt     struct{} `json:"warn_at,omitzero"`
	}
	idempotencyLine struct {
		Kind        string    `json:"kind"`
		Caller      string    `json:"caller"`
		Key         string    `json:"key"`
		Fingerprint string    `json:"fingerprint"`
		EventID     string    `json:"event_id"`
		CreatedAt   time.Time `json:"created_at"`
	}
	trailerLine struct {
		Kind   string `json:"kind"`
		Counts Counts `json:"counts"`
		SHA256 string `json:"sha256"`
	}
)

// encode is the one form of a record, without a newline. Raw values keep their
// bytes, which escaping for HTML would change.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads a record and refuses every form but the one that encode writes:
// unknown and repeated fields, other orders, white space.
func decode[T any](line []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("the record can't be read: %w", err)
	}
	again, err := encode(v)
	if err != nil {
		return v, err
	}
	if !bytes.Equal(line, again) {
		return v, errors.New("the record was changed: it doesn't have the form in which an export writes it")
	}
	return v, nil
}

// kindOf is the kind that a line claims to be; empty when it claims nothing.
func kindOf(line []byte) string {
	rest, ok := bytes.CutPrefix(line, []byte(`{"kind":"`))
	kind, _, ended := bytes.Cut(rest, []byte(`"`))
	if !ok || !ended {
		return ""
	}
	return string(kind)
}
