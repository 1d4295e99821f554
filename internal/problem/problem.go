// Package problem turns errors into problem documents (RFC 9457) and back: one
// table serves the server and the client.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"breakglass/internal/breakglass"
)

// ContentType is the media type of a problem document.
const ContentType = "application/problem+json"

// CodeInternal is the code of a defect of the server (500). No input may cause it.
const CodeInternal breakglass.Code = "internal"

// Problem is a problem document. Type is always about:blank: Code is what
// programs branch on, Title and Detail are for people.
type Problem struct {
	Type      string          `json:"type"`
	Title     string          `json:"title"`
	Status    int             `json:"status"`
	Detail    string          `json:"detail"`
	Code      breakglass.Code `json:"code"`
	RequestID string          `json:"request_id"`

	Errors    []breakglass.FieldError `json:"errors,omitempty"`
	EventID   string                  `json:"event_id,omitempty"`
	ExpiresAt time.Time               `json:"expires_at,omitzero"`
	Limit     breakglass.Limit        `json:"limit,omitempty"`
	// RetryAfterSeconds is the Retry-After header: whole seconds, rounded up.
	RetryAfterSeconds int64               `json:"retry_after_seconds,omitempty"`
	Rule              string              `json:"rule,omitempty"`
	Condition         string              `json:"condition,omitempty"`
	Allowed           *breakglass.Allowed `json:"allowed,omitempty"`

	MFA *breakglass.MFAWanted `json:"mfa,omitempty"`

	AccessRequestID string                  `json:"access_request_id,omitempty"`
	Links           []breakglass.LinkAnswer `json:"links,omitempty"`
}

// From describes an error to a caller. The cause stays out of it.
func From(e *breakglass.Error, requestID string) Problem {
	status, title := Status(e)
	return Problem{
		Type: "about:blank", Title: title, Status: status, Detail: e.Message, Code: e.Code, RequestID: requestID,
		Errors: e.Fields, EventID: e.EventID, ExpiresAt: e.ExpiresAt, Limit: e.Limit,
		RetryAfterSeconds: retryAfterSeconds(e), Rule: e.Rule, Condition: e.Condition, Allowed: e.Allowed, MFA: e.MFA,
		AccessRequestID: e.AccessRequestID, Links: e.Links,
	}
}

// retryAfterSeconds rounds up: who waits that long must not be early. A rate
// limit always says when.
func retryAfterSeconds(e *breakglass.Error) int64 {
	seconds := int64(e.RetryAfter / time.Second)
	if e.RetryAfter%time.Second > 0 {
		seconds++
	}
	if e.Code == breakglass.CodeRateLimited {
		seconds = max(seconds, 1)
	}
	return max(seconds, 0)
}

// Write sends the document with its status and, where it is known, Retry-After.
func Write(w http.ResponseWriter, p Problem) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if p.RetryAfterSeconds > 0 {
		h.Set("Retry-After", strconv.FormatInt(p.RetryAfterSeconds, 10))
	}
	w.WriteHeader(p.Status)
	_, err = w.Write(body)
	return err
}
