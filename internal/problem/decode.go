package problem

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// maxRetryAfter is the longest wait that is believed; quotas end sooner.
const maxRetryAfter = 366 * 24 * time.Hour

// Decode is the way back: the error that a server answered with, or nil when
// the answer is no problem document, such as a proxy's error page. Text in the
// result is the other side's: escape it before it reaches a terminal.
func Decode(status int, header http.Header, body []byte) *breakglass.Error {
	p, ok := parse(header, body)
	if !ok {
		return nil
	}
	e := &breakglass.Error{
		Code: p.Code, Message: p.Detail, Temporary: temporary(status), Fields: p.Errors, EventID: p.EventID,
		ExpiresAt: p.ExpiresAt, Limit: p.Limit, Rule: p.Rule, Condition: p.Condition, Allowed: p.Allowed, MFA: p.MFA,
		AccessRequestID: p.AccessRequestID, Links: p.Links, RetryAfter: clampSeconds(p.RetryAfterSeconds),
	}
	if e.RetryAfter == 0 {
		e.RetryAfter = retryAfter(header, time.Now())
	}
	return e
}

func parse(header http.Header, body []byte) (Problem, bool) {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || media != ContentType {
		return Problem{}, false
	}
	var p Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return Problem{}, false
	}
	return p, true
}

// temporary says whether the same call may succeed later by itself.
func temporary(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads Retry-After in both of its forms (RFC 9110, section 10.2.3).
func retryAfter(header http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(header.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return clampSeconds(n)
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

func clampSeconds(n int64) time.Duration {
	return min(breakglass.Seconds(max(n, 0)), maxRetryAfter)
}
