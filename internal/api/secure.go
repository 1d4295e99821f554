package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// Secure returns a listener that speaks TLS. Its handshakes are done before
// Accept returns a connection, and wait for nobody: what speaks HTTP/1 inside is
// then as strict as Strict, which net/http's own handshake would leave no place
// for. Failed handshakes are logged, within bounds: anybody can cause them.
func Secure(l net.Listener, config *tls.Config, logger *slog.Logger) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	s := &secureListener{Listener: l, config: config, log: logger, lines: newLineLimit(logger, "failed TLS handshakes"),
		ctx: ctx, cancel: cancel, accepted: make(chan accepted)}
	go s.run()
	return s
}

type secureListener struct {
	net.Listener
	config   *tls.Config
	log      *slog.Logger
	lines    *lineLimit
	ctx      context.Context // ends with the listener
	cancel   context.CancelFunc
	accepted chan accepted
	closing  sync.Once
	closed   error
}

type accepted struct {
	conn net.Conn
	err  error
}

func (s *secureListener) Accept() (net.Conn, error) {
	select {
	case a := <-s.accepted:
		return a.conn, a.err
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (s *secureListener) Close() error {
	s.closing.Do(func() {
		s.cancel()
		s.closed = s.Listener.Close()
	})
	return s.closed
}

func (s *secureListener) run() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			s.hand(accepted{err: err}) // net/http waits a while when it is temporary
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go s.greet(conn)
	}
}

// hand passes on what was accepted, unless nobody takes it any more.
func (s *secureListener) hand(a accepted) bool {
	select {
	case s.accepted <- a:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *secureListener) greet(plain net.Conn) {
	ctx, cancel := context.WithTimeout(s.ctx, readHeaderTimeout)
	defer cancel()
	conn := tls.Server(plain, s.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		var record tls.RecordHeaderError
		if errors.As(err, &record) && record.Conn != nil {
			_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks https.\n") // the peer may be gone
		}
		if s.ctx.Err() == nil && s.lines.allow("handshake") {
			s.log.Warn("TLS handshake failed", "client_addr", plain.RemoteAddr().String(), "error", err.Error())
		}
		_ = plain.Close() // nothing is to be said on it
		return
	}
	var out net.Conn = conn // net/http knows HTTP/2 by its type
	if conn.ConnectionState().NegotiatedProtocol != http2Protocol {
		out = &strictConn{Conn: conn}
	}
	if !s.hand(accepted{conn: out}) {
		_ = conn.Close()
	}
}

// http2Protocol is the name of HTTP/2 in the handshake (RFC 9113, section 3.2).
const http2Protocol = "h2"

// maxStreams bounds what one connection asks for at once. Streams are cheaper
// for the peer than connections, and cost the server the same.
const maxStreams = 64

func http2Limits() *http.HTTP2Config { return &http.HTTP2Config{MaxConcurrentStreams: maxStreams} }
