package breakglass

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CredentialsFor issues credentials for a profile by the mildest means that
// applies: standing policy, an approved access request, an active event. A
// refusal is CodeAccessDenied with what each link said in Links.
func (s *Service) CredentialsFor(ctx context.Context, caller Principal, profile, callID string) (Issued, error) {
	out, err := s.credentialsFor(ctx, caller, profile, callID)
	if err == nil {
		return out, nil
	}
	var done refusedOnRecord
	if errors.As(err, &done) {
		return Issued{}, done.refusal
	}
	entry := LogEntry{RequestID: callID, Invoker: caller.Name}
	if CheckName(profile) == "" {
		entry.Profile = profile
	}
	e := AsError(err)
	s.recordRefusal(ctx, EntryCredentialsDenied, caller, entry, e)
	return Issued{}, e
}

func (s *Service) credentialsFor(ctx context.Context, caller Principal, name, callID string) (Issued, error) {
	if problem := CheckName(name); problem != "" {
		return Issued{}, InvalidRequest([]FieldError{{Field: "profile", Message: problem}})
	}
	profile, err := s.profile(name)
	if err != nil {
		return Issued{}, err
	}
	standing, err := s.cfg.Store.Standing(ctx, Pair{caller.Name, name})
	if err != nil {
		return Issued{}, err
	}
	now := s.now()
	if err := s.clockAgainst(standing.LatestEntry, now); err != nil {
		return Issued{}, err
	}
	a := asked{subject: subjectFor(caller), profile: profile, standing: standing, now: now}
	grant, answers := s.walk(a)
	if grant.Link == "" {
		return Issued{}, s.noLink(ctx, a, answers)
	}
	if grant.Link == LinkPolicy {
		grant.ID, grant.CorrelationID = newDecisionID(now), callID
	}
	return s.issueUnder(ctx, caller, a, grant, answers, callID)
}

func subjectFor(p Principal) Subject { return Subject{Name: p.Name, Groups: p.Groups} }

// asked is what the chain decides on: who asks for what, what they have open
// there, and when.
type asked struct {
	subject  Subject
	profile  Profile
	standing Standing
	now      time.Time
}

// walk asks the links in their order. The grant is that of the first one that
// allows; without any it is zero.
func (s *Service) walk(a asked) (Grant, []LinkAnswer) {
	var answers []LinkAnswer
	for _, link := range Links() {
		grant, answer := s.ask(link, a)
		if answers = append(answers, answer); answer.Outcome == OutcomeAllowed {
			return grant, answers
		}
	}
	return Grant{}, answers
}

// ask asks one link. It is where access is decided, before credentials are made
// and again when their issuance is committed.
func (s *Service) ask(link Link, a asked) (Grant, LinkAnswer) {
	g := Grant{Link: link, Holder: a.subject.Name}
	var answer LinkAnswer
	switch link {
	case LinkPolicy:
		answer = s.askPolicy(a, &g)
	case LinkRequest:
		answer = s.askRequest(a, &g)
	case LinkBreakglass:
		answer = s.askBreakglass(a, &g)
	}
	answer.Link = link
	if answer.Outcome != OutcomeAllowed {
		return Grant{}, answer
	}
	return g, answer
}

// askPolicy asks the standing policy. It has nothing to do with what is open.
func (s *Service) askPolicy(a asked, g *Grant) LinkAnswer {
	if s.cfg.Access == nil {
		return LinkAnswer{Outcome: OutcomeAbsent, Message: "This server has no standing access policy."}
	}
	policy, err := s.cfg.Access()
	if err != nil {
		return unreadable("standing access policy")
	}
	d := policy.Decide(a.subject, a.profile.Name, a.now)
	switch {
	case d.Permit:
		g.Rule, g.PolicySHA256, g.Until = d.Rule, policy.SHA256(), d.Until
		g.Ends = a.now.Add(d.MaxSession)
		if !d.Until.IsZero() && d.Until.Before(g.Ends) {
			g.Ends = d.Until
		}
		return LinkAnswer{Outcome: OutcomeAllowed, Rule: d.Rule, Message: fmt.Sprintf("Standing access by rule %q.", d.Rule)}
	case d.Rule != "":
		return LinkAnswer{Outcome: OutcomeDenied, Rule: d.Rule, Message: d.Message}
	}
	answer := LinkAnswer{Outcome: OutcomeAbsent, Message: d.Message}
	if people := policy.Who(a.profile.Name); !people.Include(a.subject) { // else the message says when
		answer.Next = who("have standing access", people, a.subject)
	}
	return answer
}

func unreadable(what string) LinkAnswer {
	return LinkAnswer{Outcome: OutcomeUnavailable, Message: "The " + what + " can't be read, so nothing is granted by it. " +
		"An operator must mend the file; the server picks it up by itself."}
}

// askRequest asks for an approved access request.
func (s *Service) askRequest(a asked, g *Grant) LinkAnswer {
	r := a.standing.Approved
	if r == nil || r.StatusAt(a.now) != RequestApproved {
		return s.noRequest(a)
	}
	answer := LinkAnswer{RequestID: r.ID}
	rule, sha, ok, err := s.approvalRule(a.profile.Name)
	switch {
	case err != nil:
		answer = unreadable("file of approval rules")
		answer.RequestID = r.ID
		return answer
	case !ok || !rule.Requesters.Include(a.subject):
		answer.Outcome = OutcomeWithdrawn
		answer.Message = fmt.Sprintf("Request %s was approved, but the approval rules no longer let you ask for %s.", r.ID, a.profile.Name)
		return answer
	}
	answer.Rule = rule.Rule
	if exhausted(&answer, rule.Terms, r.Sessions, "request "+r.ID) {
		answer.Next = "bgctl request " + quoted(a.profile.Name) + ` --justification "…"`
		return answer
	}
	answer.Outcome = OutcomeAllowed
	answer.Message = fmt.Sprintf("Request %s is approved until %s.", r.ID, r.ExpiresAt.Format(time.RFC3339))
	g.ID, g.Rule, g.PolicySHA256, g.CorrelationID = r.ID, rule.Rule, sha, r.CorrelationID
	g.until(r.ExpiresAt, a.now, rule.MaxSession)
	return answer
}

// until ends the grant, and its credentials then or with the longest session.
func (g *Grant) until(end, now time.Time, maxSession time.Duration) {
	g.Until, g.Ends = end, end
	if session := now.Add(maxSession); maxSession > 0 && session.Before(end) {
		g.Ends = session
	}
}

// exhausted says that a rule leaves no further issuance.
func exhausted(answer *LinkAnswer, t Terms, sessions int, what string) bool {
	if t.MaxRenewals == nil || sessions <= *t.MaxRenewals {
		return false
	}
	answer.Outcome = OutcomeExhausted
	answer.Message = fmt.Sprintf("Rule %q lets credentials of %s be renewed %d times, and they were.", t.Rule, what, *t.MaxRenewals)
	return true
}

// noRequest says why there is no access by an approved request, and whether one
// can be made.
func (s *Service) noRequest(a asked) LinkAnswer {
	if p := a.standing.Pending; p != nil && p.StatusAt(a.now) == RequestPending {
		return LinkAnswer{Outcome: OutcomePending, RequestID: p.ID, Rule: p.ApprovalRule,
			Message: fmt.Sprintf("Request %s has %s approvals, and waits until %s.", p.ID, p.progress(), p.ExpiresAt.Format(time.RFC3339)),
			Next:    "bgctl requests " + p.ID}
	}
	answer := LinkAnswer{Outcome: OutcomeAbsent, Message: "You have no approved request for this profile."}
	for _, r := range []*AccessRequest{a.standing.Approved, a.standing.Pending} {
		if r != nil && r.StatusAt(a.now) == RequestExpired {
			answer = LinkAnswer{Outcome: OutcomeExpired, RequestID: r.ID,
				Message: fmt.Sprintf("Request %s expired at %s.", r.ID, r.ExpiresAt.Format(time.RFC3339))}
			break
		}
	}
	rule, _, ok, err := s.approvalRule(a.profile.Name)
	switch {
	case err != nil && answer.Outcome == OutcomeAbsent:
		return unreadable("file of approval rules")
	case err != nil:
	case !ok:
		answer.Message += " Nobody can ask for it here: no approval rule is about it."
	case rule.Requesters.Include(a.subject):
		answer.Rule, answer.Next = rule.Rule, "bgctl request "+quoted(a.profile.Name)+` --justification "…"`+ticket(rule.RequireTicket)
	default:
		answer.Rule, answer.Next = rule.Rule, who("ask for access", rule.Requesters, a.subject)
	}
	return answer
}

// askBreakglass asks for an active event.
func (s *Service) askBreakglass(a asked, g *Grant) LinkAnswer {
	policy, err := s.cfg.Policy()
	if err != nil {
		return unreadable("break-glass policy")
	}
	ev := a.standing.Event
	if ev == nil || ev.StatusAt(a.now) != StatusActive {
		return s.noEvent(a, policy)
	}
	answer := LinkAnswer{EventID: ev.ID}
	terms, ok := policy.Terms(a.subject, a.profile.Name)
	if !ok {
		answer.Outcome = OutcomeWithdrawn
		answer.Message = fmt.Sprintf("Event %s is active, but policy no longer has a rule that lets you break the glass of %s.", ev.ID, a.profile.Name)
		return answer
	}
	answer.Rule = terms.Rule
	if exhausted(&answer, terms, ev.Sessions, "event "+ev.ID) {
		answer.Next = "bgctl close " + ev.ID + ", then bgctl invoke " + quoted(a.profile.Name)
		return answer
	}
	answer.Outcome = OutcomeAllowed
	answer.Message = fmt.Sprintf("Event %s is active until %s.", ev.ID, ev.ExpiresAt.Format(time.RFC3339))
	g.ID, g.Rule, g.PolicySHA256 = ev.ID, terms.Rule, policy.SHA256()
	g.ReasonCode, g.CorrelationID = ev.ReasonCode, ev.RequestID
	g.until(ev.ExpiresAt, a.now, terms.MaxSession)
	return answer
}

// noEvent says that there is no active event, and whether one can be had.
func (s *Service) noEvent(a asked, policy Policy) LinkAnswer {
	answer := LinkAnswer{Outcome: OutcomeAbsent, Message: "You have no active event on this profile."}
	if ev := a.standing.Event; ev != nil {
		answer.EventID = ev.ID
		answer.Outcome, answer.Message = OutcomeExpired, fmt.Sprintf("Event %s expired at %s.", ev.ID, ev.ExpiresAt.Format(time.RFC3339))
		if v := ev.At(a.now); v.Status == StatusClosed {
			answer.Outcome, answer.Message = OutcomeWithdrawn, fmt.Sprintf("Event %s was closed by %s at %s.", v.ID, v.ClosedBy, v.ClosedAt.Format(time.RFC3339))
		}
	}
	if offer, ok := policy.Offer(a.subject, a.profile.Name, a.now); ok {
		answer.Rule = offer.Rule
		reason := ReasonIncident
		if len(offer.ReasonCodes) > 0 && !slices.Contains(offer.ReasonCodes, reason) {
			reason = offer.ReasonCodes[0]
		}
		answer.Next = "bgctl invoke " + quoted(a.profile.Name) + " --reason " + string(reason) + ` --justification "…"` + ticket(offer.TicketRequired)
		return answer
	}
	answer.Next = who("break the glass", policy.Who(a.profile.Name), a.subject)
	return answer
}

// ticket is the flag that a rule wants besides.
func ticket(required bool) string {
	if required {
		return " --ticket …"
	}
	return ""
}

// quoted is a profile's name as an argument of a command line.
func quoted(name string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._/@", r)
	}
	if strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 && !strings.HasPrefix(name, "-") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// maxNamed bounds how many people and groups a refusal names.
const maxNamed = 5

// who names those who may do something that the subject may not do now.
func who(what string, p People, subject Subject) string {
	if p.Include(subject) {
		return "you may " + what + " here, but not now"
	}
	var names []string
	for _, g := range p.Groups {
		names = append(names, "group "+g)
	}
	names = append(names, p.Users...)
	switch {
	case len(names) == 0:
		return "" // the message says that there is no rule
	case len(names) > maxNamed:
		names = append(names[:maxNamed], "…")
	}
	return "who may " + what + ": " + strings.Join(names, ", ")
}

// noLink is the refusal of a call that no link allows. What has ended lately is
// looked up for the explanation alone: nothing was decided by it.
func (s *Service) noLink(ctx context.Context, a asked, answers []LinkAnswer) *Error {
	for i := range answers {
		s.explain(ctx, a, &answers[i])
	}
	e := &Error{Code: CodeAccessDenied, Links: answers, Stamps: map[string]string{DetailLinks: summary(answers)},
		Message: fmt.Sprintf("Nothing gives you access to %s now.", a.profile.Name)}
	for _, answer := range answers {
		e.Message += " " + answer.Message
		if answer.Outcome == OutcomeUnavailable {
			e.Code, e.Temporary, e.RetryAfter = CodeUnavailable, true, 10*time.Second
		}
	}
	return e
}

// explain replaces "there is none" by how the last one ended.
func (s *Service) explain(ctx context.Context, a asked, answer *LinkAnswer) {
	if answer.Outcome != OutcomeAbsent {
		return
	}
	switch answer.Link {
	case LinkRequest:
		last, err := s.cfg.Store.AccessRequests(ctx, RequestQuery{Requester: a.subject.Name, Profile: a.profile.Name, Limit: 1, Now: a.now})
		if err != nil || len(last) == 0 || last[0].StatusAt(a.now).Open() {
			return
		}
		r := last[0].At(a.now)
		answer.RequestID, answer.Outcome, answer.Message = r.ID, requestOutcome(r), overRequest(r)
	case LinkBreakglass:
		last, err := s.cfg.Store.Events(ctx, EventQuery{Invoker: a.subject.Name, Profile: a.profile.Name, Limit: 1, Now: a.now})
		if err != nil || len(last) == 0 || last[0].StatusAt(a.now) == StatusActive {
			return
		}
		v := last[0].At(a.now)
		answer.EventID, answer.Outcome = v.ID, OutcomeExpired
		answer.Message = fmt.Sprintf("Event %s expired at %s.", v.ID, v.ExpiresAt.Format(time.RFC3339))
		if v.Status == StatusClosed {
			answer.Outcome, answer.Message = OutcomeWithdrawn, fmt.Sprintf("Event %s was closed by %s at %s.", v.ID, v.ClosedBy, v.ClosedAt.Format(time.RFC3339))
		}
	}
}

// requestOutcome tells a refusal from a withdrawal: only the latter took
// something away.
func requestOutcome(r RequestView) Outcome {
	switch {
	case r.Status == RequestExpired:
		return OutcomeExpired
	case r.ApprovedAt.IsZero() && r.Status == RequestDenied:
		return OutcomeDenied
	}
	return OutcomeWithdrawn
}

// summary is what the links said, for the trail: "policy: denied (rule); …".
func summary(answers []LinkAnswer) string {
	words := make([]string, len(answers))
	for i, a := range answers {
		words[i] = string(a.Link) + ": " + string(a.Outcome)
		for _, of := range []string{a.Rule, a.RequestID, a.EventID} {
			if of != "" {
				words[i] += " " + strconv.Quote(of)
			}
		}
	}
	return strings.Join(words, "; ")
}

// newDecisionID names a decision by standing policy, which has no record but its
// entry in the trail. Its first half is the time, so that the entry is found
// again; the second keeps the decisions of one second apart.
func newDecisionID(now time.Time) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return fmt.Sprintf("%08x", uint32(now.Unix())) + hex.EncodeToString(b[:])
}

// decidedAt is the time in a decision's id.
func decidedAt(id string) time.Time {
	seconds, err := strconv.ParseUint(id[:8], 16, 32)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
