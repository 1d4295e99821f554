package api

import (
	"net/http"
	"time"

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
	eq.Before = q.cursor("cursor", eq)
	return eq
}

// check serves GET /v1/breakglass/{id}.
func (h *Handler) check(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.Check(ctx, c.caller, c.eventID())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// close serves POST /v1/breakglass/{id}/close.
func (h *Handler) close(c *call) error {
	var f faults
	c.query(&f)
	obj, err := c.readObject(false)
	if err != nil {
		return err
	}
	var body closeRequest
	body.fields().read(obj, &f)
	if err := h.validate.check(&body, &f); err != nil {
		return err
	}
	if err := f.err(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.Close(ctx, c.caller, c.eventID(), body.Reason, c.id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// credentialsDocument is the answer to POST /v1/breakglass/{id}/credentials:
// the one place where secrets are written out.
type credentialsDocument struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token"`
	Expiration      time.Time `json:"expiration"`
	Profile         string    `json:"profile"`
	Region          string    `json:"region"`
	RoleARN         string    `json:"role_arn"`
	EventID         string    `json:"event_id"`
	Issuer          string    `json:"issuer"`
}

// credentials serves POST /v1/breakglass/{id}/credentials.
func (h *Handler) credentials(c *call) error {
	var f faults
	c.query(&f)
	obj, err := c.readObject(true)
	if err != nil {
		return err
	}
	fields{}.read(obj, &f)
	if err := f.err(); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	out, err := h.cfg.Service.Credentials(ctx, c.caller, c.eventID(), c.id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, credentialsDocument{
		AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, SessionToken: out.SessionToken,
		Expiration: out.Expiration.UTC(), Profile: out.Profile.Name, Region: out.Profile.Region, RoleARN: out.Profile.RoleARN,
		EventID: out.EventID, Issuer: out.Issuer,
	})
}

// eventID is the {id} of the path as it was sent. The service answers for
// anything that isn't an id as for an event that doesn't exist.
func (c *call) eventID() string { return chi.URLParam(c.r, "id") }

// noQuery refuses any query parameter.
func (c *call) noQuery() error {
	var f faults
	c.query(&f)
	return f.err()
}
