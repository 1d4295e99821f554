package api

import (
	"net/http"
	"time"

	"breakglass/internal/breakglass"
)

// invoke serves POST /v1/breakglass. A refusal from here is put on record like
// those of the service, which never see it.
func (h *Handler) invoke(c *call) error {
	in, err := c.readInvocation()
	if err != nil {
		refusal := breakglass.AsError(err)
		if !in.DryRun {
			h.cfg.Service.RecordRefusal(c.origin(), c.caller, in, refusal)
		}
		return refusal
	}
	ctx, cancel := c.context(0)
	defer cancel()
	out, err := h.cfg.Service.Invoke(ctx, c.caller, in)
	if err != nil {
		return err
	}
	if out.Replayed {
		c.w.Header().Set("Idempotency-Replayed", "true")
	}
	if in.DryRun {
		return c.json(http.StatusOK, dryRunOf(out))
	}
	c.w.Header().Set("Location", "/v1/breakglass/"+out.ID)
	return c.json(http.StatusCreated, out.View)
}

// readInvocation reads query, headers and body. With an error it returns what
// could be understood all the same.
func (c *call) readInvocation() (breakglass.Invocation, error) {
	in := breakglass.Invocation{RequestID: c.id}
	var f faults
	in.DryRun = c.query(&f, "dry_run").flag("dry_run")
	in.IdempotencyKey = idempotencyKey(c.r.Header, &f)
	obj, err := c.readObject(false)
	if err != nil {
		return in, err
	}
	var body invokeRequest
	body.fields().read(obj, &f)
	if err := c.h.validate.check(&body, &f); err != nil {
		return in, err
	}
	in.Profile, in.ReasonCode, in.Ticket = body.Profile, breakglass.ReasonCode(body.ReasonCode), body.Ticket
	in.Justification = body.Justification
	if body.Invoker != nil {
		in.Invoker = *body.Invoker
	}
	if body.DurationSeconds != nil {
		in.Duration = breakglass.Seconds(*body.DurationSeconds)
	}
	if body.TOTP != nil {
		in.TOTP = breakglass.TOTPCode(*body.TOTP)
	}
	return in, f.err()
}

// dryRun is the answer to ?dry_run=true.
type dryRun struct {
	DryRun          bool                  `json:"dry_run"`
	Profile         string                `json:"profile"`
	Invoker         string                `json:"invoker"`
	ReasonCode      breakglass.ReasonCode `json:"reason_code"`
	DurationSeconds int64                 `json:"duration_seconds"`
	ExpiresAt       time.Time             `json:"expires_at"`
	PolicyRule      string                `json:"policy_rule"`
	Escalated       bool                  `json:"escalated"`
	MFA             string                `json:"mfa"`
}

func dryRunOf(v breakglass.Invoked) dryRun {
	return dryRun{DryRun: true, Profile: v.Profile, Invoker: v.Invoker, ReasonCode: v.ReasonCode,
		DurationSeconds: v.DurationSeconds, ExpiresAt: v.ExpiresAt, PolicyRule: v.PolicyRule, Escalated: v.Escalated, MFA: v.MFA}
}
