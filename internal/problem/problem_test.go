package problem_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/problem"
)

func write(t *testing.T, e *breakglass.Error) (*http.Response, []byte) {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, problem.Write(w, problem.From(e, "req-12345678")))
	return w.Result(), w.Body.Bytes()
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	want := map[breakglass.Code]int{
		breakglass.CodeMalformed: 400, breakglass.CodeUnauthenticated: 401, breakglass.CodeForbidden: 403,
		breakglass.CodePolicyDenied: 403, breakglass.CodeProfileUnknown: 404, breakglass.CodeEventNotFound: 404,
		breakglass.CodeNotFound: 404, breakglass.CodeMethodNotAllowed: 405, breakglass.CodeAlreadyActive: 409,
		breakglass.CodeInvalidTransition: 409, breakglass.CodeTooLarge: 413, breakglass.CodeUnsupportedMediaType: 415,
		breakglass.CodeInvalidRequest: 422, breakglass.CodeIdempotencyMismatch: 422, breakglass.CodeRateLimited: 429,
		breakglass.CodeMFARequired: 403, breakglass.CodeMFAInvalid: 403, breakglass.CodeMFAEnrolled: 409, breakglass.CodeMFANotEnrolled: 404,
		breakglass.CodeRequestNotFound: 404, breakglass.CodeAlreadyRequested: 409, breakglass.CodeAccessDenied: 403,
		breakglass.CodeRequestDenied: 403, breakglass.CodeExtensionRefused: 403,
		breakglass.CodeCredentialsRefused: 502, breakglass.CodeUnavailable: 503, problem.CodeInternal: 500,
	}
	assert.Equal(t, want, problem.Codes())
	for code, status := range want {
		resp, body := write(t, &breakglass.Error{Code: code, Message: "words"})
		assert.Equal(t, status, resp.StatusCode, code)
		assert.Equal(t, problem.ContentType, resp.Header.Get("Content-Type"))
		var p problem.Problem
		require.NoError(t, json.Unmarshal(body, &p))
		assert.Equal(t, status, p.Status, "RFC 9457: status equals the real one")
		assert.Equal(t, code, p.Code)
		assert.NotEmpty(t, p.Title)
		assert.Equal(t, "req-12345678", p.RequestID)
	}
}

func TestCredentialsThatMayComeLaterAre503(t *testing.T) {
	resp, _ := write(t, &breakglass.Error{Code: breakglass.CodeCredentialsRefused, Temporary: true, RetryAfter: time.Second})
	assert.Equal(t, 503, resp.StatusCode)
	assert.Equal(t, "1", resp.Header.Get("Retry-After"))
}

func TestAnUnknownCodeIsADefect(t *testing.T) {
	status, _ := problem.Status(&breakglass.Error{Code: "no such code"})
	assert.Equal(t, 500, status)
}

func TestRetryAfterIsRoundedUpToWholeSeconds(t *testing.T) {
	for _, tc := range []struct {
		code   breakglass.Code
		after  time.Duration
		header string
	}{
		{breakglass.CodeRateLimited, 90*time.Second + time.Nanosecond, "91"},
		{breakglass.CodeRateLimited, 90 * time.Second, "90"},
		{breakglass.CodeRateLimited, time.Millisecond, "1"},
		{breakglass.CodeRateLimited, 0, "1"},
		{breakglass.CodeUnavailable, 1500 * time.Millisecond, "2"},
		{breakglass.CodeUnavailable, 0, ""},
		{breakglass.CodeUnavailable, -time.Hour, ""},
		{breakglass.CodeRateLimited, 1<<63 - 1, "9223372037"},
	} {
		resp, body := write(t, &breakglass.Error{Code: tc.code, RetryAfter: tc.after})
		assert.Equal(t, tc.header, resp.Header.Get("Retry-After"), tc.after)
		var p map[string]any
		require.NoError(t, json.Unmarshal(body, &p))
		_, inBody := p["retry_after_seconds"]
		assert.Equal(t, tc.header != "", inBody)
	}
}

func TestTheCauseIsNeverShown(t *testing.T) {
	for code := range problem.Codes() {
		_, body := write(t, &breakglass.Error{Code: code, Message: "words", Cause: errors.New("secret cause")})
		assert.NotContains(t, string(body), "secret cause", code)
	}
}

func TestDecodeIsTheWayBack(t *testing.T) {
	at := time.Date(2026, 3, 1, 2, 4, 5, 123456000, time.UTC)
	for _, want := range []*breakglass.Error{
		{Code: breakglass.CodeInvalidRequest, Message: "m", Fields: []breakglass.FieldError{{Field: "a", Message: "b"}}},
		{Code: breakglass.CodeAlreadyActive, Message: "m", EventID: "0123456789abcdef", ExpiresAt: at},
		{Code: breakglass.CodeRateLimited, Message: "m", Limit: breakglass.LimitCooldown, Rule: "r", RetryAfter: 90 * time.Second, Temporary: true},
		{Code: breakglass.CodePolicyDenied, Message: "m", Rule: "r", Condition: breakglass.ConditionTime,
			Allowed: &breakglass.Allowed{Window: "w", NextWindow: at, Profiles: []string{"prod"}, ReasonCodes: []breakglass.ReasonCode{"incident"}}},
		{Code: breakglass.CodeAlreadyRequested, Message: "m", AccessRequestID: "0123456789abcdef"},
		{Code: breakglass.CodeAccessDenied, Message: "m", Links: []breakglass.LinkAnswer{
			{Link: breakglass.LinkPolicy, Outcome: breakglass.OutcomeDenied, Rule: "r", Message: "m", Next: "n"},
			{Link: breakglass.LinkRequest, Outcome: breakglass.OutcomePending, RequestID: "0123456789abcdef", Message: "m"},
			{Link: breakglass.LinkBreakglass, Outcome: breakglass.OutcomeExhausted, EventID: "0123456789abcdef", Message: "m"}}},
		{Code: breakglass.CodeCredentialsRefused, Message: "m"},
		{Code: breakglass.CodeCredentialsRefused, Message: "m", Temporary: true, RetryAfter: time.Second},
		{Code: breakglass.CodeUnavailable, Message: "m", Temporary: true},
	} {
		resp, body := write(t, want)
		assert.Equal(t, want, problem.Decode(resp.StatusCode, resp.Header, body))
	}
}

func TestDecodeOfAnythingElseIsNil(t *testing.T) {
	for name, tc := range map[string]struct{ contentType, body string }{
		"a proxy's page":     {"text/html", "<h1>502</h1>"},
		"no content type":    {"", `{"code":"unavailable"}`},
		"plain JSON":         {"application/json", `{"code":"unavailable"}`},
		"broken JSON":        {problem.ContentType, `{"code":`},
		"no code":            {problem.ContentType, `{"title":"x"}`},
		"not an object":      {problem.ContentType, `[]`},
		"wrong type of code": {problem.ContentType, `{"code":7}`},
	} {
		assert.Nil(t, problem.Decode(502, http.Header{"Content-Type": {tc.contentType}}, []byte(tc.body)), name)
	}
}

func TestDecodeBelievesRetryAfterInBothForms(t *testing.T) {
	decode := func(v string) time.Duration {
		h := http.Header{"Content-Type": {problem.ContentType + "; charset=utf-8"}, "Retry-After": {v}}
		return problem.Decode(503, h, []byte(`{"code":"unavailable"}`)).RetryAfter
	}
	assert.Equal(t, 7*time.Second, decode("7"))
	assert.InDelta(t, time.Hour, decode(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), float64(2*time.Second))
	assert.Zero(t, decode("-5"))
	assert.Zero(t, decode(time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)))
	assert.Zero(t, decode("soon"))
	assert.Equal(t, 366*24*time.Hour, decode("9223372036854775807"))
}

func FuzzDecode(f *testing.F) {
	f.Add(503, "application/problem+json", "7", []byte(`{"code":"unavailable","retry_after_seconds":1e300}`))
	f.Add(429, "application/problem+json", "Mon, 02 Jan 2006 15:04:05 GMT", []byte(`{"code":"rate_limited","retry_after_seconds":-1}`))
	f.Fuzz(func(t *testing.T, status int, contentType, retry string, body []byte) {
		e := problem.Decode(status, http.Header{"Content-Type": {contentType}, "Retry-After": {retry}}, body)
		if e == nil {
			return
		}
		if e.Code == "" || e.RetryAfter < 0 || e.RetryAfter > 366*24*time.Hour {
			t.Fatalf("%+v", e)
		}
	})
}
