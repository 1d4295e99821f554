package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"breakglass/internal/breakglass"
)

// list serves GET /v1/breakglass.
func (h *Handler) list(c *call) error {
	var f faults
	q := c.query(&f, "invoker", "status", "profile", "reason_code", "since", "until", "limit", "cursor")
	eq := eventQuery(q)
	if err := f.err(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	views, more, err := h.cfg.Service.List(ctx, c.caller, eq)
	if err != nil {
		return err
	}
	out := page[breakglass.View]{Items: views}
	if more {
		last := views[len(views)-1]
		out.NextCursor = encodeCursor(breakglass.Position{CreatedAt: last.CreatedAt, ID: last.ID}, filterHash(eq))
		c.w.Header()["Link"] = []string{q.next("/v1/breakglass", "cursor", out.NextCursor)}
	}
	return c.json(http.StatusOK, out)
}

func eventQuery(q query) breakglass.EventQuery {
	eq := breakglass.EventQuery{
		Invoker: q.person("invoker"), Status: breakglass.Status(q.text("status", checkStatus)),
		Profile: q.text("profile", breakglass.CheckName), ReasonCode: breakglass.ReasonCode(q.text("reason_code", checkReasonCode)),
		Since: q.time("since"), Until: q.time("until"), Limit: int(q.number("limit", defaultLimit, minLimit, maxLimit)),
	}
	eq.Before = q.cursor("cursor", filterHash(eq))
	return eq
}

// check serves GET /v1/breakglass/{id}.
func (h *Handler) check(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.Check(ctx, c.caller, c.pathID())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// close serves POST /v1/breakglass/{id}/close.
func (h *Handler) close(c *call) error {
	var body closeRequest
	if err := c.read(body.fields(), &body, false); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.Close(ctx, c.caller, c.pathID(), body.Reason, c.id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// pathID is the {id} of the path as it was sent. The service answers for
// anything that isn't an id as for one of something that doesn't exist.
func (c *call) pathID() string { return chi.URLParam(c.r, "id") }

// noQuery refuses any query parameter.
func (c *call) noQuery() error {
	var f faults
	c.query(&f)
	return f.err()
}
