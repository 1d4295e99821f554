package dynamodb

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// item is an item as DynamoDB has it.
type item = map[string]types.AttributeValue

// key is the primary key of an item.
type key struct{ pk, sk string }

func (k key) item() item {
	return item{attrPK: text(k.pk), attrSK: text(k.sk)}
}

func keyOf(it item) key { return key{str(it[attrPK]), str(it[attrSK])} }

const (
	pkActive      = "active"
	pkIdempotency = "idempotency"
	pkFactor      = "factor"

	statePending = "p"
	stateDead    = "d"
)

var (
	keyHead   = key{"journal", "head"}
	keyLayout = key{"meta", "schema"}
)

// bucketSize is how many audit entries share a partition key. It spreads the
// trail over partitions while a page of the feed mostly needs one query.
const bucketSize = 1000

// separator ends a name inside a key.
var escaper = strings.NewReplacer("%", "%25", "#", "%23")

// escape keeps names apart that are put together to a key. The longest name has
// 1,024 bytes and grows only where it has characters of one byte, so it fits
// into a sort key (1,024 bytes).
func escape(s string) string { return escaper.Replace(s) }

func eventKey(id string) key              { return key{"event#" + id, "event"} }
func pairKey(invoker, profile string) key { return key{"pair#" + escape(invoker), escape(profile)} }
func userKey(invoker string) key          { return key{"user#" + escape(invoker), "history"} }
func profileKey(profile string) key       { return key{"profile#" + escape(profile), "history"} }
func pageKey(history key, page int64) key { return key{history.pk, fmt.Sprintf("page#%08d", page)} }
func requestKey(id string) key            { return key{"request#" + id, "request"} }
func requestsKey(p breakglass.Pair) key {
	return key{"requests#" + escape(p.Person), escape(p.Profile)}
}

// agendaKey is the place of a task on the agenda: in the order of the moments.
// An id never holds the separator, so events and requests are told apart.
func agendaKey(t breakglass.Task) key {
	if t.RequestID != "" {
		return key{pkActive, stamp(t.At) + "#" + requestPrefix + t.RequestID}
	}
	return key{pkActive, stamp(t.At) + "#" + t.EventID}
}

const requestPrefix = "request#"

func dueEvent(e breakglass.Event) key {
	return agendaKey(breakglass.Task{At: e.DueAt(), EventID: e.ID})
}

func dueRequest(r breakglass.AccessRequest) key {
	return agendaKey(breakglass.Task{At: r.ExpiresAt, RequestID: r.ID})
}

// promiser is the item of the event or access request that a place on the
// agenda leads to.
func promiser(agenda key) key {
	_, id, _ := strings.Cut(agenda.sk, "#")
	if id, ok := strings.CutPrefix(id, requestPrefix); ok {
		return requestKey(id)
	}
	return eventKey(id)
}

func entryKey(seq int64) key {
	return key{fmt.Sprintf("journal#%013d", (seq-1)/bucketSize), fmt.Sprintf("%019d", seq)}
}

// deliveryPK gives each sink a partition key of its own: what waits for one
// doesn't slow down another.
func deliveryPK(sink string) string { return "delivery#" + escape(sink) }

func deliveryKey(sink, state string, due, seq int64) key {
	return key{deliveryPK(sink), fmt.Sprintf("%s#%019d#%019d", state, due, seq)}
}

// parseDelivery reads what deliveryKey has put into a sort key; ok is false for
// every other text.
func parseDelivery(sk string) (state string, due, seq int64, ok bool) {
	state, rest, _ := strings.Cut(sk, "#")
	first, second, _ := strings.Cut(rest, "#")
	due, err1 := strconv.ParseInt(first, 10, 64)
	seq, err2 := strconv.ParseInt(second, 10, 64)
	known := state == statePending || state == stateDead
	return state, due, seq, err1 == nil && err2 == nil && known && deliveryKey("", state, due, seq).sk == sk
}

// sinkKey is the mark of a sink that has, or once had, deliveries. It stands
// beside the marks of the layout: a table with nothing else is empty.
func sinkKey(sink string) key { return key{keyLayout.pk, sinkPrefix + escape(sink)} }

const sinkPrefix = "sink#"

func idempotencyKey(caller, name string) key {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d:%s%s", len(caller), caller, name) // a hash takes everything
	return key{pkIdempotency, hex.EncodeToString(h.Sum(nil))}
}

// stampLayout is fixed-width, so that the order of the texts is that of the times.
const stampLayout = "2006-01-02T15:04:05.000000Z"

func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }
