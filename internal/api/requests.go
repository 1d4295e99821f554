package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"breakglass/internal/breakglass"
)

// request serves POST /v1/requests.
func (h *Handler) request(c *call) error {
	var body newRequest
	err := c.read(body.fields(), &body, false)
	in := breakglass.NewRequest{Profile: body.Profile, Justification: body.Justification, Ticket: body.Ticket, CallID: c.id}
	if body.DurationSeconds != nil {
		in.Duration = breakglass.Seconds(*body.DurationSeconds)
	}
	if err != nil {
		refusal := breakglass.AsError(err)
		h.cfg.Service.RecordRefusedRequest(c.origin(), c.caller, in, refusal)
		return refusal
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.Request(ctx, c.caller, in)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/requests/"+view.ID)
	return c.json(http.StatusCreated, view)
}

// accessRequests serves GET /v1/requests.
func (h *Handler) accessRequests(c *call) error {
	var f faults
	q := c.query(&f, "requester", "status", "profile", "decidable", "limit", "cursor")
	rq, decidable := requestQuery(q)
	if err := f.err(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	views, more, err := h.cfg.Service.AccessRequests(ctx, c.caller, rq, decidable)
	if err != nil {
		return err
	}
	out := page[breakglass.RequestView]{Items: orEmpty(views)}
	if more {
		last := views[len(views)-1]
		out.NextCursor = encodeCursor(breakglass.Position{CreatedAt: last.CreatedAt, ID: last.ID}, requestFilterHash(rq, decidable))
		c.w.Header()["Link"] = []string{q.next("/v1/requests", "cursor", out.NextCursor)}
	}
	return c.json(http.StatusOK, out)
}

func requestQuery(q query) (rq breakglass.RequestQuery, decidable bool) {
	decidable = q.flag("decidable")
	rq = breakglass.RequestQuery{
		Requester: q.person("requester"), Profile: q.text("profile", breakglass.CheckName),
		Status: breakglass.RequestStatus(q.text("status", checkRequestStatus)), Limit: int(q.number("limit", defaultLimit, minLimit, maxLimit)),
	}
	rq.Before = q.cursor("cursor", requestFilterHash(rq, decidable))
	return rq, decidable
}

// accessRequest serves GET /v1/requests/{id}.
func (h *Handler) accessRequest(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.AccessRequest(ctx, c.caller, c.pathID())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// approve serves POST /v1/requests/{id}/approve.
func (h *Handler) approve(c *call) error {
	var body approveRequest
	return h.decide(c, h.cfg.Service.Approve, body.fields(), &body, &body.Comment, true)
}

// deny serves POST /v1/requests/{id}/deny.
func (h *Handler) deny(c *call) error {
	var body denyRequest
	return h.decide(c, h.cfg.Service.Deny, body.fields(), &body, &body.Reason, false)
}

// cancel serves POST /v1/requests/{id}/cancel.
func (h *Handler) cancel(c *call) error {
	var body cancelRequest
	return h.decide(c, h.cfg.Service.Cancel, body.fields(), &body, &body.Reason, true)
}

// decision changes the state of an access request, with a word about why.
type decision func(ctx context.Context, caller breakglass.Principal, id, why, callID string) (breakglass.RequestView, error)

func (h *Handler) decide(c *call, do decision, known fields, body any, why *string, optional bool) error {
	if err := c.read(known, body, optional); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := do(ctx, c.caller, c.pathID(), *why, c.id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// why serves GET /v1/why/{ref}.
func (h *Handler) why(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	story, err := h.cfg.Service.Why(ctx, c.caller, c.ref())
	if err != nil {
		return err
	}
	story.Entries = orEmpty(story.Entries)
	return c.json(http.StatusOK, story)
}

// ref is the {ref} of the path. Session names have characters that callers may
// percent-encode or not, and chi takes the path as it was sent.
func (c *call) ref() string {
	ref := chi.URLParam(c.r, "ref")
	if c.r.URL.RawPath == "" {
		return ref // decoded already
	}
	if decoded, err := url.PathUnescape(ref); err == nil {
		return decoded
	}
	return ref
}
