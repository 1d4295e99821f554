package api

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// maxStrikes is how many requests in a row may fail to authenticate on one
	// connection before it is closed: guessing then costs a handshake each time.
	maxStrikes = 5
	// lingerTimeout bounds how long the rest of a body is waited for that nobody
	// wants any more: enough for what is on its way, so that the peer isn't cut
	// off before it has read the answer.
	lingerTimeout = 500 * time.Millisecond
	// drainBodyTimeout bounds how long a graceful stop waits for the rest of a
	// body. A peer that sends half a request must not delay a restart.
	drainBodyTimeout = 2 * time.Second
)

// strikesKey finds the failures of a connection in a request's context.
type strikesKey struct{}

func withStrikes(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, strikesKey{}, new(atomic.Int32))
}

// strike notes whether the request authenticated, and closes the connection
// after too many in a row that didn't.
func (c *call) strike(ok bool) {
	strikes, has := c.r.Context().Value(strikesKey{}).(*atomic.Int32)
	switch {
	case !has: // no connection, as in tests
	case ok:
		if strikes.Load() != 0 {
			strikes.Store(0)
		}
	case strikes.Add(1) >= maxStrikes:
		c.w.Header()["Connection"] = []string{"close"}
	}
}

// abandonBody is called when an answer begins. Without it, net/http would wait
// for the rest of a body that the call hasn't read, in order to use the
// connection again, and a stop of the server would wait with it.
func (c *call) abandonBody() {
	if c.bodyRead || c.r.ContentLength == 0 || c.r.Body == nil || c.r.Body == http.NoBody || c.r.ProtoMajor != 1 {
		return
	}
	c.w.Header()["Connection"] = []string{"close"}
	c.readWithin(lingerTimeout)
}

// readWithin moves the deadline for what is still to be read.
func (c *call) readWithin(d time.Duration) {
	_ = http.NewResponseController(c.w.ResponseWriter).SetReadDeadline(time.Now().Add(d)) // no connection, as in tests
}
