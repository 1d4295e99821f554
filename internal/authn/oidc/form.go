package oidc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"breakglass/internal/authn"
)

// header is the protected header of a token. Nothing in it is trusted; it says
// which of the known keys to try.
type header struct {
	Typ  string          `json:"typ"`
	Kid  string          `json:"kid"`
	Crit json.RawMessage `json:"crit"`
	JWK  json.RawMessage `json:"jwk"`
	JKU  json.RawMessage `json:"jku"`
	X5U  json.RawMessage `json:"x5u"`
}

// maxKid bounds the name of a key.
const maxKid = 256

// open takes a token apart without trusting it, and returns the issuer that it
// claims to be of.
func open(token string) (issuer string, err error) {
	if len(token) > authn.MaxJWT {
		return "", errors.New("too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("not three parts")
	}
	if err := checkHeader(parts[0]); err != nil {
		return "", err
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return "", errors.New("the payload is not base64url")
	}
	claims, err := decodeClaims(payload)
	if err != nil {
		return "", err
	}
	return claims.text("iss")
}

func checkHeader(part string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return errors.New("the header is not base64url")
	}
	fields, err := decodeClaims(raw) // strict about repetition here too
	if err != nil {
		return err
	}
	var h header
	if err := json.Unmarshal(fields.exact("typ", "kid", "crit", "jwk", "jku", "x5u"), &h); err != nil {
		return errors.New("the header has fields of a wrong type")
	}
	switch {
	case len(h.Kid) > maxKid:
		return errors.New("the name of the key is too long")
	case h.Crit != nil:
		return errors.New("the header asks for extensions (crit) that aren't known here")
	case h.JWK != nil || h.JKU != nil || h.X5U != nil:
		return errors.New("the token brings a key of its own, or says where to fetch one")
	case !slices.Contains([]string{"", "jwt", "at+jwt", "application/at+jwt"}, strings.ToLower(h.Typ)):
		// RFC 8725, section 3.11: a logout token or a proof of possession says
		// nothing about who is calling.
		return errors.New("a token of another type")
	}
	return nil
}
