package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// Invocation is the body of an invocation.
type Invocation struct {
	Profile         string                `json:"profile"`
	ReasonCode      breakglass.ReasonCode `json:"reason_code"`
	Justification   string                `json:"justification"`
	DurationSeconds int64                 `json:"duration_seconds,omitempty"`
	Ticket          string                `json:"ticket,omitempty"`
	Invoker         string                `json:"invoker,omitempty"`
	// TOTP is a code of this minute, and secret.
	TOTP string `json:"totp,omitempty"`
}

// DryRun is what an invocation would do.
type DryRun struct {
	DryRun          bool                  `json:"dry_run"`
	Profile         string                `json:"profile"`
	Invoker         string                `json:"invoker"`
	ReasonCode      breakglass.ReasonCode `json:"reason_code"`
	DurationSeconds int64                 `json:"duration_seconds"`
	ExpiresAt       time.Time             `json:"expires_at"`
	PolicyRule      string                `json:"policy_rule"`
	Escalated       bool                  `json:"escalated"`
	MFA             string                `json:"mfa,omitempty"`
}

// Credentials are the answer of the credentials call. They are secret.
type Credentials struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token"`
	Expiration      time.Time `json:"expiration"`
	Profile         string    `json:"profile"`
	Region          string    `json:"region"`
	RoleARN         string    `json:"role_arn"`
	RoleSessionName string    `json:"role_session_name"`
	// GrantedBy is the link of the chain that gives access, Rule the rule that
	// decided, and GrantedUntil when that is over; zero where it has no end.
	GrantedBy    breakglass.Link `json:"granted_by"`
	Rule         string          `json:"rule"`
	GrantedUntil time.Time       `json:"granted_until,omitzero"`
	EventID      string          `json:"event_id,omitempty"`
	RequestID    string          `json:"request_id,omitempty"` // of the access request
	Issuer       string          `json:"issuer"`
}

// String keeps the secrets out of errors and logs.
func (c Credentials) String() string { return "credentials " + c.AccessKeyID }

// GoString hides the secrets from %#v.
func (c Credentials) GoString() string { return c.String() }

// ProfileOffer is a profile that the caller may invoke now.
type ProfileOffer struct {
	Profile                string                  `json:"profile"`
	Region                 string                  `json:"region"`
	Rule                   string                  `json:"rule"`
	MaxDurationSeconds     int64                   `json:"max_duration_seconds"`
	DefaultDurationSeconds int64                   `json:"default_duration_seconds"`
	ReasonCodes            []breakglass.ReasonCode `json:"reason_codes"`
	TicketRequired         bool                    `json:"ticket_required"`
	MFARequired            bool                    `json:"mfa_required"`
}

// Whoami is who the server takes the caller for.
type Whoami struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	Roles  []string `json:"roles"`
	// AuthenticatedBy is the way in; older servers don't say it.
	AuthenticatedBy string `json:"authenticated_by,omitempty"`
}

// Version is what the server is.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Invoked is the event that an invocation made.
type Invoked struct {
	breakglass.View
	// Replayed says that an earlier call with the same key made the event.
	Replayed bool
}

// Invoke breaks the glass. The call is repeated when its answer is lost, which
// is safe because the key ties the repetitions together.
func (c *Client) Invoke(ctx context.Context, in Invocation, idempotencyKey string) (Invoked, error) {
	var out Invoked
	cl := call{method: http.MethodPost, path: "/v1/breakglass", body: in, limit: maxObjectBytes}
	if idempotencyKey != "" {
		cl.safe, cl.header = true, http.Header{"Idempotency-Key": {idempotencyKey}}
	}
	header, err := c.do(ctx, cl, &out.View)
	if err != nil {
		return Invoked{}, err
	}
	out.Replayed = header.Get("Idempotency-Replayed") == "true"
	return out, c.checkEvent(out.View)
}

// DryRun asks what an invocation would do. Nothing changes.
func (c *Client) DryRun(ctx context.Context, in Invocation) (DryRun, error) {
	var out DryRun
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/breakglass", query: url.Values{"dry_run": {"true"}}, body: in, safe: true, reads: true, limit: maxObjectBytes,
	}, &out)
	return out, err
}

// checkEvent refuses an answer that parses but is no event: acting on an empty
// one would be worse than failing.
func (c *Client) checkEvent(v breakglass.View) error {
	if !breakglass.IsID(v.ID) || v.ExpiresAt.IsZero() || !v.Status.IsValid() {
		return &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but not an event"}
	}
	return nil
}

// Event returns one event.
func (c *Client) Event(ctx context.Context, id string) (breakglass.View, error) {
	var out breakglass.View
	if _, err := c.do(ctx, get("/v1/breakglass/"+url.PathEscape(id), nil, maxObjectBytes), &out); err != nil {
		return breakglass.View{}, err
	}
	return out, c.checkEvent(out)
}

// EventFilter selects events. Zero fields don't filter.
type EventFilter struct {
	Invoker, Status, Profile, Reason string
	Since, Until                     time.Time
	Limit                            int
	Cursor                           string
}

// Events returns a page of events, newest first, and the cursor of the next
// page; empty at the end.
func (c *Client) Events(ctx context.Context, f EventFilter) ([]breakglass.View, string, error) {
	q := query{}
	q.text("invoker", f.Invoker).text("status", f.Status).text("profile", f.Profile).text("reason_code", f.Reason)
	q.time("since", f.Since).time("until", f.Until).number("limit", int64(f.Limit)).text("cursor", f.Cursor)
	out := newPage[breakglass.View](f.Limit)
	if _, err := c.do(ctx, get("/v1/breakglass", url.Values(q), out.bytes()), &out); err != nil {
		return nil, "", err
	}
	for _, v := range out.Items {
		if err := c.checkEvent(v); err != nil {
			return nil, "", err
		}
	}
	return out.Items, out.NextCursor, nil
}

// Extension is the body of an extension.
type Extension struct {
	Justification   string `json:"justification"`
	DurationSeconds int64  `json:"duration_seconds,omitempty"`
	// TOTP is a code of this minute, and secret.
	TOTP string `json:"totp,omitempty"`
}

// Extend moves the end of an event. It isn't repeated by itself: a second
// extension would be another one.
func (c *Client) Extend(ctx context.Context, id string, in Extension) (breakglass.View, error) {
	var out breakglass.View
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/breakglass/" + url.PathEscape(id) + "/extend", limit: maxObjectBytes, body: in,
	}, &out)
	if err != nil {
		return breakglass.View{}, err
	}
	return out, c.checkEvent(out)
}

// Close ends an event early.
func (c *Client) Close(ctx context.Context, id, reason string) (breakglass.View, error) {
	var out breakglass.View
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/breakglass/" + url.PathEscape(id) + "/close", limit: maxObjectBytes,
		body: map[string]string{"reason": reason},
	}, &out)
	if err != nil {
		return breakglass.View{}, err
	}
	return out, c.checkEvent(out)
}

// Credentials fetches credentials for an active event. Each call makes new ones
// and is on record, so it isn't repeated by itself.
func (c *Client) Credentials(ctx context.Context, id string) (Credentials, error) {
	var out Credentials
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/breakglass/" + url.PathEscape(id) + "/credentials", limit: maxObjectBytes,
	}, &out)
	if err != nil {
		return Credentials{}, err
	}
	if !out.usable() || out.EventID != id {
		return Credentials{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but not credentials for this event"}
	}
	return out, nil
}

// CredentialsFor fetches credentials for a profile by whichever link of the chain
// gives access. Like Credentials it isn't repeated by itself.
func (c *Client) CredentialsFor(ctx context.Context, profile string) (Credentials, error) {
	var out Credentials
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/credentials", limit: maxObjectBytes, body: map[string]string{"profile": profile}}, &out)
	if err != nil {
		return Credentials{}, err
	}
	if !out.usable() || out.Profile != profile || !out.saysWhy() {
		return Credentials{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but not credentials for this profile"}
	}
	return out, nil
}

// usable reports whether these are credentials, and hold nothing else.
func (c Credentials) usable() bool {
	return isPrintable(c.AccessKeyID, c.SecretAccessKey, c.SessionToken) && (c.Region == "" || isPrintable(c.Region)) && !c.Expiration.IsZero()
}

// saysWhy reports whether the link that gave access is known, with its id.
func (c Credentials) saysWhy() bool {
	switch c.GrantedBy {
	case breakglass.LinkPolicy:
		return c.EventID == "" && c.RequestID == ""
	case breakglass.LinkRequest:
		return c.EventID == "" && breakglass.IsID(c.RequestID)
	case breakglass.LinkBreakglass:
		return breakglass.IsID(c.EventID) && c.RequestID == ""
	}
	return false
}

// isPrintable reports whether each text is printable ASCII without spaces, as
// everything is that AWS puts into credentials. They end up in environments,
// headers and shells, where anything else could be more than a value.
func isPrintable(texts ...string) bool {
	for _, s := range texts {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return false
		}
	}
	return true
}

// FeedFilter selects audit entries. Zero fields don't filter.
type FeedFilter struct {
	After                   int64
	Limit                   int
	Event, Invoker, Profile string
	Since                   time.Time
	Wait                    time.Duration // long-poll this long when there is nothing new
}

// Feed returns a page of the audit trail as the server sent it, and the seq to
// continue after. The entries stay raw so that a field that this program
// doesn't know still counts when they are verified.
func (c *Client) Feed(ctx context.Context, f FeedFilter) ([]json.RawMessage, int64, error) {
	q := query{}
	q.number("after", f.After).number("limit", int64(f.Limit)).text("event", f.Event).text("invoker", f.Invoker)
	q.text("profile", f.Profile).time("since", f.Since)
	if f.Wait > 0 {
		q.text("wait", f.Wait.String())
	}
	out := newPage[json.RawMessage](f.Limit)
	cl := get("/v1/events", url.Values(q), out.bytes())
	if f.Wait > 0 {
		cl.timeout = f.Wait + pollSlack
	}
	if _, err := c.do(ctx, cl, &out); err != nil {
		return nil, 0, err
	}
	next, err := strconv.ParseInt(out.NextCursor, 10, 64)
	if err != nil || next < f.After {
		return nil, 0, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "its next_cursor is not a place further on in the audit trail"}
	}
	return out.Items, next, nil
}

// maxProfiles bounds the one list that has no pages.
const maxProfiles = 10_000

// Profiles lists what the caller may invoke now.
func (c *Client) Profiles(ctx context.Context) ([]ProfileOffer, error) {
	out := newPage[ProfileOffer](maxProfiles)
	_, err := c.do(ctx, get("/v1/profiles", nil, out.bytes()), &out)
	return out.Items, err
}

// Whoami returns who the server takes the caller for.
func (c *Client) Whoami(ctx context.Context) (Whoami, error) {
	var out Whoami
	if _, err := c.do(ctx, get("/v1/whoami", nil, maxObjectBytes), &out); err != nil {
		return Whoami{}, err
	}
	if out.Name == "" {
		return Whoami{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but names nobody"}
	}
	return out, nil
}

// LoginOIDC is a provider at which people log in.
type LoginOIDC struct {
	Name     string   `json:"name"`
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Token    string   `json:"token"` // id_token or access_token
}

// Logins returns the providers at which people log in. It needs no token.
func (c *Client) Logins(ctx context.Context) ([]LoginOIDC, error) {
	var out struct {
		OIDC []LoginOIDC `json:"oidc"`
	}
	_, err := c.do(ctx, get("/v1/login", nil, maxObjectBytes), &out)
	return out.OIDC, err
}

// Version returns what the server is. It needs no token.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var out Version
	_, err := c.do(ctx, get("/version", nil, maxObjectBytes), &out)
	return out, err
}

type query url.Values

func (q query) text(key, value string) query {
	if value != "" {
		url.Values(q).Set(key, value)
	}
	return q
}

func (q query) number(key string, n int64) query {
	if n != 0 {
		return q.text(key, strconv.FormatInt(n, 10))
	}
	return q
}

func (q query) time(key string, t time.Time) query {
	if !t.IsZero() {
		return q.text(key, t.UTC().Format(time.RFC3339Nano))
	}
	return q
}
