package breakglass

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// end is when everything in the table ends.
var end = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

// standingRules, approvalRules and glassRules answer as a case of the table says.
type standingRules struct {
	d func(at time.Time) StandingDecision
}

func (r standingRules) Decide(_ Subject, _ string, at time.Time) StandingDecision { return r.d(at) }
func (standingRules) Who(string) People                                           { return People{Groups: []string{"dba"}} }
func (standingRules) SHA256() string                                              { return "access-sha" }

type approvalRules struct {
	rule ApprovalRule
	ok   bool
}

func (r approvalRules) Find(string) (ApprovalRule, bool) { return r.rule, r.ok }
func (approvalRules) SHA256() string                     { return "approvals-sha" }

type glassRules struct {
	Policy
	terms Terms
	ok    bool
}

func (r glassRules) Terms(Subject, string) (Terms, bool)            { return r.terms, r.ok }
func (r glassRules) Offer(Subject, string, time.Time) (Offer, bool) { return Offer{}, r.ok }
func (glassRules) Who(string) People                                { return People{Users: []string{"carol@example.com"}} }
func (glassRules) SHA256() string                                   { return "policy-sha" }

// state is one thing that a link can be in, and what it has to say at a moment.
type state struct {
	name string
	set  func(cfg *Config, st *Standing)
	says func(now time.Time) Outcome
	// ends is when credentials end that are made at now.
	ends  func(now time.Time) time.Time
	until time.Time
}

func always(o Outcome) func(time.Time) Outcome { return func(time.Time) Outcome { return o } }

// untilEnd is o before the end and after from there on.
func untilEnd(o, after Outcome) func(time.Time) Outcome {
	return func(now time.Time) Outcome {
		if now.Before(end) {
			return o
		}
		return after
	}
}

func atEnd(time.Time) time.Time { return end }

// sessionOf is a session of that length, or up to the end.
func sessionOf(d time.Duration) func(time.Time) time.Time {
	return func(now time.Time) time.Time {
		if t := now.Add(d); t.Before(end) {
			return t
		}
		return end
	}
}

func policyStates() []state {
	rules := func(d func(time.Time) StandingDecision) func(*Config, *Standing) {
		return func(cfg *Config, _ *Standing) {
			cfg.Access = func() (StandingPolicy, error) { return standingRules{d}, nil }
		}
	}
	within := func(d StandingDecision) func(time.Time) StandingDecision {
		return func(at time.Time) StandingDecision {
			if at.Before(end) {
				return d
			}
			return StandingDecision{Message: "closed"}
		}
	}
	return []state{
		{name: "no standing policy", set: func(*Config, *Standing) {}, says: always(OutcomeAbsent)},
		{name: "no rule", set: rules(func(time.Time) StandingDecision { return StandingDecision{Message: "no rule"} }), says: always(OutcomeAbsent)},
		{name: "a deny rule", set: rules(func(time.Time) StandingDecision { return StandingDecision{Rule: "deny", Message: "no"} }), says: always(OutcomeDenied)},
		{name: "access until the end", set: rules(within(StandingDecision{Permit: true, Rule: "day", Until: end, MaxSession: 12 * time.Hour})),
			says: untilEnd(OutcomeAllowed, OutcomeAbsent), ends: atEnd, until: end},
		{name: "access without an end", set: rules(func(time.Time) StandingDecision {
			return StandingDecision{Permit: true, Rule: "always", MaxSession: time.Hour}
		}), says: always(OutcomeAllowed), ends: func(now time.Time) time.Time { return now.Add(time.Hour) }},
		{name: "an unreadable policy", set: func(cfg *Config, _ *Standing) {
			cfg.Access = func() (StandingPolicy, error) { return nil, errors.New("line 3") }
		}, says: always(OutcomeUnavailable)},
	}
}

func requestStates() []state {
	approved := AccessRequest{ID: "00000000000000aa", Requester: "alice@example.com", Profile: "prod", Status: RequestApproved, ExpiresAt: end, Sessions: 3}
	everybody := ApprovalRule{Terms: Terms{Rule: "leads"}, Requesters: People{Users: []string{Everybody}}, Required: 1}
	rules := func(rule ApprovalRule, ok bool, r *AccessRequest) func(*Config, *Standing) {
		return func(cfg *Config, st *Standing) {
			cfg.Approvals = func() (ApprovalPolicy, error) { return approvalRules{rule, ok}, nil }
			if r != nil && r.Status == RequestPending {
				st.Pending = r
			} else {
				st.Approved = r
			}
		}
	}
	pending := approved
	pending.Status = RequestPending
	with := func(change func(*ApprovalRule)) ApprovalRule { r := everybody; change(&r); return r }
	three, two := 3, 2
	return []state{
		{name: "no approvals file", set: func(*Config, *Standing) {}, says: always(OutcomeAbsent)},
		{name: "no request", set: rules(everybody, true, nil), says: always(OutcomeAbsent)},
		{name: "a pending request", set: rules(everybody, true, &pending), says: untilEnd(OutcomePending, OutcomeExpired)},
		{name: "an approved request", set: rules(everybody, true, &approved), says: untilEnd(OutcomeAllowed, OutcomeExpired), ends: atEnd, until: end},
		{name: "an approved request with short sessions", set: rules(with(func(r *ApprovalRule) { r.MaxSession = 30 * time.Minute }), true, &approved),
			says: untilEnd(OutcomeAllowed, OutcomeExpired), ends: sessionOf(30 * time.Minute), until: end},
		{name: "its last renewal", set: rules(with(func(r *ApprovalRule) { r.MaxRenewals = &three }), true, &approved),
			says: untilEnd(OutcomeAllowed, OutcomeExpired), ends: atEnd, until: end},
		{name: "no renewal left", set: rules(with(func(r *ApprovalRule) { r.MaxRenewals = &two }), true, &approved), says: untilEnd(OutcomeExhausted, OutcomeExpired)},
		{name: "its rule is gone", set: rules(ApprovalRule{}, false, &approved), says: untilEnd(OutcomeWithdrawn, OutcomeExpired)},
		{name: "its requester may no longer ask", set: rules(with(func(r *ApprovalRule) { r.Requesters = People{Users: []string{"bob@example.com"}} }), true, &approved),
			says: untilEnd(OutcomeWithdrawn, OutcomeExpired)},
		{name: "unreadable approval rules", set: func(cfg *Config, st *Standing) {
			cfg.Approvals = func() (ApprovalPolicy, error) { return nil, errors.New("line 3") }
			st.Approved = &approved
		}, says: untilEnd(OutcomeUnavailable, OutcomeExpired)},
	}
}

func eventStates() []state {
	active := Event{ID: "00000000000000ee", Invoker: "alice@example.com", Profile: "prod", Status: StatusActive, ExpiresAt: end, PolicyRule: "oncall", Sessions: 3}
	closed := active.closed(end.Add(-time.Hour), "sam@example.com", "done")
	rules := func(terms Terms, ok bool, ev *Event) func(*Config, *Standing) {
		return func(cfg *Config, st *Standing) {
			cfg.Policy = func() (Policy, error) { return glassRules{terms: terms, ok: ok}, nil }
			st.Event = ev
		}
	}
	terms := Terms{Rule: "oncall", MaxDuration: 4 * time.Hour}
	short, last, none := terms, terms, terms
	short.MaxSession = 15 * time.Minute
	three, two := 3, 2
	last.MaxRenewals, none.MaxRenewals = &three, &two
	return []state{
		{name: "no event", set: rules(terms, true, nil), says: always(OutcomeAbsent)},
		{name: "an active event", set: rules(terms, true, &active), says: untilEnd(OutcomeAllowed, OutcomeExpired), ends: atEnd, until: end},
		{name: "an active event with short sessions", set: rules(short, true, &active),
			says: untilEnd(OutcomeAllowed, OutcomeExpired), ends: sessionOf(15 * time.Minute), until: end},
		{name: "its last renewal", set: rules(last, true, &active), says: untilEnd(OutcomeAllowed, OutcomeExpired), ends: atEnd, until: end},
		{name: "no renewal left", set: rules(none, true, &active), says: untilEnd(OutcomeExhausted, OutcomeExpired)},
		{name: "a closed event", set: rules(terms, true, &closed), says: always(OutcomeWithdrawn)},
		{name: "its rule is gone", set: rules(Terms{}, false, &active), says: untilEnd(OutcomeWithdrawn, OutcomeExpired)},
		{name: "an unreadable policy", set: func(cfg *Config, st *Standing) {
			cfg.Policy = func() (Policy, error) { return nil, errors.New("line 3") }
			st.Event = &active
		}, says: always(OutcomeUnavailable)},
	}
}

// Every state of every link, with every state of the others, around the instant
// at which everything ends: the first link that allows decides, and nothing is
// given beyond its end.
func TestTheFirstLinkThatAllowsDecides(t *testing.T) {
	alice := Subject{Name: "alice@example.com"}
	n := 0
	for _, p := range policyStates() {
		for _, r := range requestStates() {
			for _, e := range eventStates() {
				for _, off := range []time.Duration{-2 * time.Hour, -time.Microsecond, 0, time.Microsecond} {
					now := end.Add(off)
					name := fmt.Sprintf("%s, %s, %s, %s", p.name, r.name, e.name, off)
					states := []state{p, r, e}
					cfg, standing := Config{}, Standing{}
					for _, s := range states {
						s.set(&cfg, &standing)
					}
					grant, answers := New(cfg).walk(asked{subject: alice, profile: Profile{Name: "prod"}, standing: standing, now: now})
					for i, s := range states {
						if want := s.says(now); want != OutcomeAllowed {
							require.Less(t, i, len(answers), name)
							require.Equal(t, want, answers[i].Outcome, "%s: %s", name, answers[i].Link)
							require.NotEmpty(t, answers[i].Message, name)
							continue
						}
						require.Len(t, answers, i+1, "%s: nothing is asked behind a link that allows", name)
						require.Equal(t, Links()[i], grant.Link, name)
						require.Equal(t, s.until, grant.Until, name)
						require.Equal(t, s.ends(now), grant.Ends, name)
						require.Equal(t, alice.Name, grant.Holder, name)
						require.NotEmpty(t, grant.Rule, name)
						require.NotEmpty(t, grant.PolicySHA256, name)
						break
					}
					if len(answers) == 3 && answers[2].Outcome != OutcomeAllowed {
						require.Zero(t, grant, name)
					}
					n++
				}
			}
		}
	}
	assert.Equal(t, 6*10*8*4, n)
}

func TestARefusalSaysWhatToDoOrWhoMay(t *testing.T) {
	alice := Subject{Name: "alice@example.com"}
	ask := func(p, r, e state) []LinkAnswer {
		cfg, standing := Config{}, Standing{}
		for _, s := range []state{p, r, e} {
			s.set(&cfg, &standing)
		}
		_, answers := New(cfg).walk(asked{subject: alice, profile: Profile{Name: "prod db"}, standing: standing, now: end.Add(-time.Hour)})
		return answers
	}
	answers := ask(policyStates()[1], requestStates()[1], eventStates()[0])
	assert.Equal(t, "who may have standing access: group dba", answers[0].Next)
	assert.Equal(t, `bgctl request 'prod db' --justification "…"`, answers[1].Next)
	assert.Equal(t, `bgctl invoke 'prod db' --reason incident --justification "…"`, answers[2].Next)
	answers = ask(policyStates()[2], requestStates()[2], eventStates()[4])
	assert.Empty(t, answers[0].Next, "a deny rule isn't argued with")
	assert.Equal(t, `bgctl request p --justification "…" --ticket …`, New(Config{Approvals: func() (ApprovalPolicy, error) {
		return approvalRules{ApprovalRule{Requesters: People{Users: []string{Everybody}}, RequireTicket: true}, true}, nil
	}}).noRequest(asked{subject: alice, profile: Profile{Name: "p"}}).Next)
	assert.Equal(t, "bgctl requests 00000000000000aa", answers[1].Next)
	assert.Equal(t, "bgctl close 00000000000000ee, then bgctl invoke 'prod db'", answers[2].Next)
	answers = ask(policyStates()[0], requestStates()[0], state{set: func(cfg *Config, _ *Standing) {
		cfg.Policy = func() (Policy, error) { return glassRules{}, nil }
	}})
	assert.Contains(t, answers[1].Message, "Nobody can ask for it here")
	assert.Equal(t, "who may break the glass: carol@example.com", answers[2].Next)
}

func TestADecisionsIDSaysWhenItWas(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		id := newDecisionID(end.Add(999 * time.Millisecond))
		require.True(t, IsID(id))
		require.Equal(t, end, decidedAt(id))
		require.False(t, seen[id])
		seen[id] = true
	}
}

func TestNamesAreQuotedForAShell(t *testing.T) {
	for name, want := range map[string]string{"prod": "prod", "team/prod-db.v2": "team/prod-db.v2", "a b": "'a b'", "it's": `'it'\''s'`, "-x": "'-x'", "$(id)": "'$(id)'", "prød": "'prød'"} {
		assert.Equal(t, want, quoted(name))
	}
}

func TestTheEndOfAnEventIsAnnouncedTenMinutesBefore(t *testing.T) {
	start := end.Add(-time.Hour)
	ev := Event{CreatedAt: start, UpdatedAt: start, Status: StatusActive}
	assert.Equal(t, end.Add(-10*time.Minute), ev.ending(end).WarnAt)
	assert.Equal(t, end.Add(-10*time.Minute), ev.ending(end).DueAt())
	assert.EqualValues(t, 3600, ev.ending(end).DurationSeconds)
	assert.Zero(t, ev.ending(start.Add(10*time.Minute)).WarnAt, "it begins with the warning")
	assert.Equal(t, start.Add(10*time.Minute), ev.ending(start.Add(10*time.Minute)).DueAt())
	assert.Equal(t, start.Add(time.Second), ev.ending(start.Add(10*time.Minute+time.Second)).WarnAt)
	over := ev.ending(end).At(end)
	assert.Equal(t, StatusExpired, over.Status)
	assert.Zero(t, over.WarnAt)
}

func TestTheStateMachineOfAccessRequests(t *testing.T) {
	allowed := map[string]bool{"pending approved": true, "pending denied": true, "pending cancelled": true, "pending expired": true,
		"approved denied": true, "approved cancelled": true, "approved expired": true}
	for _, from := range RequestStatuses() {
		for _, to := range RequestStatuses() {
			assert.Equal(t, allowed[string(from+" "+to)], from.CanTransitionTo(to), "%s → %s", from, to)
		}
	}
	r := AccessRequest{Status: RequestPending, ExpiresAt: end}
	assert.Equal(t, RequestPending, r.StatusAt(end.Add(-time.Microsecond)))
	assert.Equal(t, RequestExpired, r.StatusAt(end))
	assert.EqualValues(t, 1, r.At(end.Add(-time.Microsecond)).RemainingSeconds)
	assert.Zero(t, r.At(end).RemainingSeconds)
	assert.NotNil(t, r.At(end).Approvals)
	r.Status = RequestDenied
	assert.Equal(t, RequestDenied, r.StatusAt(end))
}
