package cli

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
	"breakglass/internal/problem"
)

// exitOf is the exit code for a code of the server.
func exitOf(code breakglass.Code) int {
	switch code {
	case breakglass.CodeInvalidRequest, breakglass.CodeMalformed, breakglass.CodeIdempotencyMismatch:
		return exitUsage
	case breakglass.CodeUnauthenticated, breakglass.CodeForbidden, breakglass.CodePolicyDenied,
		breakglass.CodeMFARequired, breakglass.CodeMFAInvalid,
		breakglass.CodeAccessDenied, breakglass.CodeRequestDenied, breakglass.CodeExtensionRefused:
		return exitNotAllowed
	case breakglass.CodeAlreadyActive, breakglass.CodeInvalidTransition, breakglass.CodeMFAEnrolled, breakglass.CodeAlreadyRequested:
		return exitConflict
	case breakglass.CodeRateLimited:
		return exitRateLimited
	case breakglass.CodeProfileUnknown, breakglass.CodeEventNotFound, breakglass.CodeRequestNotFound, breakglass.CodeNotFound,
		breakglass.CodeMFANotEnrolled:
		return exitNotFound
	case breakglass.CodeUnavailable:
		return exitUnreachable
	}
	return exitFailure
}

// exitOfStatus is the exit code for a code that this version doesn't know.
func exitOfStatus(status int) int {
	switch {
	case status == 401 || status == 403:
		return exitNotAllowed
	case status == 404 || status == 410:
		return exitNotFound
	case status == 409:
		return exitConflict
	case status == 422 || status == 400:
		return exitUsage
	case status == 429:
		return exitRateLimited
	case status == 503:
		return exitUnreachable
	}
	return exitFailure
}

// explainRefusal explains what the server refused. The server's own sentence
// comes first: it knows best.
func (a *app) explainRefusal(err error, e *breakglass.Error) explanation {
	ex := explanation{exit: exitOf(e.Code), what: e.Message}
	var answer *client.RefusedError
	requestID := ""
	if errors.As(err, &answer) {
		requestID = answer.RequestID
		if _, known := problem.Codes()[e.Code]; !known {
			ex.exit = exitOfStatus(answer.Status)
		}
	}
	ex.problem = problem.From(e, requestID)
	if answer != nil {
		ex.problem.Status = answer.Status
	}
	for _, f := range e.Fields {
		ex.fact(a.flagOf(f.Field), f.Message)
	}
	var unknown *unknownProfile
	if errors.As(err, &unknown) {
		suggestProfiles(&ex, unknown.profile, unknown.offers)
	}
	a.explainCode(&ex, e)
	ex.now = slices.DeleteFunc(ex.now, func(now string) bool {
		command := strings.Split(now, "`")
		return len(command) == 3 && strings.Contains(e.Message, "`"+command[1]+"`") // already said
	})
	if e.Code == breakglass.CodeUnavailable || e.Code == breakglass.CodeCredentialsRefused || ex.exit == exitFailure {
		ex.fact("Request id", requestID)
	}
	return ex
}

func (a *app) explainCode(ex *explanation, e *breakglass.Error) {
	switch e.Code {
	case breakglass.CodeUnauthenticated:
		a.explainUnauthenticated(ex)
	case breakglass.CodeForbidden:
		ex.do("`bgctl whoami` shows who you are here, and your roles")
	case breakglass.CodePolicyDenied:
		a.explainPolicy(ex, e)
	case breakglass.CodeAccessDenied:
		a.explainLinks(ex, e)
		if len(ex.now) == 0 {
			ex.do("`bgctl profiles` shows what you may invoke")
		}
	case breakglass.CodeRequestDenied, breakglass.CodeExtensionRefused, breakglass.CodeAlreadyRequested, breakglass.CodeRequestNotFound:
		a.explainRequest(ex, e)
	case breakglass.CodeMFARequired, breakglass.CodeMFAInvalid:
		a.explainMFA(ex, e)
	case breakglass.CodeMFANotEnrolled:
		ex.do("bgctl mfa enrol")
	case breakglass.CodeRateLimited:
		a.explainLimit(ex, e)
	case breakglass.CodeAlreadyActive:
		a.explainActive(ex, e)
	case breakglass.CodeInvalidTransition:
		switch {
		case e.EventID != "":
			ex.do("`bgctl check %s` shows what became of it", quote(e.EventID))
		case e.AccessRequestID != "":
			ex.do("`bgctl requests %s` shows what became of it", quote(e.AccessRequestID))
		}
	case breakglass.CodeProfileUnknown:
		ex.do("`bgctl profiles` shows what you may invoke")
	case breakglass.CodeEventNotFound:
		ex.do("`bgctl list` shows the events that you can see")
	case breakglass.CodeIdempotencyMismatch:
		ex.do("leave --idempotency-key out, or repeat exactly what you sent with it")
	case breakglass.CodeCredentialsRefused, breakglass.CodeUnavailable:
		a.explainLinks(ex, e)
		a.explainUnavailable(ex, e)
	}
}

func (a *app) explainUnauthenticated(ex *explanation) {
	s, err := a.settings()
	if err != nil {
		return
	}
	if a.tried != nil {
		ex.fact("Token from", a.tried.from)
		ex.do("bgctl login --server %s%s", s.Server, a.tried.again)
		return
	}
	ex.fact("Token from", s.TokenFrom)
	if s.TokenFrom == "BGCTL_TOKEN" {
		ex.do("put a valid token into BGCTL_TOKEN, or unset it and use: bgctl login")
		return
	}
	ex.do("bgctl login --server %s%s", s.Server, again(s))
}

func (a *app) explainPolicy(ex *explanation, e *breakglass.Error) {
	rule := e.Rule
	if rule == "" {
		rule = "none matches"
	}
	ex.fact("Rule", rule)
	ex.fact("Condition", e.Condition)
	al := e.Allowed
	if al == nil {
		ex.do("`bgctl profiles` shows what you may invoke")
		return
	}
	a.explainAllowed(ex, al)
	ex.do("`bgctl profiles` shows what you may invoke")
	ex.do("ask a colleague who may, or whoever keeps the policy")
}

// explainAllowed says what would be granted instead.
func (a *app) explainAllowed(ex *explanation, al *breakglass.Allowed) {
	codes := make([]string, len(al.ReasonCodes))
	for i, c := range al.ReasonCodes {
		codes[i] = string(c)
	}
	if len(codes) > 0 {
		ex.fact("Allowed", "--reason "+strings.Join(codes, " | "))
	}
	if al.MaxDurationSeconds > 0 {
		ex.fact("Allowed", "--duration up to "+durationArg(breakglass.Seconds(al.MaxDurationSeconds)))
	}
	if al.Window != "" {
		ex.fact("Allowed", "at "+al.Window)
	}
	if !al.NextWindow.IsZero() {
		ex.fact("Opens", a.when(al.NextWindow))
	}
	if al.TicketRequired {
		ex.fact("Allowed", "with --ticket")
	}
	if len(al.Profiles) > 0 {
		ex.fact("Allowed", "profiles "+strings.Join(al.Profiles, ", "))
	}
}

// explainRequest is for refusals about access requests and extensions.
func (a *app) explainRequest(ex *explanation, e *breakglass.Error) {
	ex.fact("Rule", e.Rule)
	ex.fact("Condition", e.Condition)
	ex.fact("Request", e.AccessRequestID)
	if e.Allowed != nil {
		a.explainAllowed(ex, e.Allowed)
	}
	switch e.Code {
	case breakglass.CodeAlreadyRequested:
		if breakglass.IsID(e.AccessRequestID) {
			ex.do("`bgctl requests %s` shows it", e.AccessRequestID)
			ex.do("`bgctl cancel %s` withdraws it", e.AccessRequestID)
		}
	case breakglass.CodeRequestNotFound:
		ex.do("`bgctl requests` shows those that you can see")
	case breakglass.CodeExtensionRefused:
		ex.do("`bgctl request PROFILE --justification \"…\"` asks for access after the event's end")
	}
}

func (a *app) explainLimit(ex *explanation, e *breakglass.Error) {
	words := map[breakglass.Limit]string{
		breakglass.LimitCooldown:     "cooldown: the time between two invocations of yours on a profile",
		breakglass.LimitUserQuota:    "user_quota: how often one person may invoke within a time",
		breakglass.LimitProfileQuota: "profile_quota: how often everybody together may invoke a profile within a time",
	}
	limit := words[e.Limit]
	if limit == "" {
		limit = string(e.Limit)
	}
	ex.fact("Limit", limit)
	ex.fact("Rule", e.Rule)
	if e.RetryAfter > 0 {
		ex.do("try again in %s, at %s", show.Duration(e.RetryAfter), show.Time(a.retryAt(e), a.local))
	}
	if e.Limit != "" {
		ex.do("have a colleague invoke, if it can't wait")
	}
}

// retryAt is when to try again. The server's sentence says it by the server's
// clock; two different times in one message would be one too many.
func (a *app) retryAt(e *breakglass.Error) time.Time {
	instant := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`)
	if said, err := time.Parse("2006-01-02 15:04:05 UTC", instant.FindString(e.Message)); err == nil {
		return said
	}
	return a.Now().Add(e.RetryAfter + time.Second - 1).Truncate(time.Second)
}

func (a *app) explainActive(ex *explanation, e *breakglass.Error) {
	ex.fact("Event", e.EventID)
	if !e.ExpiresAt.IsZero() {
		ex.fact("Ends", a.when(e.ExpiresAt))
	}
	if breakglass.IsID(e.EventID) {
		ex.do("`bgctl exec %s -- COMMAND` uses it", e.EventID)
		ex.do("`bgctl close %s --reason \"…\"` ends it", e.EventID)
	}
}

func (a *app) explainUnavailable(ex *explanation, e *breakglass.Error) {
	switch {
	case e.RetryAfter > 0:
		ex.do("try again in %s", show.Duration(e.RetryAfter))
	case e.Temporary:
		ex.do("try again in a moment")
	default:
		ex.do("tell whoever runs the server, with the request id: trying again won't help")
	}
	if e.Code == breakglass.CodeCredentialsRefused {
		ex.fact("Access", "stays; only its credentials could not be had")
	}
}

// flagOf names the flag behind a field of the API.
func (a *app) flagOf(field string) string {
	flags := map[string]string{
		"profile": "PROFILE", "reason_code": "--reason", "justification": "--justification", "duration_seconds": "--duration",
		"ticket": "--ticket", "invoker": "--for", "Idempotency-Key": "--idempotency-key", "idempotency_key": "--idempotency-key",
		"reason": "--reason", "after": "--after", "limit": "--limit", "since": "--since", "until": "--until", "status": "--status",
		"event": "--event", "comment": "--comment", "requester": "--requester", "totp": "The code", "invitation": "The enrolment code", "name": "NAME",
	}
	if a.command == "list" || a.command == "events" || a.command == "requests" { // where they are filters
		flags["profile"], flags["invoker"] = "--profile", "--invoker"
	}
	if f, ok := flags[field]; ok {
		return f
	}
	return show.Safe(field)
}

// durationArg writes a duration as --duration takes it.
func durationArg(d time.Duration) string { return strings.ReplaceAll(show.Duration(d), " ", "") }
