package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"breakglass/internal/breakglass"
)

// GenesisHash is the prev_hash of the first entry of a trail.
const GenesisHash = "0000000000000000000000000000000000000000000000000000000000000000"

// Seal chains the entry to the one before it: it sets PrevHash and Hash. Seq
// must be set. Times are brought to the form in which they are stored and
// served, UTC in whole microseconds, because the hash covers that form.
func Seal(e *breakglass.LogEntry, prevHash string) {
	e.Timestamp = e.Timestamp.UTC().Truncate(time.Microsecond)
	if !e.ExpiresAt.IsZero() {
		e.ExpiresAt = e.ExpiresAt.UTC().Truncate(time.Microsecond)
	}
	e.PrevHash = prevHash
	e.Hash = hashOf(e)
}

// Hash returns the hash that belongs to the entry: the SHA-256 of its canonical
// bytes in lower-case hex. e.Hash itself is not looked at.
func Hash(e breakglass.LogEntry) string { return hashOf(&e) }

func hashOf(e *breakglass.LogEntry) string {
	// Most entries fit, so sealing one in the store's single writer costs no
	// allocation but the result.
	var buf [2048]byte
	sum := sha256.Sum256(appendCanonical(buf[:0], e))
	return hexDigest(sum)
}

func hexDigest(sum [sha256.Size]byte) string {
	var out [2 * sha256.Size]byte
	hex.Encode(out[:], sum[:])
	return string(out[:])
}

// Canonical returns the bytes that the entry's hash covers: the JSON object as
// it is served, without "hash", in the form of RFC 8785 (keys sorted, no white
// space, UTF-8, shortest escapes).
func Canonical(e breakglass.LogEntry) []byte { return appendCanonical(nil, &e) }

// AppendCanonical appends the canonical bytes of the entry to dst.
func AppendCanonical(dst []byte, e breakglass.LogEntry) []byte { return appendCanonical(dst, &e) }
