package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"breakglass/internal/breakglass"
)

// SchemaVersion is the version of the document that sinks receive.
const SchemaVersion = 1

// Notification is one audit entry on its way out. The same delivery always
// makes the same Notification, byte for byte: receivers tell repeated attempts
// by ID, and signatures of repeated attempts cover the same body.
type Notification struct {
	ID    string // "msg_" and the first 32 hex digits of the entry's hash
	Seq   int64  // of the entry
	Body  []byte // the document, JSON; must not be modified
	Entry breakglass.LogEntry
}

// document is the JSON that every sink receives.
type document struct {
	Schema int                 `json:"schema"`
	Entry  breakglass.LogEntry `json:"entry"`
	Event  *breakglass.View    `json:"event,omitempty"` // as at the entry's timestamp
}

// NewNotification makes the notification of a delivery.
func NewNotification(d breakglass.Delivery) (Notification, error) {
	if len(d.Entry.Hash) < 32 {
		return Notification{}, errors.New("the audit entry isn't sealed")
	}
	doc := document{Schema: SchemaVersion, Entry: d.Entry}
	if d.Event != nil {
		// Derived at the entry's own time, not now: remaining_seconds must not
		// depend on when the attempt is made.
		v := d.Event.At(d.Entry.Timestamp)
		doc.Event = &v
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return Notification{}, fmt.Errorf("encode the document: %w", err)
	}
	return Notification{
		ID: "msg_" + d.Entry.Hash[:32], Seq: d.Entry.Seq, Entry: d.Entry,
		Body: escapeNoncharacters(bytes.TrimSuffix(b.Bytes(), []byte("\n"))),
	}, nil
}

// escapeNoncharacters writes U+FFFE and U+FFFF as JSON escapes. They are the
// two characters beside control characters that XML 1.0 doesn't have, and AWS
// refuses messages with them: without this, whoever puts one into a
// justification keeps the alert from ever arriving.
func escapeNoncharacters(doc []byte) []byte {
	doc = bytes.ReplaceAll(doc, []byte("\uFFFE"), []byte(`\ufffe`))
	return bytes.ReplaceAll(doc, []byte("\uFFFF"), []byte(`\uffff`))
}
