package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/reload"
)

// ClientAuth says what is asked of a client's certificate.
type ClientAuth string

// The kinds of ClientAuth; empty means None.
const (
	None    ClientAuth = "none"
	Verify  ClientAuth = "verify"  // who has one must have a valid one
	Require ClientAuth = "require" // nobody gets in without a valid one
)

// Files are PEM files: the server's certificate chain, its key, and the
// authorities of clients' certificates unless ClientAuth is None.
type Files struct {
	Cert, Key, ClientCA string
	ClientAuth          ClientAuth
}

func (f Files) paths() []string {
	if f.ClientCA == "" {
		return []string{f.Cert, f.Key}
	}
	return []string{f.Cert, f.Key, f.ClientCA}
}

// FileError is what is wrong with one of the files.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// Read reads the files once. Its error is a *FileError.
func (f Files) Read() (*Material, error) {
	var data [][]byte
	for _, path := range f.paths() {
		content, err := reload.Read(path)
		if err != nil {
			return nil, &FileError{path, err}
		}
		data = append(data, content)
	}
	return f.parse(data)
}

// Material is what the files hold.
type Material struct {
	// NotAfter is when the server's certificate ends.
	NotAfter time.Time
	config   *tls.Config
}

func (f Files) parse(data [][]byte) (*Material, error) {
	pair, err := tls.X509KeyPair(data[0], data[1])
	if err != nil {
		return nil, &FileError{f.Cert, fmt.Errorf("%s with %s: %w", f.Cert, f.Key, err)}
	}
	m := &Material{NotAfter: pair.Leaf.NotAfter, config: modern()}
	m.config.Certificates = []tls.Certificate{pair}
	if f.ClientCA == "" {
		return m, nil
	}
	if m.config.ClientCAs, err = authorities(data[2]); err != nil {
		return nil, &FileError{f.ClientCA, fmt.Errorf("%s: %w", f.ClientCA, err)}
	}
	switch f.ClientAuth {
	case Require:
		m.config.ClientAuth = tls.RequireAndVerifyClientCert
	case Verify:
		m.config.ClientAuth = tls.VerifyClientCertIfGiven
	case None, "":
	}
	// No session outlives the authority that vouched for its client, whatever
	// crypto/tls looks at when it resumes one.
	m.config.SessionTicketsDisabled = true
	return m, nil
}

// modern is what every connection is held to: TLS 1.3, or 1.2 with forward
// secrecy and authenticated encryption. Key exchange is left to crypto/tls,
// which prefers the hybrids that quantum computers don't undo.
func modern() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all of this kind
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
}

// authorities reads a file of certificates. Anything else in it is a mistake.
func authorities(data []byte) (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), false
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, errors.New("holds something else than PEM certificates")
		}
		pool.AddCert(cert)
		data, found = rest, true
	}
	if !found || len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("holds something else than PEM certificates")
	}
	return pool, nil
}

// noWorseThan refuses a certificate that has ended in the place of one that
// hasn't: an old backup copied back must not lock everybody out.
func (m *Material) noWorseThan(have *Material, now time.Time) error {
	if now.After(m.NotAfter) && now.Before(have.NotAfter) {
		return fmt.Errorf("the certificate ended at %s; the one in force is valid until %s",
			m.NotAfter.UTC().Format(time.RFC3339), have.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
