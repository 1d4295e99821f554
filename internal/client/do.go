package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/problem"
)

// call is one call of the API.
type call struct {
	method string
	path   string // percent-encoded
	query  url.Values
	header http.Header
	body   any  // marshalled to JSON unless nil
	safe   bool // repeating it can't do anything twice
	reads  bool // it changes nothing
	limit  int64
	// timeout is for all attempts together; zero means callTimeout.
	timeout time.Duration
}

func get(path string, query url.Values, limit int64) call {
	return call{method: http.MethodGet, path: path, query: query, safe: true, reads: true, limit: limit}
}

// do makes the call and decodes the answer into out. The header is that of the
// answer.
func (c *Client) do(ctx context.Context, cl call, out any) (http.Header, error) {
	body, err := marshal(cl.body)
	if err != nil {
		return nil, err
	}
	if cl.timeout == 0 {
		cl.timeout = callTimeout
	}
	limited, cancel := context.WithTimeout(ctx, cl.timeout)
	defer cancel()
	var header http.Header
	err = c.retry(limited, cl.safe, func() error {
		var err error
		header, err = c.attempt(limited, cl, body, out)
		return err
	})
	if err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err()
	}
	return header, settled(err)
}

func marshal(body any) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	return b, nil
}

func (c *Client) attempt(ctx context.Context, cl call, body []byte, out any) (http.Header, error) {
	// Until there is a connection, TLS handshake included, nothing was sent.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := c.request(ctx, cl, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err, connected.Load(), cl.reads)
	}
	defer func() { _ = resp.Body.Close() }()
	good, limit := resp.StatusCode >= 200 && resp.StatusCode <= 299, cl.limit
	if !good {
		limit = min(limit, maxObjectBytes)
	}
	data, err := c.read(resp, limit)
	if err != nil {
		var unexpected *ProtocolError
		if errors.As(err, &unexpected) {
			return nil, err
		}
		return nil, c.unreachable(err, true, cl.reads)
	}
	if !good {
		return nil, c.refusal(resp, data)
	}
	return resp.Header, c.decode(resp, data, out)
}

func (c *Client) request(ctx context.Context, cl call, body []byte) (*http.Request, error) {
	u := *c.base
	u.RawPath = u.EscapedPath() + cl.path
	path, err := url.PathUnescape(u.RawPath)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	u.Path = path
	u.RawQuery = cl.query.Encode()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, cl.method, u.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	for k, v := range cl.header {
		req.Header[k] = v
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", c.userAgent)
	token, err := c.token(ctx)
	if err == nil {
		err = checkToken(token)
	}
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

func (c *Client) read(resp *http.Response, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, c.unexpected(resp, fmt.Sprintf("it is longer than %d bytes", limit))
	}
	return data, nil
}

func (c *Client) unexpected(resp *http.Response, what string) *ProtocolError {
	return &ProtocolError{Server: c.Server(), Status: resp.StatusCode, What: what, RequestID: resp.Header.Get("X-Request-Id")}
}

// refusal is the error for an answer other than 2xx.
func (c *Client) refusal(resp *http.Response, data []byte) error {
	err := c.refused(resp, data)
	if !isTemporary(resp.StatusCode) {
		return err
	}
	t := &temporaryError{error: err}
	var e *breakglass.Error
	if errors.As(err, &e) {
		t.after = e.RetryAfter
	}
	return t
}

func (c *Client) refused(resp *http.Response, data []byte) error {
	if location := resp.Header.Get("Location"); location != "" && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return c.unexpected(resp, fmt.Sprintf("it redirects to %q, and redirects are not followed because the token would go along; "+
			"use the final address as the server", location))
	}
	if e := problem.Decode(resp.StatusCode, resp.Header, data); e != nil {
		return &RefusedError{Err: e, Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id")}
	}
	e := c.unexpected(resp, fmt.Sprintf("status %d (%s) without a problem document, so it isn't from breakglassd", resp.StatusCode,
		http.StatusText(resp.StatusCode)))
	e.Gateway = isTemporary(resp.StatusCode)
	return e
}

func (c *Client) decode(resp *http.Response, data []byte, out any) error {
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return c.unexpected(resp, fmt.Sprintf("status %d with content type %q, not JSON; is this the address of breakglassd?",
			resp.StatusCode, resp.Header.Get("Content-Type")))
	}
	err := json.Unmarshal(data, out)
	var tooMany *tooManyError
	if errors.As(err, &tooMany) {
		return c.unexpected(resp, tooMany.Error())
	}
	if err != nil {
		return c.unexpected(resp, "its JSON is broken: "+err.Error())
	}
	return nil
}
