package client

import (
	"context"
	"net/http"
	"net/url"

	"breakglass/internal/breakglass"
)

// NewRequest is the body of a request for access.
type NewRequest struct {
	Profile         string `json:"profile"`
	Justification   string `json:"justification"`
	Ticket          string `json:"ticket,omitempty"`
	DurationSeconds int64  `json:"duration_seconds,omitempty"`
}

// Request asks for access that others approve. It isn't repeated by itself: a
// rule may have approved it at once, and then a second one asks for more.
func (c *Client) Request(ctx context.Context, in NewRequest) (breakglass.RequestView, error) {
	return c.accessRequest(ctx, call{method: http.MethodPost, path: "/v1/requests", body: in, limit: maxObjectBytes})
}

// AccessRequest returns one access request.
func (c *Client) AccessRequest(ctx context.Context, id string) (breakglass.RequestView, error) {
	return c.accessRequest(ctx, get("/v1/requests/"+url.PathEscape(id), nil, maxObjectBytes))
}

// RequestFilter selects access requests. Zero fields don't filter.
type RequestFilter struct {
	Requester, Status, Profile string
	// Decidable selects the pending ones that the caller may decide.
	Decidable bool
	Limit     int
	Cursor    string
}

// Requests returns a page of access requests, newest first, and the cursor of the
// next page; empty at the end.
func (c *Client) Requests(ctx context.Context, f RequestFilter) ([]breakglass.RequestView, string, error) {
	q := query{}
	q.text("requester", f.Requester).text("status", f.Status).text("profile", f.Profile)
	if f.Decidable {
		q.text("decidable", "true")
	}
	q.number("limit", int64(f.Limit)).text("cursor", f.Cursor)
	out := newPage[breakglass.RequestView](f.Limit)
	if _, err := c.do(ctx, get("/v1/requests", url.Values(q), out.bytes()), &out); err != nil {
		return nil, "", err
	}
	for _, v := range out.Items {
		if err := c.checkRequest(v); err != nil {
			return nil, "", err
		}
	}
	return out.Items, out.NextCursor, nil
}

// Approve adds the caller's approval. comment may be empty. The call is repeated
// when its answer is lost: each approver counts once.
func (c *Client) Approve(ctx context.Context, id, comment string) (breakglass.RequestView, error) {
	cl := decision(id, "approve", struct {
		Comment string `json:"comment,omitempty"`
	}{comment})
	cl.safe = true
	return c.accessRequest(ctx, cl)
}

// Deny refuses a request, or withdraws its approval. Like Cancel it isn't repeated
// by itself: after a lost answer the request has to be looked at.
func (c *Client) Deny(ctx context.Context, id, reason string) (breakglass.RequestView, error) {
	return c.accessRequest(ctx, decision(id, "deny", struct {
		Reason string `json:"reason"`
	}{reason}))
}

// Cancel ends the caller's own request. reason may be empty.
func (c *Client) Cancel(ctx context.Context, id, reason string) (breakglass.RequestView, error) {
	return c.accessRequest(ctx, decision(id, "cancel", struct {
		Reason string `json:"reason,omitempty"`
	}{reason}))
}

func decision(id, what string, body any) call {
	return call{method: http.MethodPost, path: "/v1/requests/" + url.PathEscape(id) + "/" + what, body: body, limit: maxObjectBytes}
}

func (c *Client) accessRequest(ctx context.Context, cl call) (breakglass.RequestView, error) {
	var out breakglass.RequestView
	if _, err := c.do(ctx, cl, &out); err != nil {
		return breakglass.RequestView{}, err
	}
	return out, c.checkRequest(out)
}

// checkRequest is checkEvent for an access request.
func (c *Client) checkRequest(v breakglass.RequestView) error {
	if !breakglass.IsID(v.ID) || v.ExpiresAt.IsZero() || !v.Status.IsValid() {
		return &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but not an access request"}
	}
	return nil
}

// maxStory bounds the entries of a story.
const maxStory = 1000

// Why tells why somebody had access. ref is the id of an event or an access
// request, or a role session name.
func (c *Client) Why(ctx context.Context, ref string) (breakglass.Story, error) {
	entries := array[breakglass.LogEntry]{newPage[breakglass.LogEntry](maxStory)}
	out := struct {
		*breakglass.Story
		Entries *array[breakglass.LogEntry] `json:"entries"`
	}{&breakglass.Story{}, &entries}
	if _, err := c.do(ctx, get("/v1/why/"+url.PathEscape(ref), nil, entries.bytes()), &out); err != nil {
		return breakglass.Story{}, err
	}
	story := *out.Story
	story.Entries = entries.Items
	return story, c.checkStory(story)
}

func (c *Client) checkStory(s breakglass.Story) error {
	if s.Kind == "" || s.ID == "" {
		return &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but no story of an access"}
	}
	if s.Event != nil {
		if err := c.checkEvent(*s.Event); err != nil {
			return err
		}
	}
	if s.Request != nil {
		return c.checkRequest(*s.Request)
	}
	return nil
}
