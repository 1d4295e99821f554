package client

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// AWSChallenge is what the holder of an AWS identity signs in order to log in.
type AWSChallenge struct {
	Nonce     string    `json:"nonce"`
	ExpiresAt time.Time `json:"expires_at"`
	Regions   []string  `json:"regions"` // whose STS may be named in the signature
}

// AWSProof is a signed identity. It is secret until it is used.
type AWSProof struct {
	Server        string `json:"server"`
	Nonce         string `json:"nonce"`
	Authorization string `json:"authorization"`
	Date          string `json:"amz_date"`
	SecurityToken string `json:"security_token,omitempty"`
}

// Session is a login that succeeded. Token is secret.
type Session struct {
	Token           string    `json:"token"`
	ExpiresAt       time.Time `json:"expires_at"`
	Name            string    `json:"name"`
	Groups          []string  `json:"groups"`
	AuthenticatedBy string    `json:"authenticated_by"`
}

// String keeps the token out of errors and logs.
func (s Session) String() string { return "session of " + s.Name }

// GoString hides the token from %#v.
func (s Session) GoString() string { return s.String() }

// Host is the name by which the caller reaches the server. A login is bound to
// it, so it is never one that a server says of itself.
func (c *Client) Host() string { return c.base.Hostname() }

// AWSChallenge asks for a nonce to sign. It needs no token.
func (c *Client) AWSChallenge(ctx context.Context) (AWSChallenge, error) {
	var out AWSChallenge
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/login/aws/challenge", safe: true, limit: maxObjectBytes}, &out)
	if err != nil {
		return AWSChallenge{}, err
	}
	if !isPrintable(out.Nonce) || len(out.Nonce) > 128 || len(out.Regions) == 0 || !isPrintable(out.Regions...) {
		return AWSChallenge{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but no challenge"}
	}
	return out, nil
}

// LoginAWS exchanges a proof for a session. It isn't repeated by itself, because
// a proof counts once. It needs no token.
func (c *Client) LoginAWS(ctx context.Context, p AWSProof) (Session, error) {
	var out Session
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/login/aws", body: p, limit: maxObjectBytes}, &out)
	if err != nil {
		return Session{}, err
	}
	if !isPrintable(out.Token) || out.Name == "" || out.ExpiresAt.IsZero() || !strings.HasPrefix(out.AuthenticatedBy, "aws:") {
		return Session{}, &ProtocolError{Server: c.Server(), Status: http.StatusOK, What: "it is JSON but no session"}
	}
	return out, nil
}
