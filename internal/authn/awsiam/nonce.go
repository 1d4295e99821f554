package awsiam

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"breakglass/internal/authn/session"
)

// NonceLife is how long a nonce can be used.
const NonceLife = 60 * time.Second

// nonceAhead is how far the clock of the replica that made a nonce may be ahead
// of this one's.
const nonceAhead = 5 * time.Second

const (
	noncePurpose = "aws-nonce/1"
	nonceRandom  = 16
	nonceBody    = 8 + nonceRandom
	nonceTag     = 32
)

// nonceText is the length of a nonce as text.
var nonceText = base64.RawURLEncoding.EncodedLen(nonceBody + nonceTag)

var (
	errNonce        = errors.New("the nonce was not made by this server")
	errNonceExpired = errors.New("the nonce is too old")
)

// newNonce returns a nonce: the time in milliseconds and 128 random bits, with a
// MAC. Nothing is stored until it is used: asking for one costs the server nothing.
func newNonce(keys *session.Keys, now time.Time) string {
	b := make([]byte, nonceBody, nonceBody+nonceTag)
	binary.BigEndian.PutUint64(b, uint64(now.UnixMilli()))
	_, _ = rand.Read(b[8:]) // never fails: crypto/rand aborts the program instead
	return base64.RawURLEncoding.EncodeToString(append(b, keys.MAC(noncePurpose, b)...))
}

// checkNonce reports whether this server, or a replica with one of its keys,
// made the nonce within its life. The encoding is strict, so that one nonce has
// one text.
func checkNonce(keys *session.Keys, nonce string, now time.Time) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(nonce) != nonceText || len(b) != nonceBody+nonceTag || !keys.Verify(noncePurpose, b[:nonceBody], b[nonceBody:]) {
		return errNonce
	}
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(b)))
	if age := now.Sub(made); age >= NonceLife || age < -nonceAhead {
		return errNonceExpired
	}
	return nil
}
