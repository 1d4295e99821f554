package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"breakglass/internal/notify/netguard"
)

// guardText is the guard's own sentence out of the errors of net around it.
func guardText(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return printable(err.Error(), maxMessage)
}

// certText names the kind of certificate problem. The errors of crypto/x509
// quote names from the certificate, which the other side chose.
func certText(err *tls.CertificateVerificationError) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "unknown authority"
	case errors.As(err, &host):
		return "it names other hosts"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "expired or not yet valid"
	default:
		return "it doesn't verify"
	}
}

// errnoText is the operating system's word for a failed network operation.
func errnoText(op *net.OpError) string {
	var errno syscall.Errno
	if errors.As(op, &errno) {
		return errno.Error()
	}
	return "network error"
}

// describe says what went wrong with a connection without repeating anything
// that the other side sent or that the URL holds: transport errors quote both
// (a malformed status line, say, which may echo the request).
func describe(ctx context.Context, err error) string {
	var (
		dns     *net.DNSError
		op      *net.OpError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		timeout net.Error
	)
	switch {
	case errors.Is(err, netguard.ErrRefused):
		return guardText(err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "timed out"
	case errors.Is(ctx.Err(), context.Canceled):
		return "interrupted by the end of the program"
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "no such host"
		}
		return "the host name can't be resolved"
	case errors.As(err, &cert):
		return "the TLS certificate isn't valid: " + certText(cert)
	case errors.As(err, &record):
		return "the target doesn't speak TLS"
	case errors.As(err, &alert):
		return "TLS handshake refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.As(err, &op):
		return op.Op + " failed: " + errnoText(op)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before an answer came"
	default:
		return "the connection failed or the answer isn't valid HTTP"
	}
}
