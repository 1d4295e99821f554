package mfa

import (
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- as RFC 6238 has it and every authenticator app knows it; HMAC does not rest on collisions
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
)

// The parameters that every authenticator app knows: SHA-1, six digits, a new
// code every 30 seconds. Others exist on paper, and several apps ignore them
// silently. What broke SHA-1 are collisions, which HMAC doesn't rest on.
const (
	period = 30
	digits = 6
	// skew is how many steps a code may be off, for clocks that differ and
	// people who type slowly (RFC 6238, section 5.2).
	skew = 1
	// secretSize is the length of the hash (RFC 4226, section 4, R6).
	secretSize = sha1.Size
)

// stepAt is the time step of an instant.
func stepAt(t time.Time) int64 { return t.Unix() / period }

// code is the HOTP value of a step (RFC 4226, section 5.3) as n digits.
func code(secret []byte, step int64, n int) string {
	mac := hmac.New(sha1.New, secret)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step)) // steps are positive
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	value := binary.BigEndian.Uint32(sum[at:at+4]) & 0x7fffffff
	modulus := uint32(1)
	for range n {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", n, value%modulus)
}

// find returns the step whose code this is, the latest if it is that of two; 0
// when it is that of none. Every step is compared, each in constant time.
func find(secret []byte, given string, at time.Time) (step int64) {
	for s := stepAt(at) - skew; s <= stepAt(at)+skew; s++ {
		if subtle.ConstantTimeCompare([]byte(code(secret, s, digits)), []byte(given)) == 1 {
			step = s
		}
	}
	return step
}
