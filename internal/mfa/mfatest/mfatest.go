// Package mfatest is the authenticator of a test: it makes codes from a secret,
// in its own few lines and not those of the server.
package mfatest

import (
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- as RFC 6238 has it and every authenticator app knows it; HMAC does not rest on collisions
	"encoding/base32"
	"fmt"
	"strings"
	"time"
)

// Code is the code of that time.
func Code(secret []byte, at time.Time) string {
	step := at.Unix() / 30
	h := hmac.New(sha1.New, secret)
	h.Write([]byte{0, 0, 0, byte(step >> 32), byte(step >> 24), byte(step >> 16), byte(step >> 8), byte(step)})
	sum := h.Sum(nil)
	o := sum[19] & 15
	n := int(sum[o]&127)<<24 | int(sum[o+1])<<16 | int(sum[o+2])<<8 | int(sum[o+3])
	return fmt.Sprintf("%06d", n%1_000_000)
}

// CodeOf is Code for a secret as people type it.
func CodeOf(text string, at time.Time) (string, error) {
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimSpace(text))
	return Code(secret, at), err
}
