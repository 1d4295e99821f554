package sqlite

import (
	"encoding/json"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// eventColumns is the order in which scanEvent reads and putArgs writes.
const eventColumns = `id, invoker, requested_by, profile, reason_code, justification, ticket, duration_seconds, status, ` +
	`created_at, updated_at, expires_at, closed_at, closed_by, closed_reason, request_id, policy_rule, escalated, ` +
	`sessions, extensions, warn_at`

const (
	sqlEvent = `SELECT ` + eventColumns + ` FROM events WHERE id = ?`
	// The next two find the row in their index alone, and most find nothing:
	// the driver asks SQLite for the name and type of every column of a result,
	// even of an empty one, which costs more than the search.
	sqlActive = `SELECT pk FROM events INDEXED BY events_active WHERE invoker = ? AND profile = ? AND status = 'active'`
	sqlLast   = `SELECT pk FROM events INDEXED BY events_invoker_profile
		WHERE invoker = ? AND profile = ? ORDER BY created_at DESC, id DESC LIMIT 1`
	sqlEventByPK      = `SELECT ` + eventColumns + ` FROM events WHERE pk = ?`
	sqlCountByInvoker = `SELECT count(*), coalesce(min(created_at), 0) FROM (
		SELECT created_at FROM events INDEXED BY events_invoker
		WHERE invoker = ? AND created_at > ? ORDER BY created_at DESC LIMIT ?)`
	sqlCountByProfile = `SELECT count(*), coalesce(min(created_at), 0) FROM (
		SELECT created_at FROM events INDEXED BY events_profile
		WHERE profile = ? AND created_at > ? ORDER BY created_at DESC LIMIT ?)`
	sqlFindIdempotent = `SELECT fingerprint, event_id, created_at FROM idempotency WHERE caller = ? AND key = ?`

	sqlPutEvent = `INSERT INTO events (` + eventColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET invoker = excluded.invoker, requested_by = excluded.requested_by,
		profile = excluded.profile, reason_code = excluded.reason_code, justification = excluded.justification,
		ticket = excluded.ticket, duration_seconds = excluded.duration_seconds, status = excluded.status,
		created_at = excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
		closed_at = excluded.closed_at, closed_by = excluded.closed_by, closed_reason = excluded.closed_reason,
		request_id = excluded.request_id, policy_rule = excluded.policy_rule, escalated = excluded.escalated,
		sessions = excluded.sessions, extensions = excluded.extensions, warn_at = excluded.warn_at`
	sqlPutIdempotent = `INSERT INTO idempotency (caller, key, fingerprint, event_id, created_at) VALUES (?, ?, ?, ?, ?)`
	sqlPutEntry      = `INSERT INTO entries (seq, event, invoker, profile, recorded_at, high_water, body, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
	sqlPutDelivery = `INSERT INTO deliveries (seq, sink, next_attempt, attempts, dead, last_error, event)
		VALUES (?, ?, ?, 0, 0, '', ?)`
)

// scanner is a row of the driver or of database/sql.
type scanner interface{ Scan(dest ...any) error }

func scanEvent(r scanner) (breakglass.Event, error) {
	var e breakglass.Event
	var reason, status string
	var created, updated, expires, closed, escalated, sessions, extensions, warn int64
	err := r.Scan(&e.ID, &e.Invoker, &e.RequestedBy, &e.Profile, &reason, &e.Justification, &e.Ticket, &e.DurationSeconds,
		&status, &created, &updated, &expires, &closed, &e.ClosedBy, &e.ClosedReason, &e.RequestID, &e.PolicyRule, &escalated,
		&sessions, &extensions, &warn)
	if err != nil {
		return e, err
	}
	e.ReasonCode, e.Status = breakglass.ReasonCode(reason), breakglass.Status(status)
	e.CreatedAt, e.UpdatedAt, e.ExpiresAt = fromMicros(created), fromMicros(updated), fromMicros(expires)
	e.ClosedAt, e.WarnAt = fromOptional(closed), fromOptional(warn)
	e.Escalated = escalated != 0
	e.Sessions, e.Extensions = int(sessions), int(extensions)
	return e, nil
}

func putEvent(st *stmt, e *breakglass.Event) error {
	return st.exec(e.ID, e.Invoker, e.RequestedBy, e.Profile, string(e.ReasonCode), e.Justification, e.Ticket, e.DurationSeconds,
		string(e.Status), micros(e.CreatedAt), micros(e.UpdatedAt), micros(e.ExpiresAt), optional(e.ClosedAt), e.ClosedBy, e.ClosedReason,
		e.RequestID, e.PolicyRule, flag(e.Escalated), int64(e.Sessions), int64(e.Extensions), optional(e.WarnAt))
}

// exact brings an event's times to the form in which they are stored, so that
// a notification carries the same event as a look-up.
func exact(e breakglass.Event) breakglass.Event {
	for _, t := range []*time.Time{&e.CreatedAt, &e.UpdatedAt, &e.ExpiresAt, &e.ClosedAt, &e.WarnAt} {
		*t = fromMicros(micros(*t))
	}
	return e
}

// decodeEntry is the entry as it was sealed.
func decodeEntry(body, hash string) (breakglass.LogEntry, error) {
	var e breakglass.LogEntry
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return e, fmt.Errorf("an audit entry is damaged: %w", err)
	}
	e.Hash = hash
	return e, nil
}
