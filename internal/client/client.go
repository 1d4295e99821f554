package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Timeouts. A person waits for every one of them.
const (
	connectTimeout = 5 * time.Second
	callTimeout    = 30 * time.Second
	// pollSlack is what a long-poll may take beyond the wait it asked for.
	pollSlack = 15 * time.Second
)

// Caps on what a server may send, in bytes after decompression.
const (
	maxHeaderBytes = 64 << 10
	maxObjectBytes = 1 << 20
	maxItemBytes   = 64 << 10 // of one item of a list, on average; real ones have a few KiB
	maxListBytes   = 32 << 20
)

// Config says which server to speak to, and how.
type Config struct {
	// Server is the base URL, such as https://breakglass.example.com.
	Server string
	// Token is the bearer token; empty for the calls that need none.
	Token string
	// TokenSource, when set, gives the token of each call in place of Token.
	TokenSource func(ctx context.Context) (string, error)
	// AllowHTTP permits plain http to a server that isn't on loopback. Whoever
	// can read the network then reads the token.
	AllowHTTP bool
	// CAPEM holds PEM certificates that are trusted beside the system's.
	CAPEM []byte
	// CertPEM and KeyPEM are the certificate that the server may ask for, and its
	// key; both or neither.
	CertPEM, KeyPEM []byte
	// UserAgent names the program.
	UserAgent string
	// Retrying, when set, is told before each wait for another attempt.
	Retrying func(cause error, wait time.Duration)
}

// Client is safe for concurrent use.
type Client struct {
	base      *url.URL
	token     func(ctx context.Context) (string, error)
	userAgent string
	retrying  func(error, time.Duration)
	http      *http.Client
}

// New returns a Client. It makes no connection yet. The error says what is
// wrong with the configuration, in words for a person.
func New(cfg Config) (*Client, error) {
	base, err := ParseServer(cfg.Server, cfg.AllowHTTP)
	if err != nil {
		return nil, err
	}
	transport, err := NewTransport(base, cfg.CAPEM)
	if err != nil {
		return nil, err
	}
	if len(cfg.CertPEM) > 0 || len(cfg.KeyPEM) > 0 {
		pair, err := tls.X509KeyPair(cfg.CertPEM, cfg.KeyPEM)
		if err != nil {
			return nil, fmt.Errorf("the client certificate and its key: %w", err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	if err := checkToken(cfg.Token); err != nil {
		return nil, err
	}
	c := &Client{base: base, token: cfg.TokenSource, userAgent: cfg.UserAgent, retrying: cfg.Retrying}
	if c.token == nil {
		c.token = func(context.Context) (string, error) { return cfg.Token, nil }
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: refuseRedirect}
	return c, nil
}

// checkToken refuses what net/http would refuse too, but with the token in the
// message.
func checkToken(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("the token holds white space or other characters that no token has; was it copied whole?")
	}
	return nil
}

// Server is the base URL in its canonical form.
func (c *Client) Server() string { return c.base.String() }

// refuseRedirect hands the redirect itself to the caller. A redirect could send
// the token, or a request that changes something, to another host.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// ParseServer checks the URL of a server and brings it to its canonical form:
// lower-case scheme and host, no default port, no slash at the end. Plain http
// is refused except to loopback, because it would show the token to the network.
func ParseServer(server string, allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(server))
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not the URL of a server; it looks like https://breakglass.example.com", server)
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch {
	case u.User != nil:
		return nil, errors.New("the URL of the server must not hold a user name or password")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the URL of the server must not hold a query or fragment: %q", server)
	case u.Scheme == "http" && !allowHTTP && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("%s is plain http to another machine, which would show your token to the network; "+
			"use https, or set allow_http: true in the configuration file (BGCTL_ALLOW_HTTP=1) on a network that you trust", u.Redacted())
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the URL of the server must begin with https://, not %q", u.Scheme+"://")
	}
	u.Host = strings.TrimSuffix(u.Host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath, u.ForceQuery = "", false
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// NewTransport is how the client connects to base: bounded in time, through a
// proxy only with https, and trusting the certificates of caPEM too.
func NewTransport(base *url.URL, caPEM []byte) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if base.Scheme == "https" {
		// A proxy sees the token of a plain http call, and nothing of https.
		t.Proxy = http.ProxyFromEnvironment
	}
	if len(caPEM) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(caPEM) {
			return nil, errors.New("the CA file holds no PEM certificate")
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// NewIdempotencyKey returns a fresh key for an invocation.
func NewIdempotencyKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:])
}
