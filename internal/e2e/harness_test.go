package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/testenv/teststore"
)

// justification is good enough for every invocation of these tests.
const justification = "Primary DB down, INC-4711"

// openPolicy lets everybody invoke everything.
const openPolicy = "version: \"1\"\nrules:\n  - {name: open, users: [\"*\"]}\n"

// token is the bearer token of a principal in these tests.
func token(name string) string { return "e2e-token-of-" + name + "-0123456789" }

// people returns the tokens of n engineers user-0…, and of sam, who reviews and
// audits, and bot, who delegates.
func people(n int) []authn.Token {
	names := []string{"sam", "bot"}
	for i := range n {
		names = append(names, user(i))
	}
	var tokens []authn.Token
	for _, name := range names {
		sum := sha256.Sum256([]byte(token(name)))
		tokens = append(tokens, authn.Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Groups: []string{"everybody"}})
	}
	return tokens
}

func user(i int) string { return fmt.Sprintf("user-%d", i) }

// fast is a budget that callers of tests don't use up, who call without pause.
const fast = 1_000_000

// newConfig is a server on a free loopback port over the store of dir.
func newConfig(t testing.TB, dir, policy, limits string) config.Config {
	t.Helper()
	c := config.Default()
	c.Listen = "127.0.0.1:0"
	c.Store = teststore.Config(t, dir)
	c.PolicyFile = filepath.Join(dir, "policy.yaml")
	require.NoError(t, os.WriteFile(c.PolicyFile, []byte(policy), 0o600))
	if limits != "" {
		c.RateLimitFile = filepath.Join(dir, "ratelimit.yaml")
		require.NoError(t, os.WriteFile(c.RateLimitFile, []byte(limits), 0o600))
	}
	c.STS.Issuer = "dev"
	c.Limits.RequestsPerCaller, c.Limits.EmergencyCallsPerCaller = fast, fast
	c.Auth.Tokens = people(64)
	c.Roles.Reviewer.Users, c.Roles.Auditor.Users, c.Roles.Delegate.Users = []string{"sam"}, []string{"sam"}, []string{"bot"}
	role := "arn:aws:iam::123456789012:role/BreakGlass"
	c.Profiles = map[string]config.Profile{
		"prod":    {RoleARN: role, Region: "us-east-1"},
		"staging": {RoleARN: role, Region: "us-east-1"},
	}
	return c
}

// server is a running server in this process.
type server struct {
	*app.App
	http caller
	logs *logBuffer
}

func start(t testing.TB, c config.Config, change ...func(*app.Options)) *server {
	t.Helper()
	s := &server{logs: &logBuffer{}}
	opts := app.Options{Log: slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), AuditOut: io.Discard, GaugesKept: time.Second}
	for _, f := range change {
		f(&opts)
	}
	a, err := app.New(t.Context(), c, opts)
	require.NoError(t, err)
	require.NoError(t, a.Start())
	s.App = a
	s.http = newCaller("http://" + a.Addr().String())
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *server) stop(t testing.TB) {
	if s.App == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
	s.App = nil
	s.http.client.CloseIdleConnections()
}

// logBuffer keeps what a server logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// caller speaks raw HTTP to a server: what these tests check must not pass
// through a client that knows better.
type caller struct {
	base   string
	client *http.Client
}

func newCaller(base string) caller {
	return caller{base: base, client: &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256}}}
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) code() string {
	var p struct{ Code string }
	_ = json.Unmarshal(a.body, &p) // no problem document: no code
	return p.Code
}

// decode reads the body into a T.
func decode[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal(a.body, &v), "%s", a.body)
	return v
}

// do sends a request as that principal. An error means that no answer came.
func (c caller) do(ctx context.Context, as, method, path, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token(as))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }() // only read
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

func invocation(profile string, seconds int) string {
	return fmt.Sprintf(`{"profile":%q,"reason_code":"incident","justification":%q,"duration_seconds":%d}`, profile, justification, seconds)
}

func (c caller) invoke(ctx context.Context, as, profile string, seconds int, header ...string) (answer, error) {
	return c.do(ctx, as, http.MethodPost, "/v1/breakglass", invocation(profile, seconds), header...)
}

func (c caller) close(ctx context.Context, as, id string) (answer, error) {
	return c.do(ctx, as, http.MethodPost, "/v1/breakglass/"+id+"/close", `{"reason":"over"}`)
}

// must is do for a call that has to be answered with that status.
func (c caller) must(t testing.TB, status int, as, method, path, body string) answer {
	t.Helper()
	a, err := c.do(t.Context(), as, method, path, body)
	require.NoError(t, err)
	require.Equal(t, status, a.status, "%s", a.body)
	return a
}

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor"`
}

// feed reads the audit trail to its end, after a sequence number.
func (c caller) feed(t testing.TB, after string) []breakglass.LogEntry {
	t.Helper()
	var all []breakglass.LogEntry
	for {
		p := decode[page[breakglass.LogEntry]](t, c.must(t, 200, "sam", http.MethodGet, "/v1/events?limit=1000&after="+after, ""))
		all = append(all, p.Items...)
		if after == p.Next {
			return all
		}
		after = p.Next
	}
}
