package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/mfa/mfatest"
)

const strictPolicy = `
version: "1"
rules:
  - {name: strict, profiles: [strict], users: ["*"], max_extensions: 1, mfa: {required: true, max_age: 15m}}
  - {name: open, users: ["*"]}
`

func startStrict(t testing.TB) *server {
	return start(t, options{policy: strictPolicy, profiles: []string{"strict", "prod"}})
}

func post(as, path, body string) request {
	return request{method: "POST", path: path, as: as, body: body}
}

func totp(code string) string { return `{"totp":"` + code + `"}` }

// enrol returns what the person's authenticator shows at a time.
func (s *server) enrol(t testing.TB, as, invitation string) func() string {
	t.Helper()
	var out struct{ Secret, URI string }
	s.call(t, post(as, "/v1/mfa/enrol", invitation)).into(200, &out)
	assert.Contains(t, out.URI, out.Secret)
	show := func() string {
		code, err := mfatest.CodeOf(out.Secret, s.clock.Now())
		require.NoError(t, err)
		return code
	}
	var status breakglass.MFAStatus
	s.call(t, request{method: "GET", path: "/v1/mfa", as: as}).into(200, &status)
	assert.True(t, status.Pending)
	s.call(t, post(as, "/v1/mfa/confirm", totp(show()))).into(200, &status)
	assert.True(t, status.Enrolled)
	assert.False(t, status.Pending)
	s.clock.advance(time.Minute)
	return show
}

func strictBody(code string) string {
	return `{"profile":"strict","reason_code":"incident","justification":"Primary DB down, failover stuck","totp":"` + code + `"}`
}

func TestTheSecondFactorOverHTTP(t *testing.T) {
	s := startStrict(t)
	a := s.call(t, post(alice, "/v1/breakglass", strings.ReplaceAll(strictBody(""), `,"totp":""`, "")))
	p := a.problem()
	assert.Equal(t, breakglass.CodeMFARequired, p.Code)
	assert.Equal(t, &breakglass.MFAWanted{Accepts: []string{"totp"}, MaxAgeSeconds: 900}, p.MFA)
	assert.Equal(t, "strict", p.Rule)
	assert.Equal(t, breakglass.CodeMFANotEnrolled, s.call(t, post(alice, "/v1/mfa/confirm", totp("123456"))).problem().Code)
	assert.Equal(t, breakglass.CodeMFANotEnrolled, s.call(t, post(alice, "/v1/mfa/remove", totp("123456"))).problem().Code)

	show := s.enrol(t, alice, "")
	assert.Equal(t, breakglass.CodeMFAEnrolled, s.call(t, post(alice, "/v1/mfa/enrol", "")).problem().Code)
	assert.Equal(t, breakglass.CodeMFAEnrolled, s.call(t, post(alice, "/v1/mfa/confirm", totp(show()))).problem().Code)
	var dry struct{ MFA string }
	s.call(t, post(alice, "/v1/breakglass?dry_run=true", strictBody("000000"))).into(200, &dry)
	assert.Equal(t, "totp", dry.MFA)
	code := show()
	assert.Equal(t, 201, s.call(t, post(alice, "/v1/breakglass", strictBody(code))).status)
	a = s.call(t, post(alice, "/v1/breakglass", strictBody(code)))
	assert.Equal(t, 403, a.status)
	assert.Equal(t, breakglass.CodeMFAInvalid, a.problem().Code)
	s.clock.advance(time.Minute)
	var status breakglass.MFAStatus
	s.call(t, post(alice, "/v1/mfa/remove", totp(show()))).into(200, &status)
	assert.Equal(t, breakglass.MFAStatus{}, status)
	assert.NotContains(t, s.log.String(), code+`"`, "codes are in no log")
}

func TestWrongCodesOverHTTP(t *testing.T) {
	s := startStrict(t)
	show := s.enrol(t, alice, "")
	wrong := func() string { // differs from all three that are good: their first digits may not
		for _, c := range []string{"000000", "111111", "222222", "333333"} {
			if c != show() {
				return c
			}
		}
		return ""
	}
	for range breakglass.MaxWrongCodes {
		assert.Equal(t, breakglass.CodeMFAInvalid, s.call(t, post(alice, "/v1/mfa/remove", totp(wrong()))).problem().Code)
	}
	for _, r := range []request{post(alice, "/v1/mfa/remove", totp(show())), post(alice, "/v1/breakglass", strictBody(show()))} {
		a := s.call(t, r)
		assert.Equal(t, 429, a.status)
		assert.Equal(t, breakglass.LimitMFAAttempts, a.problem().Limit)
		assert.Equal(t, "300", a.header.Get("Retry-After"))
	}
	var status breakglass.MFAStatus
	s.call(t, request{method: "GET", path: "/v1/mfa", as: alice}).into(200, &status)
	assert.False(t, status.LockedUntil.IsZero())

	// The same for one that isn't confirmed, and for enrolments in a loop.
	for range 5 {
		assert.Equal(t, 200, s.call(t, post(bob, "/v1/mfa/enrol", "{}")).status)
	}
	a := s.call(t, post(bob, "/v1/mfa/enrol", ""))
	assert.Equal(t, 429, a.status)
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	for range breakglass.MaxWrongCodes {
		assert.Equal(t, breakglass.CodeMFAInvalid, s.call(t, post(bob, "/v1/mfa/confirm", totp("000000"))).problem().Code)
	}
	assert.Equal(t, 429, s.call(t, post(bob, "/v1/mfa/confirm", totp("000000"))).status)
}

func TestAdminsInviteAndReset(t *testing.T) {
	s := start(t, options{invited: true})
	var status breakglass.MFAStatus
	s.call(t, request{method: "GET", path: "/v1/mfa", as: alice}).into(200, &status)
	assert.True(t, status.InvitationRequired)
	assert.Equal(t, breakglass.CodeForbidden, s.call(t, post(alice, "/v1/mfa/enrol", "")).problem().Code)
	carol := `{"name":"` + alice + `"}`
	for _, as := range []string{alice, bob, sam, auditor, bot} {
		for _, path := range []string{"/v1/mfa/invite", "/v1/mfa/reset"} {
			a := s.call(t, post(as, path, carol))
			assert.Equal(t, 403, a.status, "%s %s", as, path)
			assert.Equal(t, breakglass.CodeForbidden, a.problem().Code)
		}
	}
	var invitation breakglass.Invitation
	s.call(t, post(ops, "/v1/mfa/invite", carol)).into(200, &invitation)
	_ = s.enrol(t, alice, `{"invitation":"`+invitation.Code+`"}`)
	assert.Equal(t, breakglass.CodeMFAEnrolled, s.call(t, post(ops, "/v1/mfa/invite", carol)).problem().Code)
	assert.Equal(t, 200, s.call(t, post(ops, "/v1/mfa/reset", carol)).status)
	assert.Equal(t, breakglass.CodeMFANotEnrolled, s.call(t, post(ops, "/v1/mfa/reset", carol)).problem().Code)
	assert.NotContains(t, s.log.String(), invitation.Code)
	for _, e := range s.entries(t) {
		for _, v := range e.Detail {
			assert.NotContains(t, v, invitation.Code)
		}
	}
}

func TestBadRequestsAboutSecondFactors(t *testing.T) {
	s := startStrict(t)
	for path, body := range map[string]string{"enrol": `{"invitation":"secret-4711235813"}`, "confirm": totp("secret-4711235813"), "remove": totp("secret-4711235813"),
		"reset": `{"name":"\u0007secret-4711235813"}`, "invite": `{"name":"\u0007secret-4711235813"}`} {
		path = "/v1/mfa/" + path
		for _, bad := range []string{body, `{"color":"red"}`, strings.ReplaceAll(body, `"secret-4711235813"`, "4711235813")} {
			a := s.call(t, post(ops, path, bad))
			assert.Equal(t, 422, a.status, "%s %s", path, bad)
			assert.NotContains(t, string(a.body), "4711235813", "what was sent isn't repeated")
		}
		assert.Equal(t, 422, s.call(t, post(ops, path+"?x=1", body)).status)
		assert.Equal(t, 400, s.call(t, post(ops, path, "{")).status)
		assert.Equal(t, 413, s.call(t, post(ops, path, `{"x":"`+strings.Repeat("x", 70000)+`"}`)).status)
		in := post(ops, path, body)
		in.contentType = "text/plain"
		assert.Equal(t, 415, s.call(t, in).status)
		in = post(nobody, path, body)
		assert.Equal(t, 401, s.call(t, in).status)
	}
	assert.Equal(t, 422, s.call(t, request{method: "GET", path: "/v1/mfa?x=1", as: alice}).status)
	for _, code := range []string{"", "12345", "1234567", "12345a", "１２３４５６", " 12345"} {
		a := s.call(t, post(alice, "/v1/breakglass", strictBody(code)))
		assert.Equal(t, 422, a.status, "%q", code)
		assert.Equal(t, []breakglass.FieldError{{Field: "totp", Message: "must be 6 digits"}}, a.problem().Errors)
	}
	assert.NotContains(t, s.log.String(), "4711235813")
}
