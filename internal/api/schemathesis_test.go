package api_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// schemathesisConfig knows events, access requests and profiles of the caller, so that requests
// get as far as the rules. A request that openapi.yaml allows is then accepted,
// except where that rests on what the server knows: cursors, positions in the
// trail, keys used before, nonces, and what earlier requests have done to an event or access request.
var schemathesisConfig = template.Must(template.New("").Parse(`
warnings = {fail-on = ["missing_test_data", "validation_mismatch", "method_not_allowed", "unsupported_regex",
  "rate_limited", "dictionary_mismatch", "missing_auth"]}

[auth.openapi.bearer]
bearer = "${BREAKGLASS_TEST_TOKEN}"

[phases.stateful]
max-steps = 15

[dictionaries]
kept = {values = [{{range .Kept}}"{{.}}", {{end}}]}
closable = {values = [{{range .Closable}}"{{.}}", {{end}}]}
profiles = {values = [{{range .Profiles}}"{{.}}", {{end}}]}
granted = {values = [{{range .Granted}}"{{.}}", {{end}}]}
asked = {values = [{{range .Asked}}"{{.}}", {{end}}]}
cancellable = {values = [{{range .Cancellable}}"{{.}}", {{end}}]}
approvable = {values = [{{range .Approvable}}"{{.}}", {{end}}]}
deniable = {values = [{{range .Deniable}}"{{.}}", {{end}}]}
told = {values = [{{range .Kept}}"{{.}}", {{end}}{{range .Asked}}"{{.}}", {{end}}]}
caller = {values = ["{{.Caller}}"]}

# The phases "examples" and "coverage" also send the examples of openapi.yaml,
# whose event and profile aren't here. The stateful phase takes the request_id of
# any answer for that of an access request, and whosever it is.

[[operations]]
include-name = "POST /v1/breakglass"
parameters = {"body.profile" = {dictionary = "profiles"}, "body.invoker" = {dictionary = "caller"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "422"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409", "422"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409", "422"]

[[operations]]
include-name = "GET /v1/breakglass"
checks.positive_data_acceptance.expected-statuses = ["2xx", {{if not .Auditor}}"403", {{end}}"422"]

[[operations]]
include-name = "GET /v1/breakglass/{id}"
parameters = {"path.id" = {dictionary = "kept"}}
checks.positive_data_acceptance.expected-statuses = ["2xx"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]

[[operations]]
include-name = "POST /v1/breakglass/{id}/close"
parameters = {"path.id" = {dictionary = "closable"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "409"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]

[[operations]]
include-name = "POST /v1/breakglass/{id}/credentials"
parameters = {"path.id" = {dictionary = "kept"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "429"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]

[[operations]]
include-name = "POST /v1/breakglass/{id}/extend"
parameters = {"path.id" = {dictionary = "kept"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "403"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404"]
phases.stateful.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409"]

[[operations]]
include-name = "POST /v1/credentials"
parameters = {"body.profile" = {dictionary = "granted"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "429"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]

[[operations]]
include-name = "POST /v1/requests"
parameters = {"body.profile" = {dictionary = "profiles"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "429"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "429"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "429"]

[[operations]]
include-name = "GET /v1/requests"
checks.positive_data_acceptance.expected-statuses = ["2xx", {{if not .Auditor}}"403", {{end}}"422"]

[[operations]]
include-name = "GET /v1/requests/{id}"
parameters = {"path.id" = {dictionary = "asked"}}
checks.positive_data_acceptance.expected-statuses = ["2xx"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]
phases.stateful.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]

[[operations]]
include-name = "POST /v1/requests/{id}/approve"
parameters = {"path.id" = {dictionary = "approvable"}}
checks.positive_data_acceptance.expected-statuses = ["2xx"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]
phases.stateful.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409"]

[[operations]]
include-name = "POST /v1/requests/{id}/deny"
parameters = {"path.id" = {dictionary = "deniable"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "409"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]
phases.stateful.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409"]

[[operations]]
include-name = "POST /v1/requests/{id}/cancel"
parameters = {"path.id" = {dictionary = "cancellable"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "409"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409"]
phases.stateful.checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409"]

[[operations]]
include-name = "GET /v1/why/{ref}"
parameters = {"path.ref" = {dictionary = "told"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "429"]
phases.examples.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]
phases.coverage.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]
phases.stateful.checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "429"]

[[operations]]
include-name = "GET /v1/events"
{{if not .Auditor}}warnings = false # forbidden to this caller
{{end}}checks.positive_data_acceptance.expected-statuses = [{{if .Auditor}}"2xx"{{else}}"403"{{end}}, "422"]

[[operations]]
include-name = "POST /v1/login/aws"
warnings = false # made-up proofs are never taken
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "422"]

[[operations]]
include-name = "POST /v1/admin/reload"
{{if not .Admin}}warnings = false # forbidden to this caller
{{end}}checks.positive_data_acceptance.expected-statuses = ["2xx", "403"]

[[operations]]
include-name = "POST /v1/mfa/enrol"
checks.positive_data_acceptance.expected-statuses = ["2xx", "429"]

# Nobody here has an authenticator for long, or is an admin; internal/api/mfa_test.go has both.

[[operations]]
include-name = "POST /v1/mfa/confirm"
warnings = false
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "429"]

[[operations]]
include-name = "POST /v1/mfa/remove"
warnings = false
checks.positive_data_acceptance.expected-statuses = ["2xx", "404"]

[[operations]]
include-name = "POST /v1/mfa/reset"
warnings = false # forbidden to all but admins, who have nobody to reset here
parameters = {"body.name" = {dictionary = "caller"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "422"]

[[operations]]
include-name = "POST /v1/mfa/invite"
warnings = false
parameters = {"body.name" = {dictionary = "caller"}}
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "422"]
`))

// known is what the caller of a run has, and the run knows about.
type known struct {
	Caller         string
	Auditor        bool
	Admin          bool
	Kept, Closable []string // ids of active events; those that are closed are others
	Profiles       []string // to invoke, and to ask for
	Granted        []string // profiles to which the caller has access
	// Ids of pending access requests: those of the caller, to look at and to
	// cancel, and those of others, to approve and to deny.
	Asked, Cancellable, Approvable, Deniable []string
}

// seeded makes events for a run: as many as it needs to find active ones to the
// end, each on a profile of its own.
func seeded(t *testing.T, s *server, caller string, profiles []string) known {
	t.Helper()
	k := known{Caller: caller, Auditor: caller == sam, Admin: caller == ops}
	third := len(profiles) / 3
	for i, p := range profiles[:2*third] {
		id := s.invoke(t, caller, p).ID
		if i < third {
			k.Kept = append(k.Kept, id)
		} else {
			k.Closable = append(k.Closable, id)
		}
	}
	k.Granted, k.Profiles = append([]string{"standing"}, profiles[:third]...), profiles[2*third:]
	now := s.clock.Now().UTC().Truncate(time.Microsecond)
	for i, p := range profiles[:2*third] {
		own, other := &k.Asked, &k.Approvable
		if i >= third {
			own, other = &k.Cancellable, &k.Deniable
		}
		for requester, ids := range map[string]*[]string{caller: own, "colleague-of-" + caller: other} {
			r := breakglass.AccessRequest{ID: breakglass.NewID(), Requester: requester, Profile: p, Justification: why, DurationSeconds: 3600,
				Status: breakglass.RequestPending, CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(24 * time.Hour), ApprovalRule: "changes",
				ApprovalsRequired: 1, CorrelationID: "request-1"}
			s.storeRequest(t, r)
			*ids = append(*ids, r.ID)
		}
	}
	return k
}

// answers counts the answers of each route by status.
type answers struct {
	next http.Handler
	mu   sync.Mutex
	seen map[string]int
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	a.next.ServeHTTP(rec, r)
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) > 3 {
		parts[3] = "{id}"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[fmt.Sprintf("%s %s %d", r.Method, strings.Join(parts, "/"), rec.status)]++
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// TestSchemathesisFindsNothing fuzzes the running server from openapi.yaml,
// with every check on. It takes a minute or two; -short leaves it out, and with
// BREAKGLASS_HEAVY=1 it makes ten times as many requests, other ones each time.
func TestSchemathesisFindsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes up to two minutes")
	}
	tool := testenv.Tool(t, "schemathesis")
	var profiles []string
	for i := range 240 {
		profiles = append(profiles, fmt.Sprintf("profile-%d", i))
	}
	s := start(t, options{profiles: append(profiles, "standing"), awsLogin: newAWS(t), hasty: true, // those have no rate limits
		policy: "version: \"1\"\nrules:\n  - {name: open, users: [\"*\"], max_extensions: 3}\n"})
	s.standing(t, strings.Replace(testAccess, "groups: [engineers]", `users: ["*"]`, 1))
	s.approving(t, "version: \"1\"\nrules:\n  - {name: changes, approvers: {users: [\"*\"]}, max_duration: 8h}\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	counted := &answers{next: s.handler}
	srv := api.NewServer(counted, logTo(s.log))
	go func() { _ = srv.Serve(listener) }()
	t.Cleanup(func() { _ = srv.Close() })

	for _, as := range []string{alice, sam, ops} {
		t.Run(as, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "schemathesis.toml")
			var text bytes.Buffer
			require.NoError(t, schemathesisConfig.Execute(&text, seeded(t, s, as, profiles)))
			require.NoError(t, os.WriteFile(config, text.Bytes(), 0o600))
			counted.mu.Lock()
			counted.seen = map[string]int{}
			counted.mu.Unlock()
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
			counted.mu.Lock()
			defer counted.mu.Unlock()
			for _, reached := range []string{"POST /v1/breakglass 201", "POST /v1/breakglass 200", "POST /v1/breakglass 409",
				"GET /v1/breakglass 200", "GET /v1/breakglass/{id} 200",
				"POST /v1/breakglass/{id}/close 200", "POST /v1/breakglass/{id}/close 409", "POST /v1/breakglass/{id}/credentials 200",
				"POST /v1/breakglass/{id}/extend 200", "POST /v1/breakglass/{id}/extend 403", "POST /v1/credentials 200", "POST /v1/requests 201",
				"GET /v1/requests 200", "GET /v1/requests/{id} 200", "POST /v1/requests/{id}/approve 200", "POST /v1/requests/{id}/deny 200",
				"POST /v1/requests/{id}/cancel 200", "GET /v1/why/{id} 200"} {
				assert.Greater(t, counted.seen[reached], 2, "%s: %v", reached, counted.seen)
			}
		})
	}
}
