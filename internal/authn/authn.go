// Package authn says who a caller is. Today that is decided by static bearer
// tokens; other ways in implement Authenticator beside them.
package authn

import (
	"errors"
	"net/http"

	"breakglass/internal/breakglass"
)

// Authenticator is one way in.
type Authenticator interface {
	// Authenticate returns the caller of a request. A caller who can't be told
	// is an *breakglass.Error with CodeUnauthenticated that wraps ErrNoCredentials
	// or ErrInvalidCredentials; if the way in itself is out of order, the code is
	// CodeUnavailable. It never reads the body.
	Authenticate(r *http.Request) (breakglass.Principal, error)
}

// Why a caller could not be told.
var (
	ErrNoCredentials      = errors.New("no credentials")
	ErrInvalidCredentials = errors.New("invalid credentials")
)

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
