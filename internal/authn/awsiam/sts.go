package awsiam

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// body is the whole body of a GetCallerIdentity request.
const body = "Action=GetCallerIdentity&Version=2011-06-15"

const contentType = "application/x-www-form-urlencoded; charset=utf-8"

// Limits of one question to STS. A caller waits for the answer.
const (
	DefaultTimeout  = 10 * time.Second
	connectTimeout  = 3 * time.Second
	maxAnswer       = 16 << 10
	maxAnswerHeader = 16 << 10
	// MaxAsking bounds how many questions are under way: callers who aren't
	// known yet cause them.
	MaxAsking = 64
)

// Errors of asking STS. Refused means that STS answered, and doesn't believe the
// signature; everything else that STS didn't answer as it should.
var errBusy = errors.New("too many logins are being checked")

type refusedError struct{ code string }

func (e *refusedError) Error() string { return "STS refuses the signature: " + e.code }

// asker asks STS who signed. It is safe for concurrent use.
type asker struct {
	transport *http.Transport
	endpoint  *url.URL // nil: the host of the Region
	timeout   time.Duration
	busy      chan struct{}
}

// newAsker expects a configuration that passed validation.
func newAsker(c Config, timeout time.Duration) (*asker, error) {
	a := &asker{timeout: timeout, busy: make(chan struct{}, MaxAsking)}
	if a.timeout <= 0 {
		a.timeout = DefaultTimeout
	}
	var err error
	if c.Endpoint != "" {
		if a.endpoint, err = url.Parse(c.Endpoint); err != nil {
			return nil, fmt.Errorf("endpoint: %w", err)
		}
	}
	a.transport = &http.Transport{
		// The environment's proxy isn't asked: whoever answers in place of STS
		// says who callers are, and that is for the configuration to name.
		Proxy:                  nil,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxAnswerHeader,
		DisableCompression:     true, // an answer is never unpacked
	}
	if c.Proxy != "" {
		proxy, err := url.Parse(c.Proxy)
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		a.transport.Proxy = http.ProxyURL(proxy)
	}
	return a, nil
}

// ask sends the request that the proof signs. The error is a *refusedError when
// STS answered and doesn't take the signature.
func (a *asker) ask(ctx context.Context, s signed) (Identity, error) {
	select {
	case a.busy <- struct{}{}:
		defer func() { <-a.busy }()
	default:
		return Identity{}, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	req, err := a.request(ctx, s)
	if err != nil {
		return Identity{}, err
	}
	// The transport and not a client: there are no redirects to follow and no
	// cookies to keep.
	resp, err := a.transport.RoundTrip(req)
	if err != nil {
		return Identity{}, err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Identity{}, err
	}
	if len(answer) > maxAnswer {
		return Identity{}, errors.New("the answer of STS is too long")
	}
	return readAnswer(resp, answer)
}

// request composes the request from what has been read, and from nothing else.
func (a *asker) request(ctx context.Context, s signed) (*http.Request, error) {
	host := stsHost(s.region)
	target := url.URL{Scheme: "https", Host: host, Path: "/"}
	if a.endpoint != nil {
		target.Scheme, target.Host = a.endpoint.Scheme, a.endpoint.Host
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Host = host // signed, so the same whatever the endpoint is
	req.Header = http.Header{
		"Accept":              {"application/json"},
		"Content-Type":        {contentType},
		"User-Agent":          {"breakglassd"},
		"X-Amz-Date":          {s.date},
		"X-Breakglass-Server": {s.server},
		"X-Breakglass-Nonce":  {s.nonce},
		"Authorization": {fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/sts/aws4_request, SignedHeaders=%s, Signature=%s",
			s.accessKeyID, s.date[:8], s.region, strings.Join(s.headers, ";"), s.signature)},
	}
	if s.token != "" {
		req.Header["X-Amz-Security-Token"] = []string{s.token}
	}
	return req, nil
}
