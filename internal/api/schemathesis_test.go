package api_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/testenv"
)

// schemathesisConfig: a request that openapi.yaml allows is accepted, except
// where that rests on what the server knows: cursors and positions in the
// trail, keys used before, and nonces.
const schemathesisConfig = `
[auth.openapi.bearer]
bearer = "${BREAKGLASS_TEST_TOKEN}"

[[operations]]
include-name = "GET /v1/breakglass"
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "422"]

[[operations]]
include-name = "GET /v1/events"
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "422"]

[[operations]]
include-name = "POST /v1/breakglass"
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409", "422"]

[[operations]]
include-name = "POST /v1/login/aws"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "422"]

[[operations]]
include-name = "POST /v1/admin/reload"
checks.positive_data_acceptance.expected-statuses = ["2xx", "403"]
`

// TestSchemathesisFindsNothing fuzzes the running server from openapi.yaml,
// with every check on. It takes a minute or two; -short leaves it out, and with
// BREAKGLASS_HEAVY=1 it makes ten times as many requests, other ones each time.
func TestSchemathesisFindsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes up to two minutes")
	}
	tool := testenv.Tool(t, "schemathesis")
	s := start(t, options{profiles: []string{"prod", "staging"}, awsLogin: newAWS(t)}) // those have no rate limits
	// A poll of a minute shows nothing that a short one doesn't.
	hasty := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("wait") {
			ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
			defer cancel()
			r = r.WithContext(ctx)
		}
		s.handler.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := api.NewServer(hasty, logTo(s.log))
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(func() { _ = srv.Close() })

	dir := t.TempDir()
	config := filepath.Join(dir, "schemathesis.toml")
	require.NoError(t, os.WriteFile(config, []byte(schemathesisConfig), 0o600))
	for _, as := range []string{alice, sam, ops} {
		t.Run(as, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
			defer cancel()
			args := []string{"--config-file", config, "run", "http://" + listener.Addr().String() + "/openapi.yaml",
				"--checks", "all", "--no-color", "--generation-database", "none", "--request-timeout", "20",
				"--continue-on-failure", "--workers", "1"}
			if os.Getenv("BREAKGLASS_HEAVY") == "1" {
				args = append(args, "--max-examples", "400")
			} else {
				args = append(args, "--max-examples", "40", "--seed", "4711") // the same requests every time
			}
			cmd := exec.CommandContext(ctx, tool, args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "BREAKGLASS_TEST_TOKEN="+tokenOf(as))
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			require.NoError(t, err)
		})
	}
}
