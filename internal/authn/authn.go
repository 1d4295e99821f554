// Package authn says who a caller is. A Chain chooses the way in by the form of
// the bearer token; the ways in are Verifiers, such as internal/authn/oidc, and
// the static tokens of this package. Names are made canonical and roles given
// in one place for all of them: Roles.Principal.
package authn

import (
	"errors"
	"net/http"
	"time"

	"breakglass/internal/breakglass"
)

// Authenticator tells callers.
type Authenticator interface {
	// Authenticate returns the caller of a request. A caller who can't be told
	// is an *breakglass.Error with CodeUnauthenticated that wraps ErrNoCredentials
	// or ErrInvalidCredentials; if the way in itself is out of order, the code is
	// CodeUnavailable. It never reads the body.
	Authenticate(r *http.Request) (breakglass.Principal, error)
}

// Verifier is one way in by bearer token. The Chain has looked at the form of
// the token, its length included, and nothing else.
type Verifier interface {
	// Verify returns to whom the token belongs, as the way in spells it: the
	// Chain makes the name canonical. A token that isn't valid is Invalid or
	// InvalidBecause, a way in that is out of order Unavailable. It ends with the
	// request's context, which has a deadline, and never reads the body.
	Verify(r *http.Request, token string) (Identity, error)
}

// Identity is what a way in knows about the owner of a token.
type Identity struct {
	Name   string
	Groups []string
	Via    breakglass.Via
	// Assurance is what an identity provider says about how the owner logged in.
	Assurance breakglass.Assurance
}

// Why a caller could not be told.
var (
	ErrNoCredentials      = errors.New("no credentials")
	ErrInvalidCredentials = errors.New("invalid credentials")
)

// Invalid is the error for a token that isn't valid. The caller learns nothing
// else; cause, which must not hold the token, goes to the log.
func Invalid(cause error) error { return InvalidBecause(wrongToken, cause) }

// InvalidBecause is Invalid with a message for the caller. It is for callers who
// have shown that the token is genuine: to anybody else it would say too much.
func InvalidBecause(message string, cause error) error {
	if cause == nil {
		return unauthenticated(ErrInvalidCredentials, message)
	}
	return unauthenticated(&invalid{cause}, message)
}

// Unavailable is the error of a way in that is out of order; retryAfter is zero
// when nobody knows how long.
func Unavailable(message string, retryAfter time.Duration, cause error) error {
	return &breakglass.Error{Code: breakglass.CodeUnavailable, Temporary: true, RetryAfter: retryAfter, Message: message, Cause: cause}
}

// invalid keeps the cause beside ErrInvalidCredentials.
type invalid struct{ cause error }

func (e *invalid) Error() string   { return ErrInvalidCredentials.Error() + ": " + e.cause.Error() }
func (e *invalid) Unwrap() []error { return []error{ErrInvalidCredentials, e.cause} }

// Challenge is the WWW-Authenticate header for an error of Authenticate
// (RFC 6750, section 3): a request without credentials gets no error code.
func Challenge(err error) string {
	if errors.Is(err, ErrInvalidCredentials) {
		return `Bearer realm="breakglass", error="invalid_token"`
	}
	return `Bearer realm="breakglass"`
}

func unauthenticated(cause error, message string) error {
	return &breakglass.Error{Code: breakglass.CodeUnauthenticated, Message: message, Cause: cause}
}
