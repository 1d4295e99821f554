package policy

import (
	"fmt"
	"slices"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/rules"
)

// failure is a condition of a rule that a request doesn't meet.
type failure struct {
	condition string
	words     string // a sentence
}

// failures returns every condition that fails, in the order in which they are
// checked, so that one answer tells the caller all there is to change.
func (r *Rule) failures(req breakglass.PolicyRequest) []failure {
	var failed []failure
	add := func(condition, format string, args ...any) {
		failed = append(failed, failure{condition, fmt.Sprintf(format, args...)})
	}
	if !slices.Contains(r.ReasonCodes, req.ReasonCode) {
		add(breakglass.ConditionReasonCode, "Reason code %q is not allowed: use %s.", req.ReasonCode, rules.List(r.ReasonCodes, "or"))
	}
	if !r.Window.Contains(req.At) {
		add(breakglass.ConditionTime, "%s", r.Window.Closed(req.At))
	}
	if req.Duration < 0 || req.Duration > r.MaxDuration {
		add(breakglass.ConditionMaxDuration, "A duration of %s is too long: ask for %s or less.",
			rules.Words(req.Duration), rules.Words(r.MaxDuration))
	}
	if r.RequireTicket && !req.HasTicket {
		add(breakglass.ConditionTicket, "A ticket is required: add --ticket (`ticket` in the API).")
	}
	return failed
}

// refuse describes what failed. Allowed holds all the terms of the rule.
func (r *Rule) refuse(req breakglass.PolicyRequest, failed []failure) breakglass.PolicyDecision {
	allowed := &breakglass.Allowed{
		ReasonCodes:        slices.Clone(r.ReasonCodes),
		MaxDurationSeconds: int64(r.MaxDuration / time.Second),
		Window:             r.Window.String(),
		TicketRequired:     r.RequireTicket,
	}
	if !r.Window.Contains(req.At) {
		allowed.NextWindow = r.Window.NextWindow(req.At)
	}
	message := fmt.Sprintf("Policy rule %q doesn't let %q invoke profile %q as asked.", r.Name, req.Subject.Name, req.Profile)
	for _, f := range failed {
		message += " " + f.words
	}
	return breakglass.PolicyDecision{Rule: r.Name, MaxDuration: r.MaxDuration,
		Condition: failed[0].condition, Message: message, Allowed: allowed}
}

// noRule refuses a request that no rule is about. What the subject may invoke
// instead is for the service to say: only it knows the profiles.
func noRule(req breakglass.PolicyRequest) breakglass.PolicyDecision {
	return breakglass.PolicyDecision{Condition: breakglass.ConditionNoRule,
		Message: fmt.Sprintf("No policy rule lets %q invoke profile %q, neither by name nor by group. "+
			"`bgctl profiles` lists what you may invoke now, `bgctl whoami` the groups that policy sees.", req.Subject.Name, req.Profile)}
}
