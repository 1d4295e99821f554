package audit

import (
	"fmt"
	"strconv"
	"strings"
)

// Anchor is what somebody knows about a trail from elsewhere: that the entry
// Seq has this hash. Notifications, a mirror and every earlier verification
// give such anchors. The zero Anchor stands before the first entry.
type Anchor struct {
	Seq  int64
	Hash string
}

// ParseAnchor reads an anchor in the form SEQ:HASH, as Anchor.String writes it.
func ParseAnchor(s string) (Anchor, error) {
	num, hash, ok := strings.Cut(s, ":")
	seq, err := strconv.ParseInt(num, 10, 64)
	if !ok || err != nil || seq < 1 || strconv.FormatInt(seq, 10) != num || !isHash(hash) {
		return Anchor{}, fmt.Errorf("%s is not SEQ:HASH, the number of an entry and its hash of 64 lower-case hex digits", shown(s))
	}
	return Anchor{Seq: seq, Hash: hash}, nil
}

func (a Anchor) String() string {
	if a.Seq == 0 {
		return "0:" + GenesisHash
	}
	return strconv.FormatInt(a.Seq, 10) + ":" + a.Hash
}

func isHash(s string) bool {
	if len(s) != len(GenesisHash) {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
