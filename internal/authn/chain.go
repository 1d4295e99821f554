package authn

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"breakglass/internal/breakglass"
)

// SessionPrefix begins the session tokens that this server gives out after a
// login, so that they are told from every other token by their form.
const SessionPrefix = "bgs_"

// verifyTimeout bounds what a way in may take: a caller who waits longer for an
// identity provider is better served by another way in.
const verifyTimeout = 10 * time.Second

// Ways are the ways in beside static tokens; nil means not configured.
type Ways struct {
	JWT     Verifier // bearer JWTs of OpenID providers
	Session Verifier // tokens that begin with SessionPrefix
}

// Chain is every way in. The form of a token decides which one is asked, and
// that one alone: no token is shown to a way in that it isn't meant for, and a
// way in that is out of order is no concern of the others. It is safe for
// concurrent use.
type Chain struct {
	static *Static
	ways   Ways
}

var _ Authenticator = (*Chain)(nil)

// NewChain returns the ways in together. Roles are those of static.
func NewChain(static *Static, ways Ways) *Chain { return &Chain{static: static, ways: ways} }

// Authenticate implements Authenticator.
func (c *Chain) Authenticate(r *http.Request) (breakglass.Principal, error) {
	token, err := bearer(r)
	if err != nil {
		return breakglass.Principal{}, err
	}
	switch {
	case IsJWT(token):
		return c.verify(r, c.ways.JWT, token)
	case strings.HasPrefix(token, SessionPrefix):
		return c.verify(r, c.ways.Session, token)
	}
	return c.static.principal(r, token)
}

// Lookup implements breakglass.Directory: it knows the owners of static tokens.
func (c *Chain) Lookup(name string) (breakglass.Principal, bool) { return c.static.Lookup(name) }

func (c *Chain) verify(r *http.Request, way Verifier, token string) (breakglass.Principal, error) {
	if way == nil {
		return breakglass.Principal{}, Invalid(errors.New("this way in is not configured"))
	}
	ctx, cancel := context.WithTimeout(r.Context(), verifyTimeout)
	defer cancel()
	id, err := way.Verify(r.WithContext(ctx), token)
	if err != nil {
		return breakglass.Principal{}, asRefusal(err)
	}
	return c.static.letIn(id)
}

// asRefusal makes an error that a way in didn't name one of its own being out
// of order: nobody is let in, and nobody is told that the token is wrong.
func asRefusal(err error) error {
	var e *breakglass.Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, ErrInvalidCredentials):
		return Invalid(err)
	}
	return Unavailable("This way in is out of order. Try again, or log in another way.", 0, err)
}

// IsJWT reports the form of a JWT in compact form (RFC 7519, section 3): three
// segments of base64url, of which the last is empty when nothing is signed, and
// the first begins as every JSON object does there.
func IsJWT(token string) bool {
	head, rest, ok := strings.Cut(token, ".")
	claims, signature, ok2 := strings.Cut(rest, ".")
	return ok && ok2 && strings.HasPrefix(head, "ey") && claims != "" && isBase64URL(head) && isBase64URL(claims) && isBase64URL(signature)
}

func isBase64URL(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
