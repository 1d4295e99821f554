package api

import (
	"net/http"
	"time"

	"breakglass/internal/breakglass"
)

// credentialsDocument is the answer to the calls that issue credentials: the one
// place where secrets are written out.
type credentialsDocument struct {
	AccessKeyID     string          `json:"access_key_id"`
	SecretAccessKey string          `json:"secret_access_key"`
	SessionToken    string          `json:"session_token"`
	Expiration      time.Time       `json:"expiration"`
	Profile         string          `json:"profile"`
	Region          string          `json:"region"`
	RoleARN         string          `json:"role_arn"`
	RoleSessionName string          `json:"role_session_name"`
	GrantedBy       breakglass.Link `json:"granted_by"`
	Rule            string          `json:"rule"`
	GrantedUntil    time.Time       `json:"granted_until,omitzero"`
	EventID         string          `json:"event_id,omitempty"`
	RequestID       string          `json:"request_id,omitempty"` // of the access request
	Issuer          string          `json:"issuer"`
}

func (c *call) issued(out breakglass.Issued) error {
	return c.json(http.StatusOK, credentialsDocument{
		AccessKeyID: out.AccessKeyID, SecretAccessKey: out.SecretAccessKey, SessionToken: out.SessionToken,
		Expiration: out.Expiration.UTC(), Profile: out.Profile.Name, Region: out.Profile.Region, RoleARN: out.Profile.RoleARN,
		RoleSessionName: out.RoleSessionName, GrantedBy: out.Grant.Link, Rule: out.Grant.Rule, GrantedUntil: out.Grant.Until.UTC(),
		EventID: out.Grant.EventID(), RequestID: out.Grant.AccessRequestID(), Issuer: out.Issuer,
	})
}

// credentialsFor serves POST /v1/credentials.
func (h *Handler) credentialsFor(c *call) error {
	var body credentialsRequest
	if err := c.read(body.fields(), &body, false); err != nil {
		return c.refusedBefore(breakglass.CallAccess, err)
	}
	ctx, cancel := c.context(0)
	defer cancel()
	out, err := h.cfg.Service.CredentialsFor(ctx, c.caller, body.Profile, c.id)
	if err != nil {
		return err
	}
	return c.issued(out)
}

// credentials serves POST /v1/breakglass/{id}/credentials.
func (h *Handler) credentials(c *call) error {
	if err := c.read(fields{}, &struct{}{}, true); err != nil {
		return err
	}
	ctx, cancel := c.context(0)
	defer cancel()
	out, err := h.cfg.Service.Credentials(ctx, c.caller, c.pathID(), c.id)
	if err != nil {
		return err
	}
	return c.issued(out)
}

// extend serves POST /v1/breakglass/{id}/extend.
func (h *Handler) extend(c *call) error {
	var body extendRequest
	if err := c.read(body.fields(), &body, false); err != nil {
		return c.refusedBefore(breakglass.CallExtend, err)
	}
	in := breakglass.Extension{Justification: body.Justification, CallID: c.id}
	if body.DurationSeconds != nil {
		in.Duration = breakglass.Seconds(*body.DurationSeconds)
	}
	if body.TOTP != nil {
		in.TOTP = breakglass.TOTPCode(*body.TOTP)
	}
	ctx, cancel := c.context(0)
	defer cancel()
	view, err := h.cfg.Service.Extend(ctx, c.caller, c.pathID(), in)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, view)
}

// refusedBefore puts a refusal of a call for access on record that the service
// never sees.
func (c *call) refusedBefore(what breakglass.Call, err error) error {
	refusal := breakglass.AsError(err)
	c.h.cfg.Service.RecordRefusedCall(c.origin(), what, c.caller, refusal)
	return refusal
}
