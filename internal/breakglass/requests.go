package breakglass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// NewRequest asks for access that others approve.
type NewRequest struct {
	Profile       string
	Justification string
	Ticket        string
	// Duration is how long the access lasts from its approval on; zero means the
	// default, or the rule's cap when lower.
	Duration time.Duration
	CallID   string
}

// Validate returns an *Error with every bad field, or nil.
func (in NewRequest) Validate() error {
	var bad []FieldError
	for _, f := range []FieldError{
		{"profile", CheckName(in.Profile)}, {"justification", CheckJustification(in.Justification)},
		{"ticket", CheckTicket(in.Ticket)}, {"duration_seconds", CheckRequestDuration(in.Duration)},
	} {
		if f.Message != "" {
			bad = append(bad, f)
		}
	}
	if len(bad) > 0 {
		return InvalidRequest(bad)
	}
	return nil
}

// CheckRequestDuration returns what is wrong with the duration of an access
// request, or "". Zero asks for the default.
func CheckRequestDuration(d time.Duration) string {
	if d != 0 && (d < MinDuration || d > MaxRequestDuration || d%time.Second != 0) {
		return fmt.Sprintf("must be whole seconds from %d to %d (8 hours)", int(MinDuration.Seconds()), int(MaxRequestDuration.Seconds()))
	}
	return ""
}

// Each person has this many access requests at once, and one more in each
// refill: whoever asks and cancels in a loop would bury the requests of others.
const (
	askingBurst  = 10
	askingRefill = time.Minute
)

// Request asks for access to a profile. A rule may approve it at once.
func (s *Service) Request(ctx context.Context, caller Principal, in NewRequest) (RequestView, error) {
	in.Justification, in.Ticket = strings.TrimSpace(in.Justification), strings.TrimSpace(in.Ticket)
	out, err := s.request(ctx, caller, in)
	if err != nil {
		e := AsError(err)
		s.RecordRefusedRequest(ctx, caller, in, e)
		return RequestView{}, e
	}
	return out, nil
}

// RecordRefusedRequest records a refused access request, such as a malformed
// body. in holds what could be understood of it.
func (s *Service) RecordRefusedRequest(ctx context.Context, caller Principal, in NewRequest, e *Error) {
	entry := s.refusedEntry(caller, Invocation{Profile: in.Profile, Justification: in.Justification, RequestID: in.CallID})
	if CheckRequestDuration(in.Duration) == "" {
		entry.DurationSeconds = int64(in.Duration / time.Second)
	}
	if e.AccessRequestID != "" {
		entry.put(DetailAccessRequestID, e.AccessRequestID)
	}
	s.recordCall(ctx, string(CallRequest), caller, entry, e)
}

func (s *Service) request(ctx context.Context, caller Principal, in NewRequest) (RequestView, error) {
	if err := in.Validate(); err != nil {
		return RequestView{}, err
	}
	if _, err := s.profile(in.Profile); err != nil {
		return RequestView{}, err
	}
	if wait := s.asking.spend(caller.Name, s.now()); wait > 0 {
		return RequestView{}, &Error{Code: CodeRateLimited, RetryAfter: wait,
			Message: fmt.Sprintf("You made %d requests in quick succession. Wait a little.", askingBurst)}
	}
	var out RequestView
	pair := Pair{caller.Name, in.Profile}
	err := s.cfg.Store.Update(ctx, Keys{Requests: pair}, func(tx Tx) error {
		out = RequestView{}
		now, err := s.begin(tx)
		if err != nil {
			return err
		}
		r, sha, err := s.drawUp(caller, in, now)
		if err != nil {
			return err
		}
		open, err := tx.FindOpenRequests(pair)
		if err != nil {
			return err
		}
		if p := open.Pending; p != nil {
			if p.StatusAt(now) == RequestPending {
				return &Error{Code: CodeAlreadyRequested, AccessRequestID: p.ID, ExpiresAt: p.ExpiresAt,
					Message: fmt.Sprintf("Request %s for %s waits for approval already, until %s. Cancel it first to ask for something else.",
						p.ID, in.Profile, p.ExpiresAt.Format(time.RFC3339))}
			}
			if err := s.writeRequestExpired(tx, *p, now); err != nil {
				return err
			}
		}
		out = r.At(now)
		return s.commitRequest(ctx, tx, caller, r, open.Approved, sha, now)
	})
	if err != nil {
		return RequestView{}, err
	}
	s.wakeFor(out.ExpiresAt)
	return out, nil
}

// drawUp is the request that the rules make of what was asked for, approved
// where they need nobody for it.
func (s *Service) drawUp(caller Principal, in NewRequest, now time.Time) (r AccessRequest, sha string, err error) {
	rule, sha, ok, err := s.approvalRule(in.Profile)
	if err != nil {
		return r, sha, noApprovals(err)
	}
	subject := subjectFor(caller)
	refuse := func(format string, args ...any) (AccessRequest, string, error) {
		return r, sha, &Error{Code: CodeRequestDenied, Rule: rule.Rule, Message: fmt.Sprintf(format, args...),
			Stamps: map[string]string{DetailApprovalRule: rule.Rule, DetailApprovalSHA256: sha}}
	}
	switch {
	case !ok:
		return refuse("No approval rule is about %s, so there is nobody to ask. `bgctl profiles` shows what you may invoke in an emergency.", in.Profile)
	case !rule.Requesters.Include(subject):
		return refuse("Approval rule %q doesn't let you ask for %s; %s.", rule.Rule, in.Profile, who("ask", rule.Requesters, subject))
	case rule.RequireTicket && in.Ticket == "":
		return refuse("Approval rule %q asks for a ticket: add --ticket (`ticket` in the API).", rule.Rule)
	case in.Duration > rule.MaxDuration:
		return refuse("Approval rule %q gives access for %s at most, not %s.", rule.Rule, words(rule.MaxDuration), words(in.Duration))
	}
	duration := in.Duration
	if duration == 0 {
		duration = min(DefaultRequestDuration, rule.MaxDuration)
	}
	r = AccessRequest{
		ID: NewID(), Requester: caller.Name, Profile: in.Profile, Justification: in.Justification, Ticket: in.Ticket,
		DurationSeconds: int64(duration / time.Second), Status: RequestPending, CreatedAt: now, UpdatedAt: now,
		ExpiresAt: now.Add(rule.MaxWait), ApprovalRule: rule.Rule, ApprovalsRequired: rule.Required, CorrelationID: in.CallID,
	}
	if slices.ContainsFunc(rule.Auto, func(a AutoApproval) bool { return a.Approves(subject, in.Profile, duration, now) }) {
		r.AutoApproved = true
		r = r.approved(now)
	}
	return r, sha, nil
}

// commitRequest writes a new request, and its approval where no person is
// needed. former is the approved one that it replaces then.
func (s *Service) commitRequest(ctx context.Context, tx Tx, caller Principal, r AccessRequest, former *AccessRequest, sha string, now time.Time) error {
	if r.AutoApproved {
		if err := s.replace(ctx, tx, caller, former, r, now); err != nil {
			return err
		}
	}
	if err := tx.PutAccessRequest(r); err != nil {
		return err
	}
	asked := r
	if r.AutoApproved { // the first entry says what was asked for
		asked.Status, asked.ExpiresAt = RequestPending, time.Time{}
	}
	entry := entryForRequest(EntryRequestCreated, caller.Name, now, asked)
	entry.Detail = withCaller(caller, fromWhere(ctx, entry.Detail))
	entry.put(DetailApprovalSHA256, sha)
	if err := s.record(tx, entry, nil); err != nil || !r.AutoApproved {
		return err
	}
	entry = entryForRequest(EntryRequestApproved, SystemActor, now, r)
	entry.put(DetailApprovalSHA256, sha)
	return s.record(tx, entry, nil)
}

// replace ends the approved request that another one takes the place of: one
// pair has one at a time, so that it is plain under which one credentials are.
func (s *Service) replace(ctx context.Context, tx Tx, caller Principal, former *AccessRequest, by AccessRequest, now time.Time) error {
	switch {
	case former == nil:
		return nil
	case former.StatusAt(now) == RequestExpired:
		return s.writeRequestExpired(tx, *former, now)
	}
	r := former.ended(RequestCancelled, now, SystemActor, "Replaced by request "+by.ID+".")
	if err := tx.PutAccessRequest(r); err != nil {
		return err
	}
	entry := entryForRequest(EntryRequestCancelled, SystemActor, now, r)
	entry.Detail = fromWhere(ctx, entry.Detail)
	return s.record(tx, entry, nil)
}

func (s *Service) writeRequestExpired(tx Tx, r AccessRequest, now time.Time) error {
	r = r.expired()
	if err := tx.PutAccessRequest(r); err != nil {
		return err
	}
	return s.record(tx, entryForRequest(EntryRequestExpired, SystemActor, now, r), nil)
}

// entryForRequest begins an entry about an access request as it is after the
// change. Who ended it stands where it does for events.
func entryForRequest(typ EntryType, actor string, now time.Time, r AccessRequest) LogEntry {
	e := LogEntry{
		Timestamp: now, Event: typ, RequestID: r.CorrelationID, Actor: actor, Invoker: r.Requester, Profile: r.Profile,
		Justification: r.Justification, Status: Status(r.Status), DurationSeconds: r.DurationSeconds, ExpiresAt: r.ExpiresAt,
		ClosedBy: r.EndedBy, ClosedReason: r.EndedReason,
	}
	e.put(DetailAccessRequestID, r.ID)
	e.put(DetailApprovalRule, r.ApprovalRule)
	e.put(DetailApprovals, r.progress())
	if r.Ticket != "" {
		e.put(DetailTicket, r.Ticket)
	}
	if r.AutoApproved {
		e.put(DetailAutoApproved, "true")
	}
	return e
}

// progress is how many approvals there are, such as "1 of 2".
func (r AccessRequest) progress() string {
	return fmt.Sprintf("%d of %d", len(r.Approvals), r.ApprovalsRequired)
}

// approvalRule is the rule in force about a profile; ok is false when there is
// none, or no file of them.
func (s *Service) approvalRule(profile string) (rule ApprovalRule, sha string, ok bool, err error) {
	if s.cfg.Approvals == nil {
		return rule, "", false, nil
	}
	rules, err := s.cfg.Approvals()
	if err != nil {
		return rule, "", false, err
	}
	rule, ok = rules.Find(profile)
	return rule, rules.SHA256(), ok, nil
}

func noApprovals(err error) *Error {
	return &Error{Code: CodeUnavailable, Temporary: true, RetryAfter: 10 * time.Second, Cause: err,
		Message: "No readable approval rules are loaded. An operator must mend the file; the server picks it up by itself."}
}

// overRequest says that a request is over, and how.
func overRequest(r RequestView) string {
	at := func(t time.Time) string { return t.Format(time.RFC3339) }
	switch {
	case r.Status == RequestDenied && !r.ApprovedAt.IsZero():
		return fmt.Sprintf("The approval of request %s was withdrawn by %s at %s.", r.ID, r.EndedBy, at(r.EndedAt))
	case r.Status == RequestDenied:
		return fmt.Sprintf("Request %s was denied by %s at %s: %s", r.ID, r.EndedBy, at(r.EndedAt), r.EndedReason)
	case r.Status == RequestCancelled:
		return fmt.Sprintf("Request %s was cancelled at %s.", r.ID, at(r.EndedAt))
	case r.Status == RequestApproved:
		return fmt.Sprintf("Request %s is approved already, until %s.", r.ID, at(r.ExpiresAt))
	}
	return fmt.Sprintf("Request %s expired at %s.", r.ID, at(r.ExpiresAt))
}

func overRequestError(r RequestView) *Error {
	return &Error{Code: CodeInvalidTransition, AccessRequestID: r.ID, Message: overRequest(r)}
}

// requestTarget says how a request relates to the caller. An approver is whom
// the rule in force names, except for the requester's own requests; and no
// delegate is one, since a machine that asks for others must not say yes to them.
func (s *Service) requestTarget(caller Principal, r AccessRequest) Target {
	if caller.Name != "" && caller.Name == r.Requester {
		return TargetOwn
	}
	if s.approves(caller, r.Profile) {
		return TargetDecidable
	}
	return TargetForeign
}

// approves reports whether the rule in force about a profile names the caller as
// approver. Without readable rules nobody approves.
func (s *Service) approves(caller Principal, profile string) bool {
	rule, _, ok, err := s.approvalRule(profile)
	return err == nil && ok && rule.Approvers.Include(subjectFor(caller)) && !caller.Is(RoleDelegate)
}

// mayRequest is May for a call about an access request.
func (s *Service) mayRequest(caller Principal, call Call, r AccessRequest) error {
	if refusal := May(caller, call, s.requestTarget(caller, r)); refusal != nil {
		return refusal
	}
	return nil
}

// AccessRequest returns one access request that the caller may see: their own, one
// that they may decide, or any for reviewers and auditors.
func (s *Service) AccessRequest(ctx context.Context, caller Principal, id string) (RequestView, error) {
	r, err := s.lookUpRequest(ctx, caller, CallRequestShow, id)
	if err != nil {
		e := AsError(err)
		s.recordCall(ctx, string(CallRequestShow), caller, askedForRequest(caller, id, originOf(ctx).RequestID), e)
		return RequestView{}, e
	}
	return r.At(s.now()), nil
}

func (s *Service) lookUpRequest(ctx context.Context, caller Principal, call Call, id string) (AccessRequest, error) {
	if !IsID(id) {
		return AccessRequest{}, hidden(call)
	}
	r, err := s.cfg.Store.AccessRequest(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		return r, hidden(call)
	case err != nil:
		return r, err
	}
	return r, s.mayRequest(caller, call, r)
}

// askedForRequest is what is known about a refused call for an access request.
func askedForRequest(caller Principal, id, callID string) LogEntry {
	e := LogEntry{RequestID: callID, Invoker: caller.Name}
	if IsID(id) {
		e.put(DetailAccessRequestID, id)
	}
	return e
}

// decidablePage is how many pending requests are looked through at a time for
// those that the caller may decide.
const decidablePage = 100

// AccessRequests lists access requests, newest first, and whether there are more:
// the caller's own, or any for reviewers and auditors. With decidable, it lists
// the pending ones that the caller may approve or deny, whosever they are.
func (s *Service) AccessRequests(ctx context.Context, caller Principal, q RequestQuery, decidable bool) ([]RequestView, bool, error) {
	q.Now = s.now()
	if decidable {
		return s.decidable(ctx, caller, q)
	}
	if refusal := May(caller, CallRequests, TargetForeign); refusal != nil {
		if q.Requester != "" && q.Requester != caller.Name {
			entry := LogEntry{RequestID: originOf(ctx).RequestID, Invoker: caller.Name}
			if CheckName(q.Requester) == "" {
				entry.put(DetailRequestedInvoker, q.Requester)
			}
			s.recordCall(ctx, string(CallRequests), caller, entry, refusal)
			return nil, false, refusal
		}
		q.Requester = caller.Name
	}
	wanted := q.Limit
	q.Limit++ // one more tells whether there is a next page
	found, err := s.cfg.Store.AccessRequests(ctx, q)
	if err != nil {
		return nil, false, AsError(err)
	}
	return requestViews(found, wanted, q.Now)
}

func requestViews(found []AccessRequest, wanted int, now time.Time) ([]RequestView, bool, error) {
	more := len(found) > wanted
	if more {
		found = found[:wanted]
	}
	views := make([]RequestView, len(found))
	for i, r := range found {
		views[i] = r.At(now)
	}
	return views, more, nil
}

// decidable lists the pending requests on each profile whose approver the caller is.
func (s *Service) decidable(ctx context.Context, caller Principal, q RequestQuery) ([]RequestView, bool, error) {
	wanted := q.Limit
	if q.Status != "" && q.Status != RequestPending {
		return []RequestView{}, false, nil
	}
	q.Status, q.Limit = RequestPending, decidablePage
	var mine []AccessRequest
	for _, profile := range slices.Sorted(maps.Keys(s.profiles)) {
		if q.Profile != "" && q.Profile != profile || !s.approves(caller, profile) {
			continue
		}
		on := q
		on.Profile = profile
		found, err := s.undecided(ctx, caller, on, wanted+1)
		if err != nil {
			return nil, false, AsError(err)
		}
		mine = append(mine, found...)
	}
	slices.SortFunc(mine, func(a, b AccessRequest) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	return requestViews(mine, wanted, q.Now)
}

// undecided are requests of others that the caller has not approved yet, at most
// that many. Those that they have are few: each waits for somebody else.
func (s *Service) undecided(ctx context.Context, caller Principal, q RequestQuery, most int) (mine []AccessRequest, err error) {
	for len(mine) < most {
		found, err := s.cfg.Store.AccessRequests(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if s.requestTarget(caller, r) == TargetDecidable && !r.ApprovedBy(caller.Name) {
				mine = append(mine, r)
			}
		}
		if len(found) < q.Limit {
			break
		}
		last := found[len(found)-1]
		q.Before = &Position{CreatedAt: last.CreatedAt, ID: last.ID}
	}
	return mine[:min(len(mine), most)], nil
}
