package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"breakglass/internal/breakglass"
)

// requestColumns is the order in which scanAccessRequest reads and
// putAccessRequest writes.
const requestColumns = `id, requester, profile, justification, ticket, duration_seconds, status, created_at, updated_at, expires_at, ` +
	`approval_rule, approvals_required, approvals, auto_approved, approved_at, ended_at, ended_by, ended_reason, sessions, correlation_id`

const (
	sqlAccessRequest     = `SELECT ` + requestColumns + ` FROM access_requests WHERE id = ?`
	sqlAccessRequestByPK = `SELECT ` + requestColumns + ` FROM access_requests WHERE pk = ?`
	// The rows of the open requests of a pair, from their index alone; 0: none.
	sqlOpenRequests = `SELECT coalesce(max(iif(status = 'pending', pk, 0)), 0), coalesce(max(iif(status = 'approved', pk, 0)), 0)
		FROM access_requests INDEXED BY access_requests_open
		WHERE requester = ? AND profile = ? AND status IN ('pending', 'approved')`
	sqlPutAccessRequest = `INSERT INTO access_requests (` + requestColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET requester = excluded.requester, profile = excluded.profile,
		justification = excluded.justification, ticket = excluded.ticket, duration_seconds = excluded.duration_seconds,
		status = excluded.status, created_at = excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
		approval_rule = excluded.approval_rule, approvals_required = excluded.approvals_required, approvals = excluded.approvals,
		auto_approved = excluded.auto_approved, approved_at = excluded.approved_at, ended_at = excluded.ended_at,
		ended_by = excluded.ended_by, ended_reason = excluded.ended_reason, sessions = excluded.sessions,
		correlation_id = excluded.correlation_id`
)

func scanAccessRequest(r scanner) (breakglass.AccessRequest, error) {
	var q breakglass.AccessRequest
	var status, approvals string
	var created, updated, expires, required, auto, approved, ended, sessions int64
	err := r.Scan(&q.ID, &q.Requester, &q.Profile, &q.Justification, &q.Ticket, &q.DurationSeconds, &status, &created, &updated, &expires,
		&q.ApprovalRule, &required, &approvals, &auto, &approved, &ended, &q.EndedBy, &q.EndedReason, &sessions, &q.CorrelationID)
	if err != nil {
		return q, err
	}
	if err := json.Unmarshal([]byte(approvals), &q.Approvals); err != nil {
		return q, fmt.Errorf("access request %q is damaged: its approvals: %w", q.ID, err)
	}
	q.Status = breakglass.RequestStatus(status)
	q.CreatedAt, q.UpdatedAt, q.ExpiresAt = fromMicros(created), fromMicros(updated), fromMicros(expires)
	q.ApprovedAt, q.EndedAt = fromOptional(approved), fromOptional(ended)
	q.ApprovalsRequired, q.Sessions, q.AutoApproved = int(required), int(sessions), auto != 0
	return q, nil
}

func putAccessRequest(st *stmt, q *breakglass.AccessRequest) error {
	approvals, err := json.Marshal(q.Approvals)
	if err != nil {
		return fmt.Errorf("access request %q: its approvals: %w", q.ID, err)
	}
	return st.exec(q.ID, q.Requester, q.Profile, q.Justification, q.Ticket, q.DurationSeconds, string(q.Status), micros(q.CreatedAt),
		micros(q.UpdatedAt), micros(q.ExpiresAt), q.ApprovalRule, int64(q.ApprovalsRequired), string(approvals), flag(q.AutoApproved),
		optional(q.ApprovedAt), optional(q.EndedAt), q.EndedBy, q.EndedReason, int64(q.Sessions), q.CorrelationID)
}

// AccessRequest implements breakglass.Store.
func (s *Store) AccessRequest(ctx context.Context, id string) (breakglass.AccessRequest, error) {
	found, err := s.accessRequests(ctx, sqlAccessRequest, id)
	if err != nil {
		return breakglass.AccessRequest{}, err
	}
	if len(found) == 0 {
		return breakglass.AccessRequest{}, breakglass.ErrNotFound
	}
	return found[0], nil
}

// AccessRequests implements breakglass.Store.
func (s *Store) AccessRequests(ctx context.Context, q breakglass.RequestQuery) ([]breakglass.AccessRequest, error) {
	if q.Limit < 1 {
		return nil, errLimit
	}
	text, args := requestsSQL(q)
	return s.accessRequests(ctx, text, args...)
}

func (s *Store) accessRequests(ctx context.Context, text string, args ...any) ([]breakglass.AccessRequest, error) {
	found, err := s.scanAccessRequests(ctx, text, args)
	if err != nil {
		return nil, s.readError("access requests", err)
	}
	return found, nil
}

func (s *Store) scanAccessRequests(ctx context.Context, text string, args []any) (_ []breakglass.AccessRequest, err error) {
	rows, err := s.read.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var found []breakglass.AccessRequest
	for rows.Next() {
		r, err := scanAccessRequest(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

// requestsSQL is the listing as SQL, put together as that of events is.
func requestsSQL(q breakglass.RequestQuery) (string, []any) {
	var b listingBuilder
	switch {
	case q.Status.Open():
		b.requests(q, q.Status, "expires_at > ?")
	case q.Status == breakglass.RequestExpired:
		b.requests(q, q.Status, "")
		for _, open := range []breakglass.RequestStatus{breakglass.RequestPending, breakglass.RequestApproved} {
			b.text.WriteString(" UNION ALL ")
			b.requests(q, open, "expires_at <= ?")
		}
	default:
		b.requests(q, q.Status, "")
	}
	return b.end(q.Limit)
}

// requests is one SELECT over requests stored with the given status ("" for any).
func (b *listingBuilder) requests(q breakglass.RequestQuery, stored breakglass.RequestStatus, lapse string) {
	b.text.WriteString("SELECT " + requestColumns + " FROM access_requests INDEXED BY " + requestsIndex(q, stored) + " WHERE TRUE")
	b.when(q.Requester != "", "requester = ?", q.Requester)
	b.when(q.Profile != "", "profile = ?", q.Profile)
	b.when(stored != "", "status = ?", string(stored))
	b.when(lapse != "", lapse, micros(q.Now))
	b.before(q.Before)
}

// requestsIndex chooses the index as eventsIndex does.
func requestsIndex(q breakglass.RequestQuery, stored breakglass.RequestStatus) string {
	switch {
	case stored.Open():
		return "access_requests_status"
	case q.Requester != "" && q.Profile != "":
		return "access_requests_requester_profile"
	case q.Requester != "":
		return "access_requests_requester"
	case q.Profile != "":
		return "access_requests_profile"
	case stored != "":
		return "access_requests_status"
	}
	return "access_requests_created"
}

// AccessRequest implements breakglass.Tx.
func (t *tx) AccessRequest(id string) (breakglass.AccessRequest, error) {
	if err := t.lookup("access request "+id, id == t.keys.RequestID && id != ""); err != nil {
		return breakglass.AccessRequest{}, err
	}
	r, err := t.fetchRequest(t.w.c.accessRequest, id)
	if err != nil {
		return breakglass.AccessRequest{}, err
	}
	if r == nil {
		return breakglass.AccessRequest{}, breakglass.ErrNotFound
	}
	t.known.request = r
	return *r, nil
}

// fetchRequest returns the request that a prepared statement finds, or nil.
func (t *tx) fetchRequest(st *stmt, arg driver.Value) (*breakglass.AccessRequest, error) {
	var r breakglass.AccessRequest
	var scanErr error
	found, err := st.first(func(v []driver.Value) { r, scanErr = scanAccessRequest(scanRow(v)) }, arg)
	if err = errors.Join(err, scanErr); err != nil {
		t.broken = err
		return nil, err
	}
	if !found {
		return nil, nil
	}
	return &r, nil
}

// requests reports whether the open requests of the pair were announced.
func (t *tx) requests(p breakglass.Pair) bool {
	return p.Person != "" && p.Profile != "" && p == t.keys.Requests
}

// FindOpenRequests implements breakglass.Tx.
func (t *tx) FindOpenRequests(p breakglass.Pair) (breakglass.OpenRequests, error) {
	var open breakglass.OpenRequests
	if err := t.lookup("the open requests of "+p.Person+" on "+p.Profile, t.requests(p)); err != nil {
		return open, err
	}
	var pks [2]driver.Value
	_, err := t.w.c.openRequests.first(func(v []driver.Value) { copy(pks[:], v) }, p.Person, p.Profile)
	if err != nil {
		t.broken = err
		return open, err
	}
	for i, to := range []**breakglass.AccessRequest{&open.Pending, &open.Approved} {
		if pks[i] == int64(0) {
			continue
		}
		if *to, err = t.fetchRequest(t.w.c.requestByPK, pks[i]); err != nil {
			return breakglass.OpenRequests{}, err
		}
	}
	return open, nil
}

// PutAccessRequest implements breakglass.Tx. It takes a copy of the approvals.
func (t *tx) PutAccessRequest(r breakglass.AccessRequest) error {
	announced := r.ID != "" && (r.ID == t.keys.RequestID || t.requests(breakglass.Pair{Person: r.Requester, Profile: r.Profile}))
	if err := t.lookup("access request "+r.ID, announced); err != nil {
		return err
	}
	r.Approvals = slices.Clone(r.Approvals)
	for i := range r.Approvals {
		r.Approvals[i].At = fromMicros(micros(r.Approvals[i].At))
	}
	t.writes = append(t.writes, write{request: &r, counts: t.known.onlyCountsRequest(r)})
	return nil
}
