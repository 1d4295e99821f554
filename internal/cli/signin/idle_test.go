package signin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/cli/signin"
)

// A connection that was kept while the person was busy in the browser may be
// gone when the code is to be exchanged.
func TestNoCallRestsOnAConnectionThatWasKept(t *testing.T) {
	var kept atomic.Int32
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			kept.Add(1)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL, "token_endpoint": server.URL + "/token"})
	}))
	defer server.Close()
	for range 2 {
		_, err := signin.Discover(t.Context(), signin.Config{Issuer: server.URL, ClientID: "bgctl", HTTP: server.Client()})
		require.NoError(t, err)
	}
	assert.Zero(t, kept.Load())
}
