package dynamodb

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// newHook is a proxy in front of the table. It asks before about each call:
// true means that before has answered it.
func newHook(t testing.TB, o Options, before func(w http.ResponseWriter, op, body string) bool) Options {
	t.Helper()
	upstream, err := url.Parse(o.Endpoint)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if before == nil || !before(w, op, string(body)) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	o.Endpoint, o.PollEvery = server.URL, time.Hour
	return o
}

// plant writes an item behind the store's back.
func plant(t testing.TB, s *Store, it item) {
	t.Helper()
	_, err := s.client.PutItem(t.Context(), &ddb.PutItemInput{TableName: &s.opts.Table, Item: it})
	require.NoError(t, err)
}

func stored(t testing.TB, s *Store, k key) item {
	t.Helper()
	it, err := s.get(t.Context(), k)
	require.NoError(t, err)
	return it
}

// appendOnly writes an audit entry and looks at nothing.
func appendOnly(ctx context.Context, s *Store, actor string) error {
	return s.Update(ctx, breakglass.Keys{}, func(tx breakglass.Tx) error {
		return tx.Append(breakglass.LogEntry{Timestamp: noon, Event: breakglass.EntryDenied, Actor: actor}, nil, nil)
	})
}
