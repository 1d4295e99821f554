package dynamodb

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// faults stands between a store and DynamoDB.
type faults struct {
	*httptest.Server
	lose   func(op string) bool                        // the call is carried out and its answer lost
	answer func(op string, w http.ResponseWriter) bool // instead of DynamoDB
}

func newFaults(t testing.TB, endpoint string) *faults {
	t.Helper()
	up, err := url.Parse(endpoint)
	require.NoError(t, err)
	f := &faults{lose: func(string) bool { return false }, answer: func(string, http.ResponseWriter) bool { return false }}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(up); r.Out.Host = r.In.Host }}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		switch {
		case f.answer(op, w):
		case f.lose(op):
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// sayNo answers as DynamoDB does.
func sayNo(w http.ResponseWriter, code, message string, reasons ...string) {
	body := map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + code, "message": message}
	if len(reasons) > 0 {
		var list []map[string]string
		for _, r := range reasons {
			list = append(list, map[string]string{"Code": r})
		}
		body["CancellationReasons"] = list
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(body)
}
