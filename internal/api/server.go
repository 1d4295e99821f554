package api

import (
	"errors"
	"log"
	"log/slog"
	"net/http"
	"time"
)

// Limits of a connection. A request has to arrive within readTimeout, and the
// answer has to be taken within writeTimeout: both are longer than any honest
// call needs, and keep slow peers from holding resources.
// Long polls move their own deadlines.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 5 * time.Second // header and body: 64 KiB at most
	writeTimeout      = readTimeout + DefaultRequestTimeout + 10*time.Second
	idleTimeout       = 15 * time.Second
	maxHeaderBytes    = 16 << 10
)

// NewServer returns a server for the handler, with limits that untrusted peers
// call for. The functions of onShutdown, such as Handler.Drain, are called when
// its graceful shutdown begins.
func NewServer(handler http.Handler, logger *slog.Logger, onShutdown ...func()) *http.Server {
	// Each failed TLS handshake is a line: anybody can cause them.
	lines := slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	lines = log.New(limitedWriter{lines.Writer(), newLineLimit(logger, "lines about connections")}, "", 0)
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          lines,
		ConnContext:       withStrikes,
		HTTP2:             http2Limits(),
	}
	for _, f := range onShutdown {
		srv.RegisterOnShutdown(f)
	}
	return srv
}

// extend moves the deadline for the answer of a call that waits on purpose.
// The read deadline needs no moving: net/http lifts it once the request has
// been read.
func (c *call) extend(wait time.Duration) error {
	err := http.NewResponseController(&c.w).SetWriteDeadline(time.Now().Add(wait + writeTimeout))
	if errors.Is(err, http.ErrNotSupported) {
		return nil // no connection, as in tests
	}
	return err
}
