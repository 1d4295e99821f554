package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	spec "breakglass"
	"breakglass/internal/access"
	"breakglass/internal/api"
	"breakglass/internal/approval"
	"breakglass/internal/authn"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
	"breakglass/internal/issuer"
	"breakglass/internal/mfa"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
	"breakglass/internal/testenv/teststore"
)

// The people of the tests; the token of each is "token-of-" and the name.
const (
	alice   = "alice@example.com" // engineer
	bob     = "bob@example.com"   // engineer
	sam     = "sam@example.com"   // reviewer
	auditor = "dashboard"
	bot     = "incident-bot" // delegate
	ops     = "ops"          // admin
	nobody  = ""
)

const testPolicy = `
version: "1"
rules:
  - {name: engineers, profiles: [prod, staging, limited, gone], groups: [engineers, security], max_duration: 4h, max_extensions: 1}
  - {name: ticketed, profiles: [ticketed], groups: [engineers], max_duration: 30m, require_ticket: true, allowed_reason_codes: [incident]}
`

const testLimits = `
version: "1"
rules:
  - {name: limited, profiles: [limited], cooldown: 30m, max_per_user: 100, quota_window: 24h, escalation_threshold: 2}
`

// server is the API over the real service, store, policy and limits, on a
// real listener.
type server struct {
	url     string
	clock   *clock
	log     *logBuffer
	store   teststore.Store
	service *breakglass.Service
	handler *api.Handler
	issuer  *switchedIssuer
	// The rules of the other links of the chain, which tests can change.
	access    atomic.Pointer[access.Policy]
	approvals atomic.Pointer[approval.Policy]
	auth      *switchedAuth
	ready     atomic.Pointer[[]api.Check]
	reloads   atomic.Int64
	http      *http.Server
	dir       string
}

type options struct {
	policy, limits string
	profiles       []string
	adminListener  bool
	requestTimeout time.Duration
	dir            string
	quiet          bool // log nothing below Info
	awsLogin       api.AWSLogin
	login          []api.LoginOIDC
	invited        bool // to enrol, an admin's code is needed
	hasty          bool // long polls end after a moment, as if their time were over
	// What one caller may ask for in a second; zero: as much as they like.
	requests, emergencies int
	proxies               authn.Proxies
}

// hasty is a journal that waits for a moment only. Looking takes as long as it
// takes: a deadline on the whole call would cut that short on a busy machine.
type hasty struct{ breakglass.Journal }

func (h hasty) Wait(ctx context.Context, after int64) error {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	return h.Journal.Wait(ctx, after)
}

func (o options) feed(j breakglass.Journal) breakglass.Journal {
	if o.hasty {
		return hasty{j}
	}
	return j
}

func start(t testing.TB, opts options) *server {
	t.Helper()
	s := &server{clock: newClock(), log: &logBuffer{}, issuer: &switchedIssuer{}, dir: opts.dir}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	var err error
	s.store = teststore.Open(t, s.dir)
	t.Cleanup(func() { _ = s.store.Close() })
	log := logTo(s.log)
	if opts.quiet {
		log = slog.New(slog.NewJSONHandler(s.log, nil))
	}
	s.auth = newSwitchedAuth(t)
	s.service = newService(t, s, opts, log)
	registry := prometheus.NewRegistry()
	for _, budget := range []*int{&opts.requests, &opts.emergencies} {
		if *budget == 0 {
			*budget = 1_000_000
		}
	}
	s.handler, err = api.New(api.Config{
		Service: s.service, Authenticator: s.auth, Spec: spec.OpenAPI(), Log: log, Metrics: registry, LoginOIDC: opts.login, AWSLogin: opts.awsLogin,
		AdminListener: opts.adminListener, RequestTimeout: opts.requestTimeout,
		Reload: func() []api.Reloaded {
			s.reloads.Add(1)
			return []api.Reloaded{{File: "policy", OK: true, SHA256: rulesSHA256, Detail: "in force"}, {File: "rate_limits", Detail: "was never readable"}}
		},
		Proxies: opts.proxies, RequestsPerCaller: opts.requests, EmergencyCallsPerCaller: opts.emergencies,
		Version: api.Version{Version: "test", Commit: "unknown", Go: "go"},
		Ready: func(context.Context) []api.Check {
			if checks := s.ready.Load(); checks != nil {
				return *checks
			}
			return []api.Check{{Name: "store", OK: true, Detail: "takes writes"}}
		},
	})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.url = "http://" + listener.Addr().String()
	srv := api.NewServer(s.handler, log, s.handler.Drain)
	s.http = srv
	go func() { _ = srv.Serve(api.Strict(listener)) }()
	t.Cleanup(func() { _ = srv.Close() })
	return s
}

func newService(t testing.TB, s *server, opts options, log *slog.Logger) *breakglass.Service {
	t.Helper()
	if opts.policy == "" {
		opts.policy = testPolicy
	}
	if opts.limits == "" {
		opts.limits = testLimits
	}
	if opts.profiles == nil {
		opts.profiles = []string{"prod", "staging", "limited", "ticketed", "gone", "shared", "twice", "auto", "standing"}
	}
	s.standing(t, testAccess)
	s.approving(t, testApprovals)
	rules, err := policy.Parse("policy.yaml", []byte(opts.policy))
	require.NoError(t, err)
	limits, err := ratelimit.Parse("ratelimit.yaml", []byte(opts.limits))
	require.NoError(t, err)
	var profiles []breakglass.Profile
	for _, name := range opts.profiles {
		profiles = append(profiles, breakglass.Profile{Name: name, RoleARN: "arn:aws:iam::123456789012:role/" + name, Region: "us-east-1"})
	}
	return breakglass.New(breakglass.Config{
		Store: s.store, Journal: opts.feed(s.store), Profiles: profiles, Issuer: s.issuer, Directory: s.auth,
		Policy:    func() (breakglass.Policy, error) { return rules, nil },
		Limits:    func() (breakglass.RateLimiter, error) { return limits, nil },
		Access:    func() (breakglass.StandingPolicy, error) { return s.access.Load(), nil },
		Approvals: func() (breakglass.ApprovalPolicy, error) { return s.approvals.Load(), nil },
		Sinks:     func(breakglass.EntryType, string) []string { return nil },
		Now:       s.clock.Now, Log: log, MFA: &breakglass.MFA{Factors: newFactors(t), InvitationOnly: opts.invited},
	})
}

// newFactors checks second factors, with a key of this test.
func newFactors(t testing.TB) *mfa.Factors {
	t.Helper()
	f, err := mfa.New(mfa.Config{Keys: []session.KeySource{{Env: "KEY"}}, Enrolment: mfa.EnrolmentOpen},
		func(string) (string, bool) { return "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true })
	require.NoError(t, err)
	return f
}

// entries returns the whole audit trail.
func (s *server) entries(t testing.TB) []breakglass.LogEntry {
	t.Helper()
	head, err := s.store.Head(t.Context())
	require.NoError(t, err)
	if head == 0 {
		return nil
	}
	entries, _, err := s.store.Entries(t.Context(), breakglass.EntryQuery{Limit: 1000})
	require.NoError(t, err)
	return entries
}

// events returns every stored event.
func (s *server) events(t testing.TB) []breakglass.Event {
	t.Helper()
	events, err := s.store.Events(t.Context(), breakglass.EventQuery{Limit: 1000, Now: s.clock.Now()})
	require.NoError(t, err)
	return events
}

// clock is a wall clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 2, 2, 4, 5, 123456000, time.UTC)} }

// Now advances a little on each look, so that no two events are at one time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Microsecond)
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// switchedIssuer is the development issuer until it is told to fail.
type switchedIssuer struct {
	fail atomic.Pointer[breakglass.Error]
	// meanwhile happens once, while credentials are made.
	meanwhile atomic.Pointer[func()]
}

func (i *switchedIssuer) Issue(ctx context.Context, p breakglass.Profile, g breakglass.Grant, now time.Time) (breakglass.Credentials, error) {
	if e := i.fail.Load(); e != nil {
		return breakglass.Credentials{}, e
	}
	if happens := i.meanwhile.Swap(nil); happens != nil {
		(*happens)()
	}
	return issuer.Dev{}.Issue(ctx, p, g, now)
}

// switchedAuth is the real authentication until it is told to break.
type switchedAuth struct {
	*authn.Static
	panics, down atomic.Bool
	refuses      atomic.Value // of errorBox: what every caller is refused with
}

func (a *switchedAuth) Authenticate(r *http.Request) (breakglass.Principal, error) {
	switch {
	case a.panics.Load():
		panic("boom-4711")
	case a.refuses.Load() != nil:
		return breakglass.Principal{}, a.refuses.Load().(errorBox).error
	case a.down.Load():
		return breakglass.Principal{}, errors.New("dial tcp 10.1.2.3:443: connection refused")
	}
	return a.Static.Authenticate(r)
}

func newSwitchedAuth(t testing.TB) *switchedAuth {
	t.Helper()
	groups := map[string][]string{alice: {"engineers"}, bob: {"engineers"}, sam: {"security"}, auditor: nil, bot: nil, ops: nil}
	roles := authn.Roles{
		breakglass.RoleReviewer: {Groups: []string{"security"}}, breakglass.RoleAuditor: {Users: []string{auditor}},
		breakglass.RoleDelegate: {Users: []string{bot}}, breakglass.RoleAdmin: {Users: []string{ops}},
	}
	for role, name := range holders() {
		groups[name] = []string{"engineers", "role-" + string(role)}
		m := roles[role]
		m.Groups = append(m.Groups, "role-"+string(role))
		roles[role] = m
	}
	delete(roles, "") // the one without any
	var tokens []authn.Token
	for name, g := range groups {
		sum := sha256.Sum256([]byte(tokenOf(name)))
		tokens = append(tokens, authn.Token{Name: name, SHA256: hex.EncodeToString(sum[:]), Groups: g})
	}
	static, err := authn.New(tokens, roles)
	require.NoError(t, err)
	return &switchedAuth{Static: static}
}

const rulesSHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// holders are engineers of whom each has one role, and one, under "", none.
func holders() map[breakglass.Role]string {
	out := map[breakglass.Role]string{"": "no-role"}
	for _, role := range breakglass.Roles() {
		out[role] = "the-" + string(role)
	}
	return out
}

func tokenOf(name string) string {
	return "token-of-" + string(bytes.ReplaceAll([]byte(name), []byte("@"), []byte("-at-")))
}

// logBuffer keeps what the server logs.
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

func logTo(b *logBuffer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
