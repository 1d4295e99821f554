package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/config"
)

// site is a configuration of a size that an organisation has: people in groups,
// a profile for each account, a policy and rate limits of several rules.
type site struct {
	dir             string
	database        string           // default breakglass.db in dir
	table           *config.DynamoDB // instead of a database
	users, profiles int
	quota           int    // of each user and each profile within a day; zero: no limits at all
	sinks           string // lines of YAML, each with a sink
}

func user(i int) string    { return fmt.Sprintf("user-%d@example.com", i) }
func profile(i int) string { return fmt.Sprintf("account-%04d", i) }

// auditor may see everything.
const auditor = "dashboard"

// token is the bearer token of a person; RFC 6750, section 2.1, has no @ in it.
func token(name string) string {
	return "bench-token-of-" + strings.ReplaceAll(name, "@", "-") + "-0123456789abcdef"
}

const policyFile = `version: "1"
rules:
  - name: databases
    profiles: ["db-*"]
    groups: [dba]
    allowed_reason_codes: [incident, recovery]
    max_duration: 1h
    require_ticket: true
  - name: payments-at-night
    profiles: ["payments-*", "ledger"]
    groups: [payments-oncall]
    time: {days: [friday, saturday, sunday], hours: {start: "18:00", end: "08:00"}, timezone: America/New_York}
    max_duration: 2h
  - name: security-team
    groups: [security]
    allowed_reason_codes: [security]
  - name: oncall
    profiles: ["account-*"]
    groups: [oncall]
    allowed_reason_codes: [incident, security, recovery]
    max_duration: 2h
`

const limitsFile = `version: "1"
rules:
  - {name: databases, profiles: ["db-*"], cooldown: 1h, max_per_user: 2, max_per_profile: 4, quota_window: 24h}
  - {name: accounts, profiles: ["account-*"], cooldown: 30m, max_per_user: %d, max_per_profile: %[1]d, quota_window: 24h}
`

// write lays the files out and returns the path of the configuration.
func (s site) write(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\nstore: %s\nsts: {issuer: dev}\nlimits: {requests_per_caller: 1000000, emergency_calls_per_caller: 1000000}\npolicy_file: policy.yaml\n", s.store())
	s.file(t, "policy.yaml", policyFile)
	if s.quota > 0 {
		b.WriteString("rate_limit_file: ratelimit.yaml\n")
		s.file(t, "ratelimit.yaml", fmt.Sprintf(limitsFile, s.quota))
	}
	b.WriteString("roles: {auditor: {users: [" + auditor + "]}}\nauth:\n  tokens:\n")
	writeToken(&b, auditor, "security")
	for i := range s.users {
		writeToken(&b, user(i), fmt.Sprintf("team-%d, oncall", i%20))
	}
	b.WriteString("profiles:\n")
	for i := range s.profiles {
		fmt.Fprintf(&b, "  %s: {role_arn: \"arn:aws:iam::%012d:role/BreakGlass\", region: us-east-1, max_duration: 4h}\n", profile(i), 100000000000+i)
	}
	if s.sinks != "" {
		b.WriteString("notify:\n  sinks:\n" + s.sinks)
	}
	return s.file(t, "config.yaml", b.String())
}

func (s site) store() string {
	if t := s.table; t != nil {
		return fmt.Sprintf("{driver: dynamodb, dynamodb: {table: %q, region: %q, endpoint: %q}}", t.Table, t.Region, t.Endpoint)
	}
	if s.database == "" {
		s.database = filepath.Join(s.dir, "breakglass.db")
	}
	return fmt.Sprintf("{driver: sqlite, sqlite: {path: %q}}", s.database)
}

func writeToken(b *strings.Builder, name, groups string) {
	sum := sha256.Sum256([]byte(token(name)))
	fmt.Fprintf(b, "    - {name: %s, sha256: %q, groups: [%s]}\n", name, hex.EncodeToString(sum[:]), groups)
}

func (s site) file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// server is a server in this process, with the log of a real one.
type server struct {
	app  *app.App
	addr string
	stop func()
}

func (s site) start(t testing.TB) *server {
	t.Helper()
	c, err := config.Load(s.write(t))
	require.NoError(t, err)
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	require.NoError(t, err)
	a, err := app.New(t.Context(), c, app.Options{Log: slog.New(slog.NewJSONHandler(log, nil))})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, a.Stop(ctx))
		require.NoError(t, log.Close())
	}
	t.Cleanup(stop)
	return &server{app: a, addr: a.Addr().String(), stop: stop}
}

// invocation is the request by which somebody breaks the glass.
func invocation(who, profile string) []byte {
	return request(http.MethodPost, "/v1/breakglass", token(who),
		fmt.Sprintf(`{"profile":%q,"reason_code":"incident","justification":"primary database is down, see INC-4711","duration_seconds":3600}`, profile))
}
