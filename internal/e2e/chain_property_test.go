package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/access"
	"breakglass/internal/approval"
	"breakglass/internal/breakglass"
	"breakglass/internal/issuer"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
	"breakglass/internal/testenv/teststore"
)

// ruleSpec is what one profile's rules say, as the test knows it.
type ruleSpec struct {
	// Standing access: who has it, who is denied it first, between which hours of
	// the day (0 and 24: always), and how long a session lasts.
	allowed, denied []string
	from, to        int
	standingSession time.Duration
	// Requests: of whom, how many approvals, who needs none, and their terms.
	askers, free     []string
	approvals        int
	requestSession   time.Duration
	requestRenewals  int // -1: any number
	breakers         []string
	eventSession     time.Duration
	eventRenewals    int
	eventExtensions  int
	eventMaxDuration time.Duration
}

func someOf(rnd *rand.Rand, people []string, atLeast int) []string {
	chosen := slices.Clone(people)
	rnd.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen[:min(len(chosen), atLeast+rnd.IntN(len(people)))]
}

func oneOf[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

func randomRules(rnd *rand.Rand, people []string) ruleSpec {
	s := ruleSpec{allowed: someOf(rnd, people[:2], 1), denied: someOf(rnd, people, 1), to: 24, standingSession: oneOf(rnd, 5*time.Minute, time.Hour, 3*time.Hour),
		askers: someOf(rnd, people, 2), free: someOf(rnd, people, 1), approvals: 1 + rnd.IntN(2),
		requestSession: oneOf(rnd, 0, 7*time.Minute), requestRenewals: oneOf(rnd, -1, 0, 2),
		breakers: someOf(rnd, people, 2), eventSession: oneOf(rnd, 0, 11*time.Minute, time.Hour), eventRenewals: oneOf(rnd, -1, 0, 1, 3),
		eventExtensions: rnd.IntN(3), eventMaxDuration: oneOf(rnd, time.Hour, 2*time.Hour, 4*time.Hour)}
	if rnd.IntN(2) == 0 {
		s.from, s.to = rnd.IntN(24), 1+rnd.IntN(24)
	}
	return s
}

// approvers of every profile: enough of them that nobody's request is hopeless.
var approverNames = []string{user(0), user(1), user(2)}

// rulebook are the rules of all profiles, as files and as specs.
type rulebook struct {
	specs     map[string]ruleSpec
	policy    *policy.Policy
	access    *access.Policy
	approvals *approval.Policy
}

func newRulebook(t *testing.T, rnd *rand.Rand, people, profiles []string) *rulebook {
	t.Helper()
	b := &rulebook{specs: map[string]ruleSpec{}}
	head := "version: \"1\"\nrules:\n"
	glass, standing, asking := head, head, head
	list := func(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
	optional := func(field string, d time.Duration) string {
		if d == 0 {
			return ""
		}
		return fmt.Sprintf(", %s: %s", field, d)
	}
	renewals := func(n int) string {
		if n < 0 {
			return ""
		}
		return fmt.Sprintf(", max_renewals: %d", n)
	}
	for _, p := range profiles {
		s := randomRules(rnd, people)
		if rnd.IntN(3) == 0 { // most of the time nobody is denied what another rule allows
			standing += fmt.Sprintf("  - {name: deny-%s, effect: deny, profiles: [%[1]s], users: %s}\n", p, list(s.denied))
		} else {
			s.denied = nil
		}
		when := ""
		if s.from != 0 || s.to != 24 {
			if s.from == s.to%24 {
				s.to = s.from%23 + 1
			}
			when = fmt.Sprintf(", time: {hours: {start: %q, end: %q}, timezone: UTC}", fmt.Sprintf("%02d:00", s.from), fmt.Sprintf("%02d:00", s.to%24))
		}
		standing += fmt.Sprintf("  - {name: allow-%s, effect: allow, profiles: [%[1]s], users: %s%s, max_session: %s}\n", p, list(s.allowed), when, s.standingSession)
		asking += fmt.Sprintf("  - {name: ask-%s, profiles: [%[1]s], requesters: {users: %s}, approvers: {users: %s}, approvals: %d%s%s, auto_approve: [{users: %s, max_duration: 20m}]}\n",
			p, list(s.askers), list(approverNames), s.approvals, optional("max_session", s.requestSession), renewals(s.requestRenewals), list(s.free))
		glass += fmt.Sprintf("  - {name: break-%s, profiles: [%[1]s], users: %s, max_duration: %s, max_extensions: %d%s%s}\n",
			p, list(s.breakers), s.eventMaxDuration, s.eventExtensions, optional("max_session", s.eventSession), renewals(s.eventRenewals))
		b.specs[p] = s
	}
	var err error
	b.policy, err = policy.Parse("policy.yaml", []byte(glass))
	require.NoError(t, err, glass)
	b.access, err = access.Parse("access.yaml", []byte(standing))
	require.NoError(t, err, standing)
	b.approvals, err = approval.Parse("approvals.yaml", []byte(asking))
	require.NoError(t, err, asking)
	return b
}

// standingUntil is until when the person has standing access at that time; false
// when not at all, and zero when there is no end.
func (s ruleSpec) standingUntil(who string, at time.Time) (time.Time, bool) {
	if slices.Contains(s.denied, who) || !slices.Contains(s.allowed, who) {
		return time.Time{}, false
	}
	if s.from == 0 && s.to == 24 {
		return time.Time{}, true
	}
	open := func(t time.Time) bool {
		h, to := t.Hour(), s.to%24
		if s.from < to {
			return s.from <= h && h < to
		}
		return h >= s.from || h < to
	}
	if !open(at) {
		return time.Time{}, false
	}
	end := at.Truncate(time.Hour).Add(time.Hour)
	for open(end) {
		end = end.Add(time.Hour)
	}
	return end, true
}

// life is an event or an access request as the test follows it.
type life struct {
	who, profile string
	ends         time.Time
	over         bool
}

// ruledWorld drives a service by random operations and follows what it grants.
type ruledWorld struct {
	t        *testing.T
	rnd      *rand.Rand
	svc      *breakglass.Service
	now      time.Time
	rules    *rulebook
	people   []string
	profiles []string
	events   map[string]*life
	requests map[string]*life // approved
	pending  map[string]time.Duration
	issued   []breakglass.Credentials // every call of the issuer
	slow     func()                   // what happens while STS is asked
	granted  map[breakglass.Link]int
}

// Issue is the issuer of development mode, which takes its time.
func (w *ruledWorld) Issue(ctx context.Context, p breakglass.Profile, g breakglass.Grant, now time.Time) (breakglass.Credentials, error) {
	c, err := issuer.Dev{}.Issue(ctx, p, g, now)
	if err == nil {
		w.issued = append(w.issued, c)
		if slow := w.slow; slow != nil {
			w.slow = nil
			slow()
		}
	}
	return c, err
}

func (w *ruledWorld) principal(name string) breakglass.Principal {
	return breakglass.Principal{Name: name}
}

func (w *ruledWorld) step() {
	w.now = w.now.Add(oneOf(w.rnd, time.Second, time.Second, time.Minute, 4*time.Minute, 20*time.Minute) + time.Duration(w.rnd.IntN(1e9)))
	who, profile := oneOf(w.rnd, w.people...), oneOf(w.rnd, w.profiles...)
	switch w.rnd.IntN(12) {
	case 0:
		w.invoke(who, profile)
	case 1:
		w.request(who, profile)
	case 2, 3:
		w.approve(who)
	case 4:
		w.end()
	case 5:
		w.extend()
	case 6:
		if w.rnd.IntN(4) == 0 {
			w.rules = newRulebook(w.t, w.rnd, w.people, w.profiles)
		}
	default:
		if w.rnd.IntN(3) == 0 {
			w.slow = w.trouble
		}
		if l := w.live(oneOf(w.rnd, w.events, w.requests)); l != nil && w.rnd.IntN(3) > 0 {
			who, profile = l.who, l.profile
		}
		w.use(who, profile)
		w.slow = nil
	}
}

// live is one that is not over, or nil.
func (w *ruledWorld) live(lives map[string]*life) *life {
	left := map[string]*life{}
	for id, l := range lives {
		if !l.over && w.now.Before(l.ends) {
			left[id] = l
		}
	}
	return left[anyKey(w.rnd, left)]
}

// trouble is what can happen between the decision and its record.
func (w *ruledWorld) trouble() {
	switch w.rnd.IntN(3) {
	case 0:
		w.end()
	case 1:
		w.rules = newRulebook(w.t, w.rnd, w.people, w.profiles)
	case 2:
		w.now = w.now.Add(time.Duration(w.rnd.IntN(30)) * time.Minute)
	}
}

func (w *ruledWorld) invoke(who, profile string) {
	d := time.Duration(1+w.rnd.IntN(7200)) * time.Second
	ev, err := w.svc.Invoke(w.t.Context(), w.principal(who), breakglass.Invocation{Profile: profile, ReasonCode: breakglass.ReasonIncident,
		Justification: justification, Duration: d})
	if err == nil {
		w.events[ev.ID] = &life{who: who, profile: profile, ends: w.now.Truncate(time.Microsecond).Add(d)}
	}
}

func (w *ruledWorld) extend() {
	id := anyKey(w.rnd, w.events)
	if id == "" {
		return
	}
	l, d := w.events[id], time.Duration(1+w.rnd.IntN(3600))*time.Second
	v, err := w.svc.Extend(w.t.Context(), w.principal(l.who), id, breakglass.Extension{Justification: justification, Duration: d})
	if err != nil {
		return
	}
	require.False(w.t, l.over || !w.now.Before(l.ends), "what is over isn't extended")
	l.ends = l.ends.Add(d)
	require.Equal(w.t, l.ends, v.ExpiresAt)
	require.LessOrEqual(w.t, v.ExpiresAt.Sub(v.CreatedAt), 4*time.Hour)
}

func (w *ruledWorld) request(who, profile string) {
	d := time.Duration(1+w.rnd.IntN(3600)) * time.Second
	r, err := w.svc.Request(w.t.Context(), w.principal(who), breakglass.NewRequest{Profile: profile, Justification: justification, Duration: d})
	switch {
	case err != nil:
	case r.Status == breakglass.RequestApproved:
		require.Contains(w.t, w.rules.specs[profile].free, who)
		require.LessOrEqual(w.t, d, 20*time.Minute)
		w.approved(r, d)
	default:
		w.pending[r.ID] = d
	}
}

// approved follows a request that was approved just now; the one before is over.
func (w *ruledWorld) approved(r breakglass.RequestView, d time.Duration) {
	for _, l := range w.requests {
		if l.who == r.Requester && l.profile == r.Profile {
			l.over = true
		}
	}
	w.requests[r.ID] = &life{who: r.Requester, profile: r.Profile, ends: w.now.Truncate(time.Microsecond).Add(d)}
}

func (w *ruledWorld) approve(who string) {
	id := anyKey(w.rnd, w.pending)
	if id == "" {
		return
	}
	r, err := w.svc.Approve(w.t.Context(), w.principal(who), id, "", "")
	if err != nil {
		return
	}
	require.NotEqual(w.t, r.Requester, who, "nobody approves their own request")
	require.Contains(w.t, approverNames, who)
	if r.Status == breakglass.RequestApproved {
		require.GreaterOrEqual(w.t, len(r.Approvals), w.rules.specs[r.Profile].approvals)
		w.approved(r, w.pending[id])
		delete(w.pending, id)
	}
}

// end closes an event, or denies or cancels a request.
func (w *ruledWorld) end() {
	if id := anyKey(w.rnd, w.events); id != "" && w.rnd.IntN(2) == 0 {
		if _, err := w.svc.Close(w.t.Context(), w.principal(w.events[id].who), id, "over", ""); err == nil {
			w.events[id].over = true
		}
		return
	}
	id := anyKey(w.rnd, w.requests)
	if id == "" {
		return
	}
	var err error
	if w.rnd.IntN(2) == 0 {
		_, err = w.svc.Cancel(w.t.Context(), w.principal(w.requests[id].who), id, "", "")
	} else {
		_, err = w.svc.Deny(w.t.Context(), w.principal(oneOf(w.rnd, approverNames...)), id, "not now", "")
	}
	if err == nil {
		w.requests[id].over = true
	}
}

// use fetches credentials, and holds what comes against what the test knows.
func (w *ruledWorld) use(who, profile string) {
	asked := w.now
	before := w.rules.specs[profile]
	out, err := w.svc.CredentialsFor(w.t.Context(), w.principal(who), profile, "")
	if err != nil {
		return
	}
	w.granted[out.Grant.Link]++
	after := w.rules.specs[profile]
	within := func(end time.Time, session time.Duration) {
		require.False(w.t, out.Expiration.After(end), "%s: %s after %s", out.Grant.Link, out.Expiration, end)
		if session > 0 {
			require.False(w.t, out.Expiration.After(asked.Add(session)), "%s: a session of %s", out.Grant.Link, session)
		}
	}
	switch out.Grant.Link {
	case breakglass.LinkPolicy:
		_, ok := before.standingUntil(who, asked)
		require.True(w.t, ok, "no rule allowed it when it was asked for")
		end, ok := after.standingUntil(who, w.now)
		require.True(w.t, ok, "no rule allowed it when it was given")
		if end.IsZero() {
			end = out.Expiration
		}
		within(end, before.standingSession)
	case breakglass.LinkRequest:
		l := w.requests[out.Grant.ID]
		require.NotNil(w.t, l)
		require.Equal(w.t, []any{who, profile, false}, []any{l.who, l.profile, l.over})
		require.True(w.t, w.now.Before(l.ends))
		require.Contains(w.t, after.askers, who)
		within(l.ends, before.requestSession)
		w.renewed(out, after.requestRenewals)
	case breakglass.LinkBreakglass:
		l := w.events[out.Grant.ID]
		require.NotNil(w.t, l)
		require.Equal(w.t, []any{who, profile, false}, []any{l.who, l.profile, l.over})
		require.True(w.t, w.now.Before(l.ends))
		require.Contains(w.t, after.breakers, who)
		within(l.ends, before.eventSession)
		w.renewed(out, after.eventRenewals)
	}
}

// renewed holds the number of issuances against the rule in force.
func (w *ruledWorld) renewed(out breakglass.Issued, most int) {
	if most < 0 {
		return
	}
	sessions := 0
	if id := out.Grant.EventID(); id != "" {
		v, err := w.svc.Check(w.t.Context(), w.principal(out.Grant.Holder), id)
		require.NoError(w.t, err)
		sessions = v.Sessions
	} else {
		v, err := w.svc.AccessRequest(w.t.Context(), w.principal(out.Grant.Holder), out.Grant.ID)
		require.NoError(w.t, err)
		sessions = v.Sessions
	}
	require.LessOrEqual(w.t, sessions, most+1)
}

func anyKey[V any](rnd *rand.Rand, m map[string]V) string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return ""
	}
	slices.Sort(keys) // the same with the same seed
	return keys[rnd.IntN(len(keys))]
}

// explained holds the trail against what happened: each call of the issuer has
// one entry, counts are those of the entries, and nobody decided for themselves.
func (w *ruledWorld) explained(trail []breakglass.LogEntry) {
	verify(w.t, trail)
	entries, sessions := map[string]int{}, map[string]int{}
	for _, e := range trail {
		if key := e.Detail[breakglass.DetailAccessKeyID]; key != "" {
			entries[key]++
			require.Contains(w.t, []breakglass.EntryType{breakglass.EntryCredentialsIssued, breakglass.EntryCredentialsDenied}, e.Event)
		}
		switch e.Event {
		case breakglass.EntryCredentialsIssued:
			sessions[e.EventID+e.Detail[breakglass.DetailAccessRequestID]]++
			require.NotEmpty(w.t, e.Detail[breakglass.DetailLinks])
		case breakglass.EntryRequestApproved, breakglass.EntryRequestEndorsed:
			require.NotEqual(w.t, e.Invoker, e.Actor)
			require.Equal(w.t, e.Actor == breakglass.SystemActor, e.Detail[breakglass.DetailAutoApproved] == "true")
		}
	}
	for _, c := range w.issued {
		require.Equal(w.t, 1, entries[c.AccessKeyID], "entries about %s", c.AccessKeyID)
	}
	require.Len(w.t, entries, len(w.issued))
	sam := breakglass.Principal{Name: "sam", Roles: []breakglass.Role{breakglass.RoleReviewer}}
	for id := range w.events {
		v, err := w.svc.Check(w.t.Context(), sam, id)
		require.NoError(w.t, err)
		require.Equal(w.t, sessions[id], v.Sessions)
	}
	for id := range w.requests {
		v, err := w.svc.AccessRequest(w.t.Context(), sam, id)
		require.NoError(w.t, err)
		require.Equal(w.t, sessions[id], v.Sessions)
	}
}

func runChain(t *testing.T, seed uint64, steps int) map[breakglass.Link]int {
	rnd := rand.New(rand.NewPCG(seed, 5)) // the same operations every time; nothing here is secret
	st := teststore.Open(t, t.TempDir())
	defer func() { require.NoError(t, st.Close()) }()
	w := &ruledWorld{t: t, rnd: rnd, now: time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC).Add(time.Duration(rnd.IntN(48)) * time.Hour), profiles: []string{"prod", "db"},
		events: map[string]*life{}, requests: map[string]*life{}, pending: map[string]time.Duration{}, granted: map[breakglass.Link]int{}}
	for i := range 5 {
		w.people = append(w.people, user(i))
	}
	w.rules = newRulebook(t, rnd, w.people, w.profiles)
	var profiles []breakglass.Profile
	for _, name := range w.profiles {
		profiles = append(profiles, breakglass.Profile{Name: name, MaxSession: time.Duration(1+rnd.IntN(12)) * time.Hour})
	}
	w.svc = breakglass.New(breakglass.Config{
		Store: st, Journal: st, Issuer: w, Profiles: profiles,
		Policy:    func() (breakglass.Policy, error) { return w.rules.policy, nil },
		Limits:    func() (breakglass.RateLimiter, error) { return ratelimit.None{}, nil },
		Access:    func() (breakglass.StandingPolicy, error) { return w.rules.access, nil },
		Approvals: func() (breakglass.ApprovalPolicy, error) { return w.rules.approvals, nil },
		Sinks:     func(breakglass.EntryType, string) []string { return nil },
		Now:       func() time.Time { return w.now },
	})
	for range steps {
		w.step()
	}
	trail, _, err := st.Entries(t.Context(), breakglass.EntryQuery{Limit: 100 * steps})
	require.NoError(t, err)
	w.explained(trail)
	return w.granted
}

// TestNoCredentialsOutliveTheLinkThatGrantedThem drives the service by random
// operations of several people under random rules, which change, and compares
// all that it gives out with what the test itself knows of rules, ends and
// decisions.
func TestNoCredentialsOutliveTheLinkThatGrantedThem(t *testing.T) {
	granted := map[breakglass.Link]int{}
	for seed := range rounds(12, 500) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			for link, n := range runChain(t, uint64(seed), 600) {
				granted[link] += n
			}
		})
	}
	t.Logf("%v", granted)
	for _, link := range breakglass.Links() {
		assert.Greater(t, granted[link], 50, "the runs exercise everything: %v", granted)
	}
}
