package breakglass

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Approve adds the caller's approval. With the last one that is needed access
// begins. Approving again what one has approved changes nothing.
func (s *Service) Approve(ctx context.Context, caller Principal, id, comment, callID string) (RequestView, error) {
	comment = strings.TrimSpace(comment)
	if problem := CheckComment(comment); problem != "" {
		return RequestView{}, s.refuseDecision(ctx, caller, CallApprove, id, callID, InvalidRequest([]FieldError{{"comment", problem}}))
	}
	return s.decideRequest(ctx, caller, CallApprove, id, callID, func(tx Tx, r AccessRequest, now time.Time) (AccessRequest, error) {
		if r.ApprovedBy(caller.Name) && r.StatusAt(now).Open() {
			return r, nil
		}
		if r.StatusAt(now) != RequestPending {
			return r, overRequestError(r.At(now))
		}
		return s.approve(ctx, tx, caller, r, comment, callID, now)
	})
}

// CheckComment returns what is wrong with a comment, or "". Empty is allowed.
func CheckComment(s string) string { return checkText(strings.TrimSpace(s), 0, MaxClosedReason) }

// approve adds an approval to a pending request, under the rule in force now.
func (s *Service) approve(ctx context.Context, tx Tx, caller Principal, r AccessRequest, comment, callID string, now time.Time) (AccessRequest, error) {
	rule, sha, ok, err := s.approvalRule(r.Profile)
	switch asked := time.Duration(r.DurationSeconds) * time.Second; {
	case err != nil:
		return r, noApprovals(err)
	case !ok: // changed since the permission was looked up
		return r, hidden(CallApprove)
	case asked > rule.MaxDuration:
		return r, &Error{Code: CodeRequestDenied, Rule: rule.Rule, AccessRequestID: r.ID, Message: fmt.Sprintf(
			"Approval rule %q now gives access for %s at most, and this request asks for %s. Deny it; it can be asked for again.",
			rule.Rule, words(rule.MaxDuration), words(asked))}
	}
	r.Approvals = append(s.standingApprovals(rule, r.Approvals), Approval{By: caller.Name, At: now, Comment: comment})
	r.ApprovalRule, r.ApprovalsRequired, r.UpdatedAt = rule.Rule, rule.Required, now
	typ := EntryRequestEndorsed
	if len(r.Approvals) >= rule.Required {
		typ, r = EntryRequestApproved, r.approved(now)
		open, err := tx.FindOpenRequests(Pair{r.Requester, r.Profile})
		if err != nil {
			return r, err
		}
		if err := s.replace(ctx, tx, caller, open.Approved, r, now); err != nil {
			return r, err
		}
	}
	entry := s.decisionEntry(ctx, typ, caller, now, r, callID)
	entry.put(DetailApprovalSHA256, sha)
	if comment != "" {
		entry.put(DetailComment, comment)
	}
	return r, s.commitDecision(tx, r, entry)
}

// standingApprovals are those of people whom the rule still names. The groups of
// somebody whom the server knows from their logins alone aren't known now: their
// approval stands as long as the rule names groups at all.
func (s *Service) standingApprovals(rule ApprovalRule, given []Approval) []Approval {
	var out []Approval
	for _, a := range given {
		p, known := s.cfg.Directory.Lookup(a.By)
		if rule.Approvers.Include(Subject{Name: a.By, Groups: p.Groups}) || !known && len(rule.Approvers.Groups) > 0 {
			out = append(out, a)
		}
	}
	return out
}

// Deny refuses a pending request, or withdraws the approval of an approved one.
func (s *Service) Deny(ctx context.Context, caller Principal, id, reason, callID string) (RequestView, error) {
	return s.endRequest(ctx, caller, CallDeny, id, reason, callID, CheckClosedReason(reason))
}

// Cancel ends the caller's own request, pending or approved. reason may be empty.
func (s *Service) Cancel(ctx context.Context, caller Principal, id, reason, callID string) (RequestView, error) {
	return s.endRequest(ctx, caller, CallCancel, id, reason, callID, CheckComment(reason))
}

func (s *Service) endRequest(ctx context.Context, caller Principal, call Call, id, reason, callID, problem string) (RequestView, error) {
	if problem != "" {
		return RequestView{}, s.refuseDecision(ctx, caller, call, id, callID, InvalidRequest([]FieldError{{"reason", problem}}))
	}
	status, typ := RequestDenied, EntryRequestDenied
	if call == CallCancel {
		status, typ = RequestCancelled, EntryRequestCancelled
	}
	return s.decideRequest(ctx, caller, call, id, callID, func(tx Tx, r AccessRequest, now time.Time) (AccessRequest, error) {
		if !r.StatusAt(now).CanTransitionTo(status) {
			return r, overRequestError(r.At(now))
		}
		r = r.ended(status, now, caller.Name, strings.TrimSpace(reason))
		return r, s.commitDecision(tx, r, s.decisionEntry(ctx, typ, caller, now, r, callID))
	})
}

func (s *Service) decisionEntry(ctx context.Context, typ EntryType, caller Principal, now time.Time, r AccessRequest, callID string) LogEntry {
	entry := entryForRequest(typ, caller.Name, now, r)
	for key, value := range callDetail(r.CorrelationID, callID) {
		entry.put(key, value)
	}
	entry.Detail = withCaller(caller, fromWhere(ctx, entry.Detail))
	return entry
}

func (s *Service) commitDecision(tx Tx, r AccessRequest, entry LogEntry) error {
	if err := tx.PutAccessRequest(r); err != nil {
		return err
	}
	return s.record(tx, entry, nil)
}

// decideRequest runs a change of a request in a transaction, for whoever may make it.
// Refusals are recorded.
func (s *Service) decideRequest(ctx context.Context, caller Principal, call Call, id, callID string,
	change func(tx Tx, r AccessRequest, now time.Time) (AccessRequest, error)) (RequestView, error) {
	// Read first, because its pair is needed for the keys: that never changes.
	known, err := s.lookUpRequest(ctx, caller, call, id)
	if err != nil {
		return RequestView{}, s.refuseDecision(ctx, caller, call, id, callID, err)
	}
	var out RequestView
	keys := Keys{RequestID: id, Requests: Pair{known.Requester, known.Profile}}
	err = s.cfg.Store.Update(ctx, keys, func(tx Tx) error {
		r, err := tx.AccessRequest(id)
		if err != nil {
			return err
		}
		if err := s.mayRequest(caller, call, r); err != nil {
			return err
		}
		// Taking access away works under a clock that is behind.
		now := s.now()
		if call == CallApprove {
			if now, err = s.begin(tx); err != nil {
				return err
			}
		}
		r, err = change(tx, r, now)
		out = r.At(now)
		return err
	})
	if err != nil {
		return RequestView{}, s.refuseDecision(ctx, caller, call, id, callID, err)
	}
	s.wakeFor(out.ExpiresAt)
	return out, nil
}

func (s *Service) refuseDecision(ctx context.Context, caller Principal, call Call, id, callID string, err error) *Error {
	if errors.Is(err, ErrNotFound) {
		err = hidden(call)
	}
	e := AsError(err)
	s.recordCall(ctx, string(call), caller, askedForRequest(caller, id, callID), e)
	return e
}
