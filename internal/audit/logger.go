package audit

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"breakglass/internal/breakglass"
)

// Logger takes committed audit entries, in order and at least once. It runs
// beside the service: an error makes the Follower try again later and never
// fails an invocation.
type Logger interface {
	LogBreakGlass(e breakglass.LogEntry) error
}

// BatchLogger is a Logger for which many entries at once are cheaper. A batch
// counts as logged as a whole or not at all.
type BatchLogger interface {
	Logger
	LogBatch(entries []breakglass.LogEntry) error
}

// Resumer is a Logger that knows which entries it already has. Resume is asked
// before each batch and returns the seq to continue after. hashOf returns the
// hash of an entry of the trail, or ErrNotInTrail, so that a Logger whose last
// entry is of another trail can say so instead of going on.
type Resumer interface {
	Logger
	Resume(hashOf func(seq int64) (string, error)) (after int64, err error)
}

// ErrNotInTrail says that the trail has no such entry yet.
var ErrNotInTrail = errors.New("no such entry in the audit trail")

// JSONLogger writes one line of JSON for each entry. What other people wrote
// can't change how a terminal shows the line: control characters, line
// separators, bidirectional controls and other invisible formatting are written
// as \u escapes, which leaves the value, and so its hash, the same.
type JSONLogger struct {
	mu   sync.Mutex
	w    io.Writer
	torn bool // the last line was written in part
	buf  []byte
}

// NewJSONLogger returns a Logger that writes to w, with one Write for each line.
func NewJSONLogger(w io.Writer) *JSONLogger { return &JSONLogger{w: w} }

// LogBreakGlass writes the entry. After a write that failed half way the next
// entry starts on a line of its own.
func (l *JSONLogger) LogBreakGlass(e breakglass.LogEntry) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = l.buf[:0]
	if l.torn {
		l.buf = append(l.buf, '\n')
	}
	var err error
	if l.buf, err = appendLine(l.buf, e); err != nil {
		return err
	}
	n, err := l.w.Write(l.buf)
	if n > 0 {
		l.torn = n < len(l.buf)
	}
	return err
}

func (l *JSONLogger) String() string { return "audit JSON lines" }

// appendLine appends the entry as served, safe for terminals, and a newline.
func appendLine(b []byte, e breakglass.LogEntry) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return b, err
	}
	return append(appendSafe(b, line), '\n'), nil
}

// appendSafe escapes what is invisible in JSON that is otherwise complete.
// Outside strings JSON is ASCII, so nothing else can be hit.
func appendSafe(b, line []byte) []byte {
	start := 0
	for i := 0; i < len(line); {
		if c := line[i]; c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(line[i:])
		if invisible(r) {
			b = append(b, line[start:i]...)
			b = appendUnicodeEscape(b, r)
			start = i + n
		}
		i += n
	}
	return append(b, line[start:]...)
}

// invisible reports characters that act on a terminal or on the text around
// them. The two joiners stay: emoji and many scripts are made with them.
func invisible(r rune) bool {
	if r == '\u200c' || r == '\u200d' {
		return false
	}
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) || breakglass.IsInvisible(r)
}

func appendUnicodeEscape(b []byte, r rune) []byte {
	if r > 0xFFFF {
		high, low := utf16.EncodeRune(r)
		return appendUnicodeEscape(appendUnicodeEscape(b, high), low)
	}
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
