package client

import (
	"context"
	"net/http"
	"strings"

	"breakglass/internal/breakglass"
)

// MFAEnrolment is a secret that was made for the caller. It is shown once.
type MFAEnrolment struct {
	Secret string `json:"secret"` // base32
	URI    string `json:"uri"`    // the same as otpauth://
}

// String keeps the secret out of errors and logs.
func (MFAEnrolment) String() string { return "a new second factor" }

// GoString hides the secret from %#v.
func (e MFAEnrolment) GoString() string { return e.String() }

// MFAStatus returns the state of the caller's own second factor.
func (c *Client) MFAStatus(ctx context.Context) (breakglass.MFAStatus, error) {
	var out breakglass.MFAStatus
	_, err := c.do(ctx, get("/v1/mfa", nil, maxObjectBytes), &out)
	return out, err
}

// EnrolMFA begins an enrolment. When the answer is lost it can simply begin anew.
func (c *Client) EnrolMFA(ctx context.Context, invitation string) (MFAEnrolment, error) {
	body := struct {
		Invitation string `json:"invitation,omitempty"`
	}{invitation}
	var out MFAEnrolment
	if err := c.mfa(ctx, "enrol", body, &out); err != nil {
		return MFAEnrolment{}, err
	}
	if !isPrintable(out.Secret, out.URI) || !strings.HasPrefix(out.URI, "otpauth://") || len(out.URI) > 1000 {
		return MFAEnrolment{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but no second factor"}
	}
	return out, nil
}

// ConfirmMFA puts the enrolment in force.
func (c *Client) ConfirmMFA(ctx context.Context, code string) (out breakglass.MFAStatus, err error) {
	err = c.mfa(ctx, "confirm", withCode{code}, &out)
	return out, err
}

// RemoveMFA removes the caller's own second factor.
func (c *Client) RemoveMFA(ctx context.Context, code string) (out breakglass.MFAStatus, err error) {
	err = c.mfa(ctx, "remove", withCode{code}, &out)
	return out, err
}

// ResetMFA removes somebody else's second factor.
func (c *Client) ResetMFA(ctx context.Context, name string) error {
	var out withName
	return c.mfa(ctx, "reset", withName{name}, &out)
}

// InviteMFA makes an enrolment code for somebody else.
func (c *Client) InviteMFA(ctx context.Context, name string) (breakglass.Invitation, error) {
	var out breakglass.Invitation
	if err := c.mfa(ctx, "invite", withName{name}, &out); err != nil {
		return breakglass.Invitation{}, err
	}
	if breakglass.CheckInvitation(out.Code) != "" {
		return breakglass.Invitation{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but no enrolment code"}
	}
	return out, nil
}

type withCode struct {
	TOTP string `json:"totp"`
}

type withName struct {
	Name string `json:"name"`
}

// mfa makes a call that isn't repeated by itself: a code works once.
func (c *Client) mfa(ctx context.Context, what string, body, out any) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/mfa/" + what, body: body, limit: maxObjectBytes}, out)
	return err
}
