package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// noActiveEvent says that the caller has no active event where one is needed,
// and what is known about why.
type noActiveEvent struct {
	profile string
	last    breakglass.View // the caller's latest event there; empty when there is none
	offers  []string        // the profiles that may be invoked now; nil when that isn't known
	roles   []breakglass.Role
}

func (e *noActiveEvent) Error() string {
	if e.profile == "" {
		return "you have no active event"
	}
	return fmt.Sprintf("you have no active event on %s", e.profile)
}

// explainWait is how long finding out more may delay the error itself.
const explainWait = 3 * time.Second

// missingEvent finds out what helps a person who has no active event there. It
// is the error all the same when that can't be found out.
func missingEvent(ctx context.Context, api *client.Client, me client.Whoami, profile string) error {
	e := &noActiveEvent{profile: profile}
	for _, r := range me.Roles {
		e.roles = append(e.roles, breakglass.Role(r))
	}
	if profile == "" {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	if events, _, err := api.Events(ctx, client.EventFilter{Invoker: me.Name, Profile: profile, Limit: 1}); err == nil && len(events) > 0 {
		e.last = events[0]
		return e
	}
	if offers, err := api.Profiles(ctx); err == nil {
		e.offers = []string{}
		for _, o := range offers {
			e.offers = append(e.offers, o.Profile)
		}
	}
	return e
}

// over says when and how the event ended.
func (a *app) over(ev breakglass.View) string {
	switch {
	case ev.Status == breakglass.StatusClosed && ev.ClosedBy != "":
		return "closed by " + ev.ClosedBy + " at " + a.when(ev.ClosedAt)
	case ev.Status == breakglass.StatusClosed:
		return "closed at " + a.when(ev.ClosedAt)
	}
	return "expired at " + a.when(ev.ExpiresAt)
}

func (a *app) explainNoEvent(e *noActiveEvent) explanation {
	ex := local(exitNotFound, breakglass.CodeEventNotFound, sentence(e.Error()))
	looks := a.command == "check" || a.command == "close"
	if e.last.ID != "" {
		ex.fact("The last", e.last.ID+" "+a.over(e.last))
		ex.fact("Because", e.last.ClosedReason)
		if looks {
			ex.do("`bgctl check %s` shows everything about it", e.last.ID)
		}
	}
	if looks && e.profile != "" && (slices.Contains(e.roles, breakglass.RoleReviewer) || a.command == "check" && slices.Contains(e.roles, breakglass.RoleAuditor)) {
		ex.do("`bgctl list --profile %s --status active` shows those of others", quote(e.profile))
		ex.do("`bgctl %s EVENT_ID` takes their ids", a.command)
	}
	if e.last.ID == "" && e.offers != nil && !slices.Contains(e.offers, e.profile) {
		explainUnknownProfile(&ex, e)
		return ex
	}
	if !looks && e.profile != "" {
		ex.do("bgctl invoke %s --reason incident --justification \"…\"", quote(e.profile))
	}
	if e.profile == "" || e.last.ID == "" {
		ex.do("`bgctl profiles` shows what you may invoke")
	}
	return ex
}

// explainUnknownProfile is for a profile that can't be invoked, most likely
// because there is none of that name.
func explainUnknownProfile(ex *explanation, e *noActiveEvent) {
	if len(e.offers) == 0 {
		ex.do("`bgctl profiles` shows what you may invoke: nothing at the moment")
		return
	}
	suggestProfiles(ex, e.profile, e.offers)
}

// alreadyActive is the error of an invocation that an active event stands in
// the way of, found out before a person has answered any question. nil when
// there is none, or when it can't be found out quickly: the server decides.
func alreadyActive(ctx context.Context, api *client.Client, profile string) error {
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	me, err := api.Whoami(ctx)
	if err != nil {
		return nil
	}
	events, err := activeEvents(ctx, api, me, profile)
	if err != nil || len(events) == 0 {
		return nil
	}
	ev := events[0]
	return &breakglass.Error{Code: breakglass.CodeAlreadyActive, EventID: ev.ID, ExpiresAt: ev.ExpiresAt,
		Message: fmt.Sprintf("You already have an active event on %s, with %s left.", ev.Profile, show.Seconds(ev.RemainingSeconds))}
}
