package cli

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
)

// storyHead says what a story is about.
func (a *app) storyHead(s breakglass.Story) (names []string, values []show.Cell) {
	add := func(name, text string) {
		names, values = append(names, name), append(values, show.Cell{Text: text})
	}
	switch {
	case s.Event != nil:
		ev := *s.Event
		who := ev.Invoker
		if ev.RequestedBy != ev.Invoker {
			who += ", for whom " + ev.RequestedBy + " asked"
		}
		add("What", "break-glass event "+ev.ID+" on "+ev.Profile)
		add("Who", who)
		add("Why", string(ev.ReasonCode)+": "+ev.Justification)
		add("Ticket", ev.Ticket)
		add("Allowed by", ruleOf(s.Entries, "policy.yaml", ev.PolicyRule, breakglass.DetailPolicySHA256))
		state := statusCell(ev).Text + ", until " + show.Time(ev.ExpiresAt, a.local)
		if ev.Status != breakglass.StatusActive {
			state = a.over(ev)
		}
		add("State", state)
		add("Because", ev.ClosedReason)
	case s.Request != nil:
		r := *s.Request
		add("What", "access request "+r.ID+" on "+r.Profile)
		add("Who", r.Requester)
		add("Why", r.Justification)
		add("Ticket", r.Ticket)
		add("Allowed by", ruleOf(s.Entries, "approvals.yaml", r.ApprovalRule, breakglass.DetailApprovalSHA256))
		add("Approved by", progress(r))
		add("State", a.requestState(r))
		add("Because", r.EndedReason)
	default:
		e := breakglass.LogEntry{}
		if len(s.Entries) > 0 {
			e = s.Entries[0]
		}
		add("What", "access by standing policy to "+e.Profile)
		add("Who", e.Invoker)
		add("Allowed by", ruleOf(s.Entries, "access.yaml", e.Detail[breakglass.DetailAccessRule], breakglass.DetailAccessSHA256))
	}
	return names, values
}

// requestState says how a request stands, and until when or how it ended.
func (a *app) requestState(r breakglass.RequestView) string {
	switch {
	case r.Status.Open():
		return requestCell(r).Text + ", until " + show.Time(r.ExpiresAt, a.local)
	case r.EndedAt.IsZero():
		return string(r.Status) + " at " + a.when(r.ExpiresAt)
	}
	return string(r.Status) + " by " + person(r.EndedBy) + " at " + a.when(r.EndedAt)
}

// ruleOf names the rule that decided, and the file as it was at the first entry
// that says so.
func ruleOf(entries []breakglass.LogEntry, file, rule, shaKey string) string {
	if rule == "" {
		return ""
	}
	for _, e := range entries {
		if sha := e.Detail[shaKey]; sha != "" {
			return "rule " + rule + " of " + file + ", SHA-256 " + sha
		}
	}
	return "rule " + rule + " of " + file
}

// storyCourse is what happened, one line for each entry of the trail.
func (a *app) storyCourse(s breakglass.Story) (names []string, values []show.Cell) {
	for _, e := range s.Entries {
		names = append(names, e.Timestamp.UTC().Format("2006-01-02 15:04:05"))
		values = append(values, show.Cell{Text: a.sentenceOf(e, s), Style: entryStyle(e.Event)})
	}
	return names, values
}

// sentenceOf tells one entry in words.
func (a *app) sentenceOf(e breakglass.LogEntry, s breakglass.Story) string {
	who, until := person(e.Actor), ""
	if !e.ExpiresAt.IsZero() {
		until = " Access until " + show.Time(e.ExpiresAt, a.local) + "."
	}
	lasting := show.Seconds(e.DurationSeconds)
	switch e.Event {
	case breakglass.EntryInvoked:
		return who + " broke the glass on " + e.Profile + forWhom(e) + " for " + lasting + because(": ", string(e.ReasonCode), e.Justification) + "." + until
	case breakglass.EntryEscalated:
		return "It was escalated: the security team was alerted."
	case breakglass.EntryExtended:
		return who + " extended it" + because(" by ", extendedBy(e)) + because(": ", e.Justification) + "." + until
	case breakglass.EntryExpiring:
		return "Its approaching end was announced." + until
	case breakglass.EntryClosed:
		return who + " closed it" + because(": ", e.ClosedReason) + "."
	case breakglass.EntryExpired, breakglass.EntryRequestExpired:
		return "It expired."
	case breakglass.EntryCredentialsIssued:
		return a.issuance(e)
	case breakglass.EntryRequestCreated:
		return who + " asked for access to " + e.Profile + " for " + lasting + because(": ", e.Justification) + "."
	case breakglass.EntryRequestEndorsed, breakglass.EntryRequestApproved:
		return a.approval(e, who, until)
	case breakglass.EntryRequestDenied:
		if s.Request != nil && !s.Request.ApprovedAt.IsZero() {
			return who + " withdrew the approval" + because(": ", e.ClosedReason) + "."
		}
		return who + " denied it" + because(": ", e.ClosedReason) + "."
	case breakglass.EntryRequestCancelled:
		return who + " cancelled it" + because(": ", e.ClosedReason) + "."
	}
	return who + refusalOf(e)
}

// approval tells of one person's approval, or of the rule's.
func (a *app) approval(e breakglass.LogEntry, who, until string) string {
	if e.Event == breakglass.EntryRequestEndorsed {
		until = ""
	}
	if e.Detail[breakglass.DetailAutoApproved] == "true" {
		return "Its rule approved it without anybody." + until
	}
	return who + " approved it (" + e.Detail[breakglass.DetailApprovals] + ")" + because(": ", e.Detail[breakglass.DetailComment]) + "." + until
}

// issuance tells which credentials were issued, and by which link of the chain.
func (a *app) issuance(e breakglass.LogEntry) string {
	d := e.Detail
	text := person(e.Actor) + " got credentials " + d[breakglass.DetailAccessKeyID] + " as session " + d[breakglass.DetailRoleSessionName]
	if source := d[breakglass.DetailSourceIdentity]; source != "" {
		text += ", source identity " + source
	}
	if at, err := time.Parse(time.RFC3339, d[breakglass.DetailExpiration]); err == nil {
		text += ", until " + show.Time(at, a.local)
	}
	rule := cmp.Or(d[breakglass.DetailAccessRule], d[breakglass.DetailApprovalRule], d[breakglass.DetailPolicyRule])
	sha := cmp.Or(d[breakglass.DetailAccessSHA256], d[breakglass.DetailApprovalSHA256], d[breakglass.DetailPolicySHA256])
	if by := d[breakglass.DetailGrantedBy]; by != "" {
		text += ". Granted by " + strings.ToLower(linkWords(breakglass.Link(by)))
		if rule != "" {
			text += ", rule " + rule
		}
		if len(sha) > 12 {
			text += " (SHA-256 " + sha[:12] + "…)"
		}
	}
	return text + "."
}

// refusalOf tells of what was refused, and of entries that this version doesn't know.
func refusalOf(e breakglass.LogEntry) string {
	text := ": " + string(e.Event)
	switch e.Event {
	case breakglass.EntryDenied:
		text = " was refused" + because(" (", e.Detail[breakglass.DetailCall])
		if e.Detail[breakglass.DetailCall] != "" {
			text += ")"
		}
	case breakglass.EntryCredentialsDenied:
		text = " was refused credentials"
	}
	text += because(": ", e.Reason, e.Detail[breakglass.DetailMessage])
	if n := e.Detail[breakglass.DetailSuppressed]; n != "" {
		text += " (and " + n + " more)"
	}
	return text
}

// person names whoever did something.
func person(name string) string {
	if name == breakglass.SystemActor || name == "" {
		return "the server"
	}
	return name
}

func forWhom(e breakglass.LogEntry) string {
	if e.Invoker == e.Actor {
		return ""
	}
	return " for " + e.Invoker
}

// because joins what is known of a reason behind a separator; "" when nothing is.
// A full stop at its end is left to the sentence around it.
func because(separator string, texts ...string) string {
	var known []string
	for _, t := range texts {
		if t != "" {
			known = append(known, t)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return separator + strings.TrimSuffix(strings.Join(known, ": "), ".")
}

// extendedBy is how much longer an extension made the event.
func extendedBy(e breakglass.LogEntry) string {
	n, err := strconv.ParseInt(e.Detail[breakglass.DetailExtendedBy], 10, 64)
	if err != nil || n <= 0 {
		return ""
	}
	return show.Seconds(n)
}
