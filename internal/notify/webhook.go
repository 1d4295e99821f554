package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"breakglass/internal/notify/netguard"
)

const (
	connectTimeout = 10 * time.Second
	// maxAnswer is how much of an answer's body is read, in bytes, so that the
	// connection can be used again. Nothing in it matters.
	maxAnswer = 4 << 10
	maxDrain  = time.Second // and for how long
	// maxAnswerHeader bounds an answer's header, in bytes.
	maxAnswerHeader = 16 << 10
)

// webhook posts notifications, signed as in Standard Webhooks 1.0.0.
type webhook struct {
	opaque
	url       *url.URL // without userinfo
	userinfo  *url.Userinfo
	keys      signingKeys
	userAgent string
	now       func() time.Time
	transport *http.Transport
}

// webhookOptions are the parts of a webhook that aren't its target's own.
type webhookOptions struct {
	userAgent string
	now       func() time.Time
	resolver  *net.Resolver  // nil: the system's
	rootCAs   *x509.CertPool // nil: the system's
}

// newWebhook expects a configuration that passed validation.
func newWebhook(c SinkConfig, keys signingKeys, o webhookOptions) (*webhook, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("url: not a URL") // the cause would quote it
	}
	guard, err := netguard.New(c.AllowPrivate, o.resolver, connectTimeout)
	if err != nil {
		return nil, fmt.Errorf("allow_private: %w", err)
	}
	w := &webhook{opaque: opaque("webhook " + u.Host), url: u, userinfo: u.User, keys: keys, userAgent: o.userAgent, now: o.now}
	u.User = nil
	// HTTP/1.1 alone: over HTTP/2 all attempts would share one connection, which
	// net/http keeps using after requests on it have timed out, so a connection
	// that a firewall dropped silently would cost many attempts instead of one.
	var http1 http.Protocols
	http1.SetHTTP1(true)
	w.transport = &http.Transport{
		// No proxy, not even from the environment: it would make the
		// connection in our place, beyond the guard's reach.
		Proxy:                  nil,
		DialContext:            guard.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.rootCAs},
		Protocols:              &http1,
		MaxIdleConnsPerHost:    defaultConcurrency,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    connectTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // an answer's body is never unpacked
	}
	return w, nil
}

// Notify posts n once. It goes through the transport, not through a client:
// there are no redirects to follow and no cookies to keep.
func (w *webhook) Notify(ctx context.Context, n Notification) error {
	attempt, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(attempt, http.MethodPost, w.url.String(), bytes.NewReader(n.Body))
	if err != nil {
		return &Failure{Verdict: Permanent, Message: "the request can't be built from the configured url"}
	}
	at := w.now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", w.userAgent)
	req.Header.Set("Webhook-Id", n.ID)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("Webhook-Signature", w.keys.sign(n.ID, at, n.Body))
	if w.userinfo != nil {
		password, _ := w.userinfo.Password()
		req.SetBasicAuth(w.userinfo.Username(), password)
	}
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return &Failure{Verdict: Retry, Message: w.url.Host + ": " + describe(ctx, err)}
	}
	defer func() { _ = resp.Body.Close() }() // only what was read counts
	// The status has decided; a body that trickles in must not hold the slot.
	defer time.AfterFunc(maxDrain, cancel).Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	return w.judge(resp)
}

func (w *webhook) judge(resp *http.Response) error {
	v, taken := verdictOf(resp.StatusCode)
	if taken {
		return nil
	}
	// The status text is ours: the one on the wire is the target's words.
	f := &Failure{Verdict: v, Message: fmt.Sprintf("%s answered %d %s", w.url.Host, resp.StatusCode, http.StatusText(resp.StatusCode))}
	if resp.StatusCode >= 300 && resp.StatusCode <= 399 {
		f.Message += " (redirects are not followed)"
	}
	if honoursRetryAfter(resp.StatusCode) {
		f.RetryAfter = parseRetryAfter(resp.Header.Get("Retry-After"), w.now())
	}
	return f
}

func (w *webhook) close() { w.transport.CloseIdleConnections() }
