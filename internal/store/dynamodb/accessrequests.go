package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// requestMark begins what access requests have in the attributes of the
// indexes, where events have names, profiles and states. None of those begins
// with a blank (breakglass.CheckName), so a listing of either kind never meets
// the other.
const requestMark = " request "

func marked(s string) string {
	if s == "" {
		return ""
	}
	return requestMark + s
}

func unmarked(v types.AttributeValue) string { return strings.TrimPrefix(str(v), requestMark) }

// exactRequest brings a request's times to the form in which they are stored.
// Its approvals are a copy.
func exactRequest(r breakglass.AccessRequest) breakglass.AccessRequest {
	r.Approvals = slices.Clone(r.Approvals)
	for i := range r.Approvals {
		r.Approvals[i].At = exactTime(r.Approvals[i].At)
	}
	for _, t := range []*time.Time{&r.CreatedAt, &r.UpdatedAt, &r.ExpiresAt, &r.ApprovedAt, &r.EndedAt} {
		*t = exactTime(*t)
	}
	return r
}

// encodeRequest is the request as attributes, legible in the console. Empty
// fields are left out.
func encodeRequest(r breakglass.AccessRequest) item {
	it := item{
		"access_request_id": text(r.ID), attrInvoker: text(marked(r.Requester)), attrProfile: text(marked(r.Profile)),
		attrStatus: text(marked(string(r.Status))), attrCreatedAt: text(stamp(r.CreatedAt)), attrExpiresAt: text(stamp(r.ExpiresAt)),
		"updated_at": text(stamp(r.UpdatedAt)), "duration_seconds": number(r.DurationSeconds),
		"approvals_required": number(int64(r.ApprovalsRequired)),
	}
	putTimes(it, map[string]time.Time{"approved_at": r.ApprovedAt, "ended_at": r.EndedAt})
	putTexts(it, map[string]string{"justification": r.Justification, "ticket": r.Ticket, "approval_rule": r.ApprovalRule,
		"ended_by": r.EndedBy, "ended_reason": r.EndedReason, "correlation_id": r.CorrelationID})
	if r.AutoApproved {
		it["auto_approved"] = &types.AttributeValueMemberBOOL{Value: true}
	}
	if r.Sessions != 0 {
		it["sessions"] = number(int64(r.Sessions))
	}
	if r.Approvals != nil {
		list := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
		for _, a := range r.Approvals {
			m := item{"by": text(a.By), "at": text(stamp(a.At))}
			putTexts(m, map[string]string{"comment": a.Comment})
			list.Value = append(list.Value, &types.AttributeValueMemberM{Value: m})
		}
		it["approvals"] = list
	}
	return it
}

func decodeRequest(it item) (breakglass.AccessRequest, error) {
	r := breakglass.AccessRequest{
		ID: str(it["access_request_id"]), Requester: unmarked(it[attrInvoker]), Profile: unmarked(it[attrProfile]),
		Justification: str(it["justification"]), Ticket: str(it["ticket"]), DurationSeconds: num(it["duration_seconds"]),
		Status: breakglass.RequestStatus(unmarked(it[attrStatus])), ApprovalRule: str(it["approval_rule"]),
		ApprovalsRequired: int(num(it["approvals_required"])), EndedBy: str(it["ended_by"]), EndedReason: str(it["ended_reason"]),
		Sessions: int(num(it["sessions"])), CorrelationID: str(it["correlation_id"]),
	}
	if b, ok := it["auto_approved"].(*types.AttributeValueMemberBOOL); ok {
		r.AutoApproved = b.Value
	}
	err := getTimes(it, map[string]*time.Time{attrCreatedAt: &r.CreatedAt, attrExpiresAt: &r.ExpiresAt, "updated_at": &r.UpdatedAt},
		map[string]*time.Time{"approved_at": &r.ApprovedAt, "ended_at": &r.EndedAt})
	if err == nil {
		r.Approvals, err = decodeApprovals(it["approvals"])
	}
	if err != nil {
		return r, fmt.Errorf("access request %q is damaged: %w", r.ID, err)
	}
	return r, nil
}

func decodeApprovals(v types.AttributeValue) ([]breakglass.Approval, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.(*types.AttributeValueMemberL)
	if !ok {
		return nil, errors.New("its approvals are no list")
	}
	approvals := make([]breakglass.Approval, len(list.Value))
	for i, v := range list.Value {
		m, ok := v.(*types.AttributeValueMemberM)
		if !ok {
			return nil, errors.New("an approval is no map")
		}
		a := &approvals[i]
		a.By, a.Comment = str(m.Value["by"]), str(m.Value["comment"])
		if err := getTimes(m.Value, map[string]*time.Time{"at": &a.At}, nil); err != nil {
			return nil, err
		}
	}
	return approvals, nil
}

// AccessRequest implements breakglass.Store.
func (s *Store) AccessRequest(ctx context.Context, id string) (breakglass.AccessRequest, error) {
	if err := ctx.Err(); err != nil {
		return breakglass.AccessRequest{}, err
	}
	it, err := s.get(ctx, requestKey(id))
	if err != nil {
		return breakglass.AccessRequest{}, unavailable(err)
	}
	if it == nil {
		return breakglass.AccessRequest{}, breakglass.ErrNotFound
	}
	return decodeRequest(it)
}

var listedRequests = listed[breakglass.AccessRequest]{
	decode: decodeRequest,
	place: func(r breakglass.AccessRequest) breakglass.Position {
		return breakglass.Position{CreatedAt: r.CreatedAt, ID: r.ID}
	},
	states: markedStates(breakglass.RequestStatuses()...), // a request passes through them in this order
	open:   markedStates(breakglass.RequestPending, breakglass.RequestApproved),
	lapsed: marked(string(breakglass.RequestExpired)),
}

func markedStates(all ...breakglass.RequestStatus) []string {
	var out []string
	for _, s := range all {
		out = append(out, marked(string(s)))
	}
	return out
}

// AccessRequests implements breakglass.Store. It asks the indexes, which lag a
// little behind.
func (s *Store) AccessRequests(ctx context.Context, q breakglass.RequestQuery) ([]breakglass.AccessRequest, error) {
	return listAll(ctx, s, listedRequests, selection{person: marked(q.Requester), profile: marked(q.Profile), status: marked(string(q.Status)),
		before: q.Before, limit: q.Limit, now: q.Now})
}

// Standing implements breakglass.Store. It reads the guards that decisions rest
// on, in one call.
func (s *Store) Standing(ctx context.Context, p breakglass.Pair) (breakglass.Standing, error) {
	if err := ctx.Err(); err != nil {
		return breakglass.Standing{}, err
	}
	v := newView(s, nil)
	events, requests := v.pair(p.Person, p.Profile), v.openRequests(p)
	if err := v.load(ctx); err != nil {
		return breakglass.Standing{}, unavailable(err)
	}
	if err := sound(events, requests); err != nil {
		return breakglass.Standing{}, err
	}
	s.publish(v.head.seq)
	return breakglass.Standing{Event: events.active.copy(), Approved: requests.approved.copy(), Pending: requests.pending.copy(),
		LatestEntry: v.head.latest()}, nil
}
