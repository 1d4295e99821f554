package breakglass_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv/teststore"
)

var t0 = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

// world is the service over a real store, with a clock that the test sets
// and rules that it can change.
type world struct {
	*breakglass.Service
	store  teststore.Store
	clock  atomic.Pointer[func() time.Time]
	policy func(breakglass.PolicyRequest) breakglass.PolicyDecision
	limits func(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error)
	issue  func(breakglass.Grant) error
	noRule error
	// terms are what policy says about events; access is the standing policy, and
	// approvals the rule for requests; nil: there is none.
	terms     func(breakglass.Subject, string) (breakglass.Terms, bool)
	access    func(breakglass.Subject, string, time.Time) breakglass.StandingDecision
	approvals func(profile string) (breakglass.ApprovalRule, bool)
}

// at stops the clock at t; from lets it run on from t.
func (w *world) at(t time.Time) { w.set(func() time.Time { return t }) }
func (w *world) from(t time.Time) {
	offset := time.Until(t)
	w.set(func() time.Time { return time.Now().Add(offset) })
}
func (w *world) set(clock func() time.Time) { w.clock.Store(&clock) }

func (w *world) Decide(r breakglass.PolicyRequest) breakglass.PolicyDecision { return w.policy(r) }
func (w *world) Offer(breakglass.Subject, string, time.Time) (breakglass.Offer, bool) {
	return breakglass.Offer{Rule: "open", MaxDuration: 2 * time.Hour}, true
}
func (w *world) SHA256() string { return "sha" }
func (w *world) Terms(s breakglass.Subject, profile string) (breakglass.Terms, bool) {
	return w.terms(s, profile)
}
func (w *world) Who(string) breakglass.People {
	return breakglass.People{Groups: []string{"oncall"}}
}

// standing and approving are the other two policies of a world.
type standing struct{ *world }

func (s standing) Decide(who breakglass.Subject, profile string, at time.Time) breakglass.StandingDecision {
	return s.access(who, profile, at)
}

type approving struct{ *world }

func (a approving) Find(profile string) (breakglass.ApprovalRule, bool) { return a.approvals(profile) }

func (w *world) CheckRateLimit(h breakglass.History, invoker, profile string, now time.Time) (breakglass.LimitDecision, error) {
	return w.limits(h, invoker, profile, now)
}
func (w *world) Issue(_ context.Context, _ breakglass.Profile, g breakglass.Grant, _ time.Time) (breakglass.Credentials, error) {
	if err := w.issue(g); err != nil {
		return breakglass.Credentials{}, err
	}
	return breakglass.Credentials{AccessKeyID: "ASIATEST", SecretAccessKey: "canary-secret", SessionToken: "canary-token",
		Expiration: g.Ends, Issuer: "dev", RoleSessionName: g.Holder + "." + g.ID}, nil
}
func (w *world) Lookup(name string) (breakglass.Principal, bool) {
	return breakglass.Principal{Name: name, Groups: []string{"g-" + name}}, name != "stranger"
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOver(t, func(s breakglass.Store) breakglass.Store { return s })
}

// newWorldOver is newWorld with the store as the service sees it.
func newWorldOver(t *testing.T, wrap func(breakglass.Store) breakglass.Store) *world {
	t.Helper()
	st := teststore.Open(t, t.TempDir())
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	w := &world{store: st,
		policy: func(breakglass.PolicyRequest) breakglass.PolicyDecision {
			return breakglass.PolicyDecision{Permit: true, Rule: "open", MaxDuration: 4 * time.Hour}
		},
		limits: func(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
			return breakglass.LimitDecision{Permit: true}, nil
		},
		issue: func(breakglass.Grant) error { return nil },
		terms: func(breakglass.Subject, string) (breakglass.Terms, bool) {
			return breakglass.Terms{Rule: "open", MaxDuration: 4 * time.Hour}, true
		},
		access: func(breakglass.Subject, string, time.Time) breakglass.StandingDecision {
			return breakglass.StandingDecision{Message: "No rule."}
		},
		approvals: func(string) (breakglass.ApprovalRule, bool) { return breakglass.ApprovalRule{}, false },
	}
	w.at(t0)
	w.Service = breakglass.New(breakglass.Config{
		Store: wrap(st), Journal: st, Issuer: w, Directory: w,
		Profiles:  []breakglass.Profile{{Name: "prod", MaxDuration: 2 * time.Hour}, {Name: "staging"}},
		Policy:    func() (breakglass.Policy, error) { return w, w.noRule },
		Limits:    func() (breakglass.RateLimiter, error) { return w, nil },
		Access:    func() (breakglass.StandingPolicy, error) { return standing{w}, nil },
		Approvals: func() (breakglass.ApprovalPolicy, error) { return approving{w}, nil },
		Sinks:     func(breakglass.EntryType, string) []string { return []string{"secops"} },
		Now:       func() time.Time { return (*w.clock.Load())() },
	})
	return w
}

func (w *world) trail(t *testing.T) []breakglass.LogEntry {
	t.Helper()
	var all []breakglass.LogEntry
	for after := int64(0); ; { // to where a look at the head finds nothing more
		entries, through, err := w.store.Entries(t.Context(), breakglass.EntryQuery{After: after, Limit: 10_000})
		require.NoError(t, err)
		all = append(all, entries...)
		if through == after {
			return all
		}
		after = through
	}
}

func (w *world) types(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, e := range w.trail(t) {
		s := string(e.Event)
		if e.Reason != "" {
			s += " " + e.Reason
		}
		out = append(out, s)
	}
	return out
}

func person(name string, roles ...breakglass.Role) breakglass.Principal {
	return breakglass.Principal{Name: name, Groups: []string{"g-" + name}, Roles: roles}
}

func request(profile string) breakglass.Invocation {
	return breakglass.Invocation{Profile: profile, ReasonCode: breakglass.ReasonIncident,
		Justification: "  Primary DB down, INC-4711 ", RequestID: "req-1"}
}

func requireCode(t *testing.T, want breakglass.Code, err error) *breakglass.Error {
	t.Helper()
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Code, e.Message)
	require.NotEmpty(t, e.Message)
	return e
}
