package dynamodb

import (
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// Names of attributes. Those of the indexes must appear on events and access
// requests alone: an item without them isn't in an index.
const (
	attrPK        = "pk"
	attrSK        = "sk"
	attrRev       = "rev"
	attrInvoker   = "invoker"
	attrProfile   = "profile"
	attrStatus    = "status"
	attrCreatedAt = "created_at"
	attrExpiresAt = "expires_at"
	attrReason    = "reason_code"
)

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func blob(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

// str is the attribute's text; empty when it is absent or something else.
func str(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func num(v types.AttributeValue) int64 {
	if n, ok := v.(*types.AttributeValueMemberN); ok {
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err == nil {
			return i
		}
	}
	return 0
}

func bytesOf(v types.AttributeValue) []byte {
	if b, ok := v.(*types.AttributeValueMemberB); ok {
		return b.Value
	}
	return nil
}

func micros(t time.Time) int64        { return t.UnixMicro() }
func fromMicros(us int64) time.Time   { return time.UnixMicro(us).UTC() }
func exactTime(t time.Time) time.Time { return fromMicros(micros(t)) }

// exact brings an event's times to the form in which they are stored, so that
// a notification carries the same event as a look-up.
func exact(e breakglass.Event) breakglass.Event {
	for _, t := range []*time.Time{&e.CreatedAt, &e.UpdatedAt, &e.ExpiresAt, &e.ClosedAt, &e.WarnAt} {
		*t = exactTime(*t)
	}
	return e
}

// encodeEvent is the event as attributes, legible in the console. Empty fields
// are left out.
func encodeEvent(e breakglass.Event) item {
	it := item{
		"event_id": text(e.ID), attrInvoker: text(e.Invoker), attrProfile: text(e.Profile), attrStatus: text(string(e.Status)),
		attrCreatedAt: text(stamp(e.CreatedAt)), attrExpiresAt: text(stamp(e.ExpiresAt)), "updated_at": text(stamp(e.UpdatedAt)),
		"duration_seconds": number(e.DurationSeconds),
	}
	putTimes(it, map[string]time.Time{"closed_at": e.ClosedAt, "warn_at": e.WarnAt})
	putTexts(it, map[string]string{
		"requested_by": e.RequestedBy, attrReason: string(e.ReasonCode), "justification": e.Justification, "ticket": e.Ticket,
		"closed_by": e.ClosedBy, "closed_reason": e.ClosedReason, "request_id": e.RequestID, "policy_rule": e.PolicyRule,
	})
	for name, n := range map[string]int{"sessions": e.Sessions, "extensions": e.Extensions} {
		if n != 0 {
			it[name] = number(int64(n))
		}
	}
	if e.Escalated {
		it["escalated"] = &types.AttributeValueMemberBOOL{Value: true}
	}
	return it
}

func decodeEvent(it item) (breakglass.Event, error) {
	e := breakglass.Event{
		ID: str(it["event_id"]), Invoker: str(it[attrInvoker]), RequestedBy: str(it["requested_by"]), Profile: str(it[attrProfile]),
		ReasonCode: breakglass.ReasonCode(str(it[attrReason])), Justification: str(it["justification"]), Ticket: str(it["ticket"]),
		DurationSeconds: num(it["duration_seconds"]), Status: breakglass.Status(str(it[attrStatus])),
		ClosedBy: str(it["closed_by"]), ClosedReason: str(it["closed_reason"]), RequestID: str(it["request_id"]),
		PolicyRule: str(it["policy_rule"]), Sessions: int(num(it["sessions"])), Extensions: int(num(it["extensions"])),
	}
	if b, ok := it["escalated"].(*types.AttributeValueMemberBOOL); ok {
		e.Escalated = b.Value
	}
	err := getTimes(it, map[string]*time.Time{attrCreatedAt: &e.CreatedAt, attrExpiresAt: &e.ExpiresAt, "updated_at": &e.UpdatedAt},
		map[string]*time.Time{"closed_at": &e.ClosedAt, "warn_at": &e.WarnAt})
	if err != nil {
		return e, fmt.Errorf("event %q is damaged: %w", e.ID, err)
	}
	return e, nil
}

// putTexts adds those that aren't empty.
func putTexts(it item, values map[string]string) {
	for name, value := range values {
		if value != "" {
			it[name] = text(value)
		}
	}
}

// putTimes adds those that are set.
func putTimes(it item, values map[string]time.Time) {
	for name, at := range values {
		if !at.IsZero() {
			it[name] = text(stamp(at))
		}
	}
}

// getTimes reads times; those that are optional stay zero where they are absent.
func getTimes(it item, required, optional map[string]*time.Time) error {
	get := func(name string, t *time.Time) (err error) {
		if *t, err = time.Parse(stampLayout, str(it[name])); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	for name, t := range required {
		if err := get(name, t); err != nil {
			return err
		}
	}
	for name, t := range optional {
		if it[name] == nil {
			continue
		}
		if err := get(name, t); err != nil {
			return err
		}
	}
	return nil
}
