package api

import (
	"context"
	"net/http"

	"breakglass/internal/breakglass"
)

// secondFactors are the calls about second factors. Where the server checks none
// itself they don't exist. Removing isn't a DELETE: it needs a code, and neither
// a URL, which is logged, nor the body of a DELETE, which proxies drop, is a place
// for one.
func (h *Handler) secondFactors() []endpoint {
	if !h.cfg.Service.ChecksMFA() {
		return nil
	}
	return []endpoint{
		{method: http.MethodGet, pattern: "/v1/mfa", handle: h.mfaStatus, call: breakglass.CallMFAStatus},
		{method: http.MethodPost, pattern: "/v1/mfa/enrol", handle: h.mfaEnrol, call: breakglass.CallMFAEnrol},
		{method: http.MethodPost, pattern: "/v1/mfa/confirm", handle: h.mfaConfirm, call: breakglass.CallMFAConfirm},
		{method: http.MethodPost, pattern: "/v1/mfa/remove", handle: h.mfaRemove, call: breakglass.CallMFARemove},
		{method: http.MethodPost, pattern: "/v1/mfa/reset", handle: h.mfaReset, call: breakglass.CallMFAReset},
		{method: http.MethodPost, pattern: "/v1/mfa/invite", handle: h.mfaInvite, call: breakglass.CallMFAInvite},
	}
}

// mfaStatus serves GET /v1/mfa.
func (h *Handler) mfaStatus(c *call) error {
	if err := c.noQuery(); err != nil {
		return err
	}
	return h.mfaNow(c)
}

// mfaNow answers with the state of the caller's own second factor.
func (h *Handler) mfaNow(c *call) error {
	ctx, cancel := c.context(0)
	defer cancel()
	status, err := h.cfg.Service.MFAStatus(ctx, c.caller)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, status)
}

type enrolRequest struct {
	Invitation *string `json:"invitation" validate:"omitnil,invitation"`
}

// mfaEnrol serves POST /v1/mfa/enrol. The answer is secret.
func (h *Handler) mfaEnrol(c *call) error {
	var body enrolRequest
	if err := c.read(fields{"invitation": optionalText(&body.Invitation)}, &body, true); err != nil {
		return err
	}
	invitation := ""
	if body.Invitation != nil {
		invitation = *body.Invitation
	}
	ctx, cancel := c.context(0)
	defer cancel()
	made, err := h.cfg.Service.EnrolMFA(ctx, c.caller, invitation, c.id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		Secret string `json:"secret"`
		URI    string `json:"uri"`
	}{made.Secret, made.URI})
}

type codeRequest struct {
	TOTP string `json:"totp" validate:"required,totp"`
}

// mfaConfirm serves POST /v1/mfa/confirm.
func (h *Handler) mfaConfirm(c *call) error { return h.withCode(c, h.cfg.Service.ConfirmMFA) }

// mfaRemove serves POST /v1/mfa/remove.
func (h *Handler) mfaRemove(c *call) error { return h.withCode(c, h.cfg.Service.RemoveMFA) }

type nameRequest struct {
	Name string `json:"name" validate:"required,person"`
}

// mfaReset serves POST /v1/mfa/reset.
func (h *Handler) mfaReset(c *call) error {
	var body nameRequest
	if err := c.read(fields{"name": text(&body.Name)}, &body, false); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	if err := h.cfg.Service.ResetMFA(ctx, c.caller, body.Name, c.id); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		Name string `json:"name"`
	}{breakglass.Canonical(body.Name)})
}

// mfaInvite serves POST /v1/mfa/invite. The answer is secret.
func (h *Handler) mfaInvite(c *call) error {
	var body nameRequest
	if err := c.read(fields{"name": text(&body.Name)}, &body, false); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	invitation, err := h.cfg.Service.InviteMFA(ctx, c.caller, body.Name, c.id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, invitation)
}

// withCode does something that a code decides.
func (h *Handler) withCode(c *call, do func(context.Context, breakglass.Principal, breakglass.TOTPCode, string) error) error {
	var body codeRequest
	if err := c.read(fields{"totp": text(&body.TOTP)}, &body, false); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	if err := do(ctx, c.caller, breakglass.TOTPCode(body.TOTP), c.id); err != nil {
		return err
	}
	return h.mfaNow(c)
}
