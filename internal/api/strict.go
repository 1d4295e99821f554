package api

import (
	"bytes"
	"errors"
	"net"
	"strconv"
)

// errAmbiguous makes net/http answer 400 and close the connection.
var errAmbiguous = errors.New("a request that two servers could read in two ways")

// Strict returns a listener on whose connections nothing arrives that a proxy
// in front could have read as other requests than this server (request
// smuggling). net/http is lenient where RFC 9112 lets it be: it takes a line
// feed alone for the end of a line, unfolds header lines, and prefers
// Transfer-Encoding to a Content-Length beside it. Here those are refused.
func Strict(l net.Listener) net.Listener { return strictListener{l} }

type strictListener struct{ net.Listener }

func (l strictListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &strictConn{Conn: conn}, nil
}

// strictConn looks at what is read from a connection of HTTP/1.
type strictConn struct {
	net.Conn
	head   head
	failed bool
}

// Read yields whole requests up to one that is ambiguous, and then an error.
func (c *strictConn) Read(b []byte) (int, error) {
	if c.failed {
		return 0, errAmbiguous
	}
	n, err := c.Conn.Read(b)
	good, ok := c.head.check(b[:n])
	if ok {
		return n, err
	}
	c.failed = true
	if good > 0 {
		return good, nil
	}
	return 0, errAmbiguous
}

// CloseWrite is what net/http ends an answer with before it stops reading.
func (c *strictConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// maxKept is how much of a header line is looked at: more than any
// Content-Length or Transfer-Encoding has.
const maxKept = 128

// head follows the requests of a connection: header lines, then as much body
// as they announce. After a body in chunks it looks no further, because the
// connection ends with that request (see serve).
type head struct {
	line     []byte // the beginning of the current line
	length   int    // of the whole line so far
	last     byte
	tail     byte  // of the line, before its end
	old      bool  // HTTP/1.0, where Transfer-Encoding means nothing
	lines    int   // of this head that are complete
	body     int64 // bytes of the body that are still to come
	sized    bool  // there was a Content-Length
	announce int64 // what it said
	chunked  bool  // there was a Transfer-Encoding
	over     bool  // nothing more is looked at
}

// check looks at the next bytes. When they are ambiguous, good is how many of
// them belong to requests before that.
func (h *head) check(b []byte) (good int, ok bool) {
	for i := 0; i < len(b) && !h.over; {
		if h.body > 0 {
			n := min(h.body, int64(len(b)-i))
			h.body -= n
			i += int(n)
			good = i
			continue
		}
		if !h.next(b[i]) {
			return good, false
		}
		if i++; h.length == 0 && h.lines == 0 { // a head has ended
			good = i
		}
	}
	return len(b), true
}

// next looks at one byte of a head.
func (h *head) next(c byte) bool {
	switch {
	case h.last == '\r' && c != '\n', c == '\n' && h.last != '\r':
		return false // a line ends with both and with nothing else
	case h.length == 0 && h.lines > 0 && (c == ' ' || c == '\t'):
		return false // a folded line (RFC 9112, section 5.2)
	}
	h.last = c
	if c == '\n' {
		h.last = 0
		return h.endLine()
	}
	if h.length++; c == '\r' {
		return true
	}
	if h.tail = c; len(h.line) < maxKept {
		h.line = append(h.line, c)
	}
	return true
}

func (h *head) endLine() bool {
	line, length := h.line, h.length-1 // without the carriage return
	h.line, h.length = h.line[:0], 0
	if length > 0 {
		if h.lines++; h.lines == 1 {
			h.old = h.tail != '1' // the request line ends with the version
			return true
		}
		return h.field(line)
	}
	if h.lines == 0 {
		return false // an empty line is no request
	}
	if h.over = h.chunked; h.sized {
		h.body = h.announce
	}
	h.lines, h.sized, h.chunked = 0, false, false
	return true
}

// field takes note of what a header line says about the body. At most one line
// says anything, and in one form.
func (h *head) field(line []byte) bool {
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found && len(line) < maxKept || bytes.ContainsAny(name, " \t") {
		return false
	}
	value = bytes.Trim(value, " \t")
	switch string(bytes.ToLower(name)) {
	case "content-length":
		length, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil || value[0] == '+' || h.sized || h.chunked || len(line) == maxKept {
			return false
		}
		h.sized, h.announce = true, int64(length)
	case "transfer-encoding":
		if h.sized || h.chunked || h.old || !bytes.EqualFold(value, []byte("chunked")) {
			return false
		}
		h.chunked = true
	}
	return true
}
