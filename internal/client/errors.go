package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"breakglass/internal/breakglass"
)

// RefusedError is the server's own refusal. It wraps a *breakglass.Error.
type RefusedError struct {
	Err       *breakglass.Error
	Status    int
	RequestID string // for the operators of the server
}

func (e *RefusedError) Error() string { return e.Err.Error() }

func (e *RefusedError) Unwrap() error { return e.Err }

// UnreachableError says that no answer came from the server.
type UnreachableError struct {
	Server string
	// Why is the reason in words.
	Why string
	// Sent says that the request may have reached the server.
	Sent bool
	// Changes says that what the request asked for changes something, and so
	// may have been done when it was sent.
	Changes bool
	Cause   error

	permanent bool // trying again in a moment is pointless
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from %s: %s", e.Server, e.Why)
}

func (e *UnreachableError) Unwrap() error { return e.Cause }

// ProtocolError says that something answered, but not as breakglassd does: a
// proxy, a sign-in page, another program, or a broken answer.
type ProtocolError struct {
	Server    string
	Status    int
	What      string // what was wrong with the answer
	RequestID string // when the answer had one
	// Gateway says that the answer came from something between here and the
	// server: 502, 503 or 504 without a problem document.
	Gateway bool
}

func (e *ProtocolError) Error() string {
	return fmt.Sprintf("unexpected answer from %s: %s", e.Server, e.What)
}

func (c *Client) unreachable(err error, sent, reads bool) *UnreachableError {
	var uerr *url.Error
	if errors.As(err, &uerr) {
		err = uerr.Err // its text repeats method and URL, query included
	}
	e := &UnreachableError{Server: c.Server(), Cause: err, Sent: sent, Changes: !reads}
	e.classify(err)
	return e
}

// classify finds the words for the usual reasons, and those that the next
// second won't mend.
func (e *UnreachableError) classify(err error) {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Why, e.permanent = fmt.Sprintf("the name %q does not exist (DNS)", dns.Name), true
	case errors.As(err, &dns):
		e.Why = fmt.Sprintf("the name %q can't be looked up (DNS)", dns.Name)
	case errors.As(err, &cert):
		e.Why, e.permanent = certificate(cert.Err), true
	case errors.Is(err, http.ErrSchemeMismatch):
		e.Why, e.permanent = "this port speaks plain http, not https; is the address http:// or another port?", true
	case errors.As(err, &record):
		e.Why, e.permanent = "this port doesn't speak TLS; is the address http:// or another port?", true
	case errors.As(err, &op) && op.Err.Error() == "tls: certificate required": // as below
		e.Why, e.permanent = "the server wants a client certificate (client_cert and client_key name yours)", true
	case errors.As(err, &op) && strings.HasPrefix(op.Err.Error(), "tls: "): // an alert, for which crypto/tls has no type
		e.Why, e.permanent = "the TLS handshake failed: "+strings.TrimPrefix(op.Err.Error(), "tls: "), true
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`):
		e.Why, e.permanent = "this port speaks TLS; is the address https://?", true
	case strings.Contains(err.Error(), "malformed HTTP"):
		e.Why, e.permanent = "this port doesn't speak http; is it the right one?", true
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Why = "the connection was refused, so nothing listens there"
	case isTimeout(err) && e.Sent:
		e.Why = "it took too long to answer"
	case isTimeout(err):
		e.Why = "the connection took too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		e.Why = "the connection broke before the answer was complete"
	default:
		e.Why = err.Error()
	}
}

func certificate(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "its certificate is signed by an authority that this machine doesn't trust (ca_file trusts your own)"
	case errors.As(err, &name):
		return "its certificate is for another name: " + name.Error()
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate is outside its validity, or this machine's clock is wrong"
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
