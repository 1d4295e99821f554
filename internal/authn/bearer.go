package authn

import (
	"net/http"
	"strings"
)

// The longest bearer tokens that are looked at, in bytes. JWTs carry groups;
// the whole header of a request may have 16 KiB.
const (
	MaxToken = 4096
	MaxJWT   = 12 << 10
)

const (
	noToken    = "This call needs a bearer token: Authorization: Bearer <token>."
	wrongToken = "The bearer token is not valid here."
)

// bearer returns the token of a request. The form is strict: one header, the
// scheme, one space, and a token of the alphabet of RFC 6750. Anything that two
// parsers could read in two ways is refused.
func bearer(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	switch len(values) {
	case 0:
		return "", unauthenticated(ErrNoCredentials, noToken)
	case 1:
	default:
		return "", unauthenticated(ErrInvalidCredentials, "There must be exactly one Authorization header.")
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", unauthenticated(ErrNoCredentials, noToken)
	}
	if len(token) > MaxJWT || !isToken68(token) || len(token) > MaxToken && !IsJWT(token) {
		return "", unauthenticated(ErrInvalidCredentials, wrongToken)
	}
	return token, nil
}

// isToken68 reports the form b64token of RFC 6750: 1*( ALPHA / DIGIT / "-" /
// "." / "_" / "~" / "+" / "/" ) *"=".
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	for _, c := range []byte(body) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return body != ""
}
