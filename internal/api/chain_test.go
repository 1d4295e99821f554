package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// asking is the body of an access request.
func asking(profile string) string {
	return `{"profile":"` + profile + `","justification":"Rotate the certificate of the load balancer","ticket":"CHG-2201"}`
}

// extending is the body of an extension.
func extending() string { return `{"justification":"Replica is still catching up, INC-4711"}` }

// issued is an answer with credentials.
type issued struct {
	AccessKeyID     string          `json:"access_key_id"`
	Expiration      time.Time       `json:"expiration"`
	Profile         string          `json:"profile"`
	RoleSessionName string          `json:"role_session_name"`
	GrantedBy       breakglass.Link `json:"granted_by"`
	Rule            string          `json:"rule"`
	GrantedUntil    time.Time       `json:"granted_until"`
	EventID         string          `json:"event_id"`
	RequestID       string          `json:"request_id"`
}

// credentialsFor asks the chain for credentials.
func (s *server) credentialsFor(t testing.TB, as, profile string) answer {
	t.Helper()
	return s.call(t, post(as, "/v1/credentials", `{"profile":"`+profile+`"}`))
}

// granted asks the chain for credentials, and gets some.
func (s *server) granted(t testing.TB, as, profile string) (out issued) {
	t.Helper()
	s.credentialsFor(t, as, profile).into(200, &out)
	return out
}

// outcomes are what the links said in a refusal.
func outcomes(t testing.TB, a answer) []breakglass.Outcome {
	t.Helper()
	require.Equal(t, 403, a.status, "%s", a.body)
	p := a.problem()
	require.Equal(t, breakglass.CodeAccessDenied, p.Code)
	var out []breakglass.Outcome
	for i, link := range p.Links {
		require.Equal(t, breakglass.Links()[i], link.Link)
		assert.NotEmpty(t, link.Message)
		out = append(out, link.Outcome)
	}
	return out
}

// ask asks for access and expects that the request is taken.
func (s *server) ask(t testing.TB, as, profile string) (out breakglass.RequestView) {
	t.Helper()
	s.call(t, post(as, "/v1/requests", asking(profile))).into(201, &out)
	return out
}

func (s *server) decide(t testing.TB, as, id, what, body string) answer {
	t.Helper()
	return s.call(t, post(as, "/v1/requests/"+id+"/"+what, body))
}

func TestTheChainFromBeginningToEnd(t *testing.T) {
	s := start(t, options{})
	assert.Equal(t, []breakglass.Outcome{"absent", "absent", "absent"}, outcomes(t, s.credentialsFor(t, alice, "prod")))

	a := s.call(t, post(alice, "/v1/requests", asking("prod")))
	var asked breakglass.RequestView
	a.into(201, &asked)
	assert.Equal(t, "/v1/requests/"+asked.ID, a.header.Get("Location"))
	assert.Equal(t, breakglass.RequestPending, asked.Status)
	assert.Equal(t, a.header.Get("X-Request-Id"), asked.CorrelationID)
	refused := s.credentialsFor(t, alice, "prod")
	assert.Equal(t, []breakglass.Outcome{"absent", "pending", "absent"}, outcomes(t, refused))
	assert.Equal(t, asked.ID, refused.problem().Links[1].RequestID)

	var approved breakglass.RequestView
	s.decide(t, sam, asked.ID, "approve", `{"comment":"on the calendar"}`).into(200, &approved)
	assert.Equal(t, breakglass.RequestApproved, approved.Status)
	assert.Equal(t, []breakglass.Approval{{By: sam, At: approved.ApprovedAt, Comment: "on the calendar"}}, approved.Approvals)
	byRequest := s.granted(t, alice, "prod")
	assert.Equal(t, breakglass.LinkRequest, byRequest.GrantedBy)
	assert.Equal(t, asked.ID, byRequest.RequestID)
	assert.Empty(t, byRequest.EventID)
	assert.Equal(t, approved.ApprovalRule, byRequest.Rule)
	assert.Equal(t, approved.ExpiresAt, byRequest.GrantedUntil)

	ev := s.invoke(t, alice, "prod")
	assert.Equal(t, breakglass.LinkRequest, s.granted(t, alice, "prod").GrantedBy, "the mildest means that applies")
	s.clock.advance(time.Hour)
	assert.Equal(t, []breakglass.Outcome{"absent", "expired", "expired"}, outcomes(t, s.credentialsFor(t, alice, "prod")))

	ev = s.invoke(t, alice, "prod")
	byEvent := s.granted(t, alice, "prod")
	assert.Equal(t, breakglass.LinkBreakglass, byEvent.GrantedBy)
	assert.Equal(t, ev.ID, byEvent.EventID)
	assert.Empty(t, byEvent.RequestID)
	assert.Equal(t, "engineers", byEvent.Rule)
	assert.Equal(t, ev.ExpiresAt, byEvent.GrantedUntil)
	var direct issued
	s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/credentials", "")).into(200, &direct)
	assert.Equal(t, byEvent.RoleSessionName, direct.RoleSessionName)
	assert.Equal(t, breakglass.LinkBreakglass, direct.GrantedBy)
	assert.Equal(t, ev.ID, direct.EventID)

	var longer breakglass.View
	s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/extend", `{"justification":"Replica is still catching up, INC-4711","duration_seconds":1800}`)).into(200, &longer)
	assert.Equal(t, ev.ID, longer.ID)
	assert.Equal(t, ev.ExpiresAt.Add(30*time.Minute), longer.ExpiresAt)
	assert.Equal(t, 1, longer.Extensions)
	assert.Equal(t, 2, longer.Sessions)
	assert.Equal(t, longer.ExpiresAt.Add(-10*time.Minute), longer.WarnAt)
	p := s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/extend", extending())).problem()
	assert.Equal(t, breakglass.CodeExtensionRefused, p.Code)
	assert.Equal(t, ev.ID, p.EventID)
	assert.Equal(t, longer.ExpiresAt, s.granted(t, alice, "prod").GrantedUntil)

	s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/close", `{"reason":"done"}`)).into(200, &longer)
	assert.Equal(t, []breakglass.Outcome{"absent", "expired", "withdrawn"}, outcomes(t, s.credentialsFor(t, alice, "prod")))

	for name, ref := range map[string]string{"event": ev.ID, "request": asked.ID} {
		var story breakglass.Story
		s.call(t, request{method: "GET", path: "/v1/why/" + ref, as: alice}).into(200, &story)
		assert.Equal(t, name, story.Kind)
		assert.Equal(t, ref, story.ID)
	}
	var story breakglass.Story
	s.call(t, request{method: "GET", path: "/v1/why/" + byRequest.RoleSessionName, as: sam}).into(200, &story)
	assert.Equal(t, asked.ID, story.ID)
	assert.Equal(t, asked.ID, story.Request.ID)
	assert.Nil(t, story.Event)
	var types []breakglass.EntryType
	for _, e := range story.Entries {
		types = append(types, e.Event)
	}
	assert.Subset(t, types, []breakglass.EntryType{breakglass.EntryRequestCreated, breakglass.EntryRequestApproved, breakglass.EntryCredentialsIssued})
}

func TestStandingAccessComesFirst(t *testing.T) {
	s := start(t, options{})
	got := s.granted(t, alice, "standing")
	assert.Equal(t, breakglass.LinkPolicy, got.GrantedBy)
	assert.Equal(t, "standing", got.Rule)
	assert.Empty(t, got.EventID+got.RequestID)
	assert.True(t, got.GrantedUntil.IsZero(), "it has no end")
	assert.NotContains(t, string(s.credentialsFor(t, alice, "standing").body), "granted_until")
	var story breakglass.Story
	s.call(t, request{method: "GET", path: "/v1/why/" + got.RoleSessionName, as: alice}).into(200, &story)
	assert.Equal(t, breakglass.StorySession, story.Kind)
	require.Len(t, story.Entries, 1)
	assert.Equal(t, got.AccessKeyID, story.Entries[0].Detail[breakglass.DetailAccessKeyID])
	assert.Equal(t, 404, s.call(t, request{method: "GET", path: "/v1/why/" + got.RoleSessionName, as: bob}).status, "another's session")
	assert.Equal(t, 200, s.call(t, request{method: "GET", path: "/v1/why/" + got.RoleSessionName, as: auditor}).status)
}

// The extension of an event asks its rule as an invocation does.
func TestAnExtensionIsRefusedAsAnInvocationWouldBe(t *testing.T) {
	s := startStrict(t)
	show := s.enrol(t, alice, "")
	var ev breakglass.View
	s.call(t, post(alice, "/v1/breakglass", strictBody(show()))).into(201, &ev)
	s.clock.advance(time.Minute)
	extend := func(totp string) answer {
		return s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/extend", `{"justification":"Replica is still catching up, INC-4711"`+totp+`}`))
	}
	assert.Equal(t, breakglass.CodeMFARequired, extend("").problem().Code)
	assert.Equal(t, breakglass.CodeMFAInvalid, extend(`,"totp":"000000"`).problem().Code)
	assert.Equal(t, 200, extend(`,"totp":"`+show()+`"`).status)

	// A rule for working hours alone, asked at night.
	s = start(t, options{profiles: []string{"office"}, policy: `
version: "1"
rules:
  - {name: office, profiles: [office], users: ["*"], max_duration: 4h, max_extensions: 3, time: {hours: {start: "00:00", end: "03:00"}, timezone: UTC}}
`})
	ev = s.invoke(t, alice, "office", "duration_seconds=7200")
	s.clock.advance(time.Hour)
	p := s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/extend", extending())).problem()
	assert.Equal(t, breakglass.CodePolicyDenied, p.Code)
	assert.Equal(t, breakglass.ConditionTime, p.Condition)
}

// Each of these is an answer of the chain that rests on something else going wrong.
func TestWhatTheChainCannotGive(t *testing.T) {
	dir := t.TempDir()
	s := start(t, options{dir: dir})
	assert.Equal(t, breakglass.CodeProfileUnknown, s.credentialsFor(t, alice, "nowhere").problem().Code)
	assert.Equal(t, breakglass.CodeProfileUnknown, s.call(t, post(alice, "/v1/requests", asking("nowhere"))).problem().Code)
	orphan := s.invoke(t, alice, "gone")

	s.invoke(t, alice, "prod")
	s.issuer.fail.Store(&breakglass.Error{Code: breakglass.CodeCredentialsRefused, Message: "AWS says no."})
	assert.Equal(t, 502, s.credentialsFor(t, alice, "prod").status)
	s.issuer.fail.Store(&breakglass.Error{Code: breakglass.CodeCredentialsRefused, Message: "AWS is busy.", Temporary: true})
	assert.Equal(t, 503, s.credentialsFor(t, alice, "prod").status)
	s.issuer.fail.Store(nil)

	for range 10 {
		s.credentialsFor(t, alice, "prod")
	}
	a := s.credentialsFor(t, alice, "prod")
	assert.Equal(t, 429, a.status)
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	for range 10 {
		s.call(t, post(bob, "/v1/requests", asking("prod")))
	}
	assert.Equal(t, 429, s.call(t, post(bob, "/v1/requests", asking("prod"))).status)

	require.NoError(t, s.store.Close())
	s = start(t, options{profiles: []string{"prod"}, dir: dir})
	assert.Equal(t, breakglass.CodeProfileUnknown, s.call(t, post(alice, "/v1/breakglass/"+orphan.ID+"/extend", extending())).problem().Code)
}

func TestARuleBoundsHowOftenCredentialsRenew(t *testing.T) {
	s := start(t, options{profiles: []string{"prod"}, policy: `
version: "1"
rules:
  - {name: once-more, profiles: [prod], users: ["*"], max_renewals: 1, max_session: 15m}
`})
	ev := s.invoke(t, alice, "prod")
	for range 2 {
		got := s.granted(t, alice, "prod")
		assert.WithinDuration(t, s.clock.Now().Add(15*time.Minute), got.Expiration, time.Second)
		assert.Equal(t, ev.ExpiresAt, got.GrantedUntil)
	}
	assert.Equal(t, []breakglass.Outcome{"absent", "absent", "exhausted"}, outcomes(t, s.credentialsFor(t, alice, "prod")))
	p := s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/credentials", "")).problem()
	assert.Equal(t, breakglass.CodePolicyDenied, p.Code)
	assert.Equal(t, breakglass.ConditionMaxRenewals, p.Condition)
}

// meanwhile happens once, while credentials are made.
func (s *server) meanwhile(happens func()) { s.issuer.meanwhile.Store(&happens) }

// Credentials whose grant ends while they are made don't leave.
func TestCredentialsWhoseGrantEndsMeanwhileAreWithheld(t *testing.T) {
	s := start(t, options{})
	ev := s.invoke(t, alice, "prod")
	s.meanwhile(func() {
		s.call(t, post(alice, "/v1/breakglass/"+ev.ID+"/close", `{"reason":"done"}`))
	})
	a := s.credentialsFor(t, alice, "prod")
	assert.Equal(t, breakglass.CodeInvalidTransition, a.problem().Code)
	assert.NotContains(t, string(a.body), "secret_access_key")

	asked := s.ask(t, alice, "prod")
	assert.Equal(t, 200, s.decide(t, sam, asked.ID, "approve", "").status)
	s.meanwhile(func() {
		assert.Equal(t, 200, s.decide(t, sam, asked.ID, "deny", `{"reason":"freeze"}`).status)
	})
	a = s.credentialsFor(t, alice, "prod")
	assert.Equal(t, breakglass.CodeInvalidTransition, a.problem().Code)
	assert.Equal(t, asked.ID, a.problem().AccessRequestID)

	s.meanwhile(func() { s.standing(t, noAccess) })
	a = s.credentialsFor(t, alice, "standing")
	assert.Equal(t, breakglass.CodePolicyDenied, a.problem().Code)
}
