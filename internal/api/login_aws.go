package api

import (
	"context"
	"net/http"
	"time"

	"breakglass/internal/authn"
	"breakglass/internal/authn/awsiam"
	"breakglass/internal/breakglass"
)

// AWSLogin exchanges proofs of AWS identities for sessions.
type AWSLogin interface {
	Challenge() awsiam.Challenge
	// Login returns errors that are *breakglass.Error.
	Login(ctx context.Context, p awsiam.Proof) (awsiam.Session, error)
}

// awsLogins are the calls that need no token, because they give one out. Where
// this way in isn't configured they don't exist.
func (h *Handler) awsLogins() []endpoint {
	if h.cfg.AWSLogin == nil {
		return nil
	}
	return []endpoint{
		{method: http.MethodPost, pattern: "/v1/login/aws/challenge", handle: h.awsChallenge},
		{method: http.MethodPost, pattern: "/v1/login/aws", handle: h.awsLogin},
	}
}

// challengeDocument is what a caller signs, and how.
type challengeDocument struct {
	Nonce     string    `json:"nonce"`
	ExpiresAt time.Time `json:"expires_at"`
	Regions   []string  `json:"regions"`
}

// awsChallenge serves POST /v1/login/aws/challenge. It isn't a GET, because
// each nonce is a new one.
func (h *Handler) awsChallenge(c *call) error {
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
	ch := h.cfg.AWSLogin.Challenge()
	return c.json(http.StatusOK, challengeDocument{ch.Nonce, ch.Expires, ch.Regions})
}

// loginDocument is a session that has begun.
type loginDocument struct {
	Token           string    `json:"token"`
	TokenType       string    `json:"token_type"`
	ExpiresAt       time.Time `json:"expires_at"`
	Name            string    `json:"name"`
	Groups          []string  `json:"groups"`
	AuthenticatedBy string    `json:"authenticated_by"`
}

// awsLogin serves POST /v1/login/aws. Only STS can tell a good login from a bad
// one, and asking it is what there is little of. So, other than with tokens, an
// address that failed too often is turned away before anything is looked at;
// its failures are counted apart from those of tokens.
func (h *Handler) awsLogin(c *call) error {
	p, err := c.readProof()
	if err != nil {
		return err
	}
	from := authn.ClientAddr(c.r)
	if wait := h.awsFailures.wait(from, time.Now()); wait > 0 {
		c.strike(false)
		return tooManyAWSLogins(wait)
	}
	done := h.awsUnderWay.take(from)
	if done == nil {
		return tooManyAWSLogins(time.Second)
	}
	defer done()
	ctx, cancel := c.context(0)
	defer cancel()
	s, err := h.cfg.AWSLogin.Login(ctx, p)
	if err != nil {
		if breakglass.AsError(err).Code == breakglass.CodeUnauthenticated {
			c.strike(false)
			h.awsFailures.failed(from, time.Now())
			c.w.Header().Set("WWW-Authenticate", authn.Challenge(nil)) // every 401 has one (RFC 9110, section 15.5.2)
		}
		return err
	}
	c.strike(true)
	via := breakglass.Via{Method: breakglass.MethodAWS, Source: s.Identity.ARN}
	c.caller = breakglass.Principal{Name: s.Name, Groups: s.Groups, Via: via} // for the log
	return c.json(http.StatusOK, loginDocument{Token: s.Token, TokenType: "Bearer", ExpiresAt: s.Expires,
		Name: s.Name, Groups: orEmpty(s.Groups), AuthenticatedBy: via.String()})
}

// readProof reads the body of a login. The values are looked at where they are
// used; here they are told apart from what isn't a proof at all.
func (c *call) readProof() (awsiam.Proof, error) {
	var p awsiam.Proof
	var f faults
	c.query(&f)
	obj, err := c.readObject(false)
	if err != nil {
		return p, err
	}
	fields{"server": text(&p.Server), "nonce": text(&p.Nonce), "authorization": text(&p.Authorization),
		"amz_date": text(&p.Date), "security_token": text(&p.SecurityToken)}.read(obj, &f)
	return p, f.err()
}
