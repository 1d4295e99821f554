package dynamodb

import (
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// Names of attributes. Those of the indexes must appear on events alone: an
// item without them isn't in an index.
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
	e.CreatedAt, e.UpdatedAt, e.ExpiresAt = exactTime(e.CreatedAt), exactTime(e.UpdatedAt), exactTime(e.ExpiresAt)
	if !e.ClosedAt.IsZero() {
		e.ClosedAt = exactTime(e.ClosedAt)
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
	if !e.ClosedAt.IsZero() {
		it["closed_at"] = text(stamp(e.ClosedAt))
	}
	for name, value := range map[string]string{
		"requested_by": e.RequestedBy, attrReason: string(e.ReasonCode), "justification": e.Justification, "ticket": e.Ticket,
		"closed_by": e.ClosedBy, "closed_reason": e.ClosedReason, "request_id": e.RequestID, "policy_rule": e.PolicyRule,
	} {
		if value != "" {
			it[name] = text(value)
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
		PolicyRule: str(it["policy_rule"]),
	}
	if b, ok := it["escalated"].(*types.AttributeValueMemberBOOL); ok {
		e.Escalated = b.Value
	}
	for name, t := range map[string]*time.Time{
		attrCreatedAt: &e.CreatedAt, attrExpiresAt: &e.ExpiresAt, "updated_at": &e.UpdatedAt, "closed_at": &e.ClosedAt,
	} {
		value, present := it[name]
		if !present && name == "closed_at" {
			continue
		}
		parsed, err := time.Parse(stampLayout, str(value))
		if err != nil {
			return e, fmt.Errorf("event %q is damaged: %s: %w", e.ID, name, err)
		}
		*t = parsed
	}
	return e, nil
}
