package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"breakglass/internal/breakglass"
)

// cursorVersion begins every cursor, so that its form can change.
const cursorVersion = 1

// cursorBytes: version, microseconds since 1970, id of the last item, hash of the filters.
const cursorBytes = 1 + 8 + 8 + 8

// filterHash identifies a listing: a cursor continues the one that it is from,
// and no other. The page size may change on the way.
func filterHash(q breakglass.EventQuery) [8]byte {
	return hashOf("events", q.Invoker, q.Profile, q.Status, q.ReasonCode, micros(q.Since), micros(q.Until))
}

// requestFilterHash is filterHash for a listing of access requests.
func requestFilterHash(q breakglass.RequestQuery, decidable bool) [8]byte {
	return hashOf("requests", q.Requester, q.Profile, q.Status, decidable)
}

func hashOf(listing ...any) [8]byte {
	b, err := json.Marshal(listing)
	if err != nil {
		panic(err) // strings, integers and booleans always marshal
	}
	sum := sha256.Sum256(b)
	return [8]byte(sum[:8])
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMicro()
}

// encodeCursor makes a position opaque: base64url without padding.
func encodeCursor(p breakglass.Position, filters [8]byte) string {
	b := make([]byte, 0, cursorBytes)
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(p.CreatedAt.UnixMicro()))
	id, err := hex.DecodeString(p.ID)
	if err != nil || len(id) != 8 {
		return "" // not an id of ours: there is no way to continue after it
	}
	b = append(b, id...)
	b = append(b, filters[:]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor returns the position of a cursor and the hash of the filters of
// its listing.
func decodeCursor(s string) (p breakglass.Position, filters [8]byte, ok bool) {
	if len(s) != base64.RawURLEncoding.EncodedLen(cursorBytes) {
		return p, filters, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != cursorBytes || b[0] != cursorVersion {
		return p, filters, false
	}
	at := int64(binary.BigEndian.Uint64(b[1:9]))
	if at < 0 || at > lastMicros {
		return p, filters, false
	}
	p = breakglass.Position{CreatedAt: time.UnixMicro(at).UTC(), ID: hex.EncodeToString(b[9:17])}
	return p, [8]byte(b[17:]), true
}

// lastMicros is the end of the year 9999, the last that RFC 3339 can write.
const lastMicros = 253402300799999999

// cursor returns the position to continue after; nil when there is none. want is
// the hash of the other filters.
func (q query) cursor(name string, want [8]byte) *breakglass.Position {
	v, ok := q.get(name)
	if !ok {
		return nil
	}
	p, filters, ok := decodeCursor(v)
	switch {
	case !ok:
		q.faults.add(name, "is not a cursor that this call gave out")
	case len(q.faults.list) == 0 && filters != want:
		q.faults.add(name, "is of a listing with other filters; keep the filters, or start without a cursor")
	}
	return &p
}
