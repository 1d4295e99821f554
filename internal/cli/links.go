package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// linkWords are the links of the chain as people call them.
func linkWords(l breakglass.Link) string {
	switch l {
	case breakglass.LinkPolicy:
		return "Standing policy"
	case breakglass.LinkRequest:
		return "Access request"
	case breakglass.LinkBreakglass:
		return "Break-glass"
	}
	return show.Safe(string(l))
}

// sayGrant tells a person by which link of the chain they have access, and until
// when. Programs see none of it.
func (a *app) sayGrant(e credcache.Entry) {
	if a.err.is {
		a.hint("%s", a.grant(e))
	}
}

func (a *app) grant(e credcache.Entry) string {
	by := show.Safe(grantedBy(e))
	if e.Rule != "" {
		by += " (rule " + show.Safe(e.Rule) + ")"
	}
	until := ", with no end"
	if !e.GrantEnds.IsZero() {
		until = " until " + show.Time(e.GrantEnds, a.local) + ", " + show.Duration(e.GrantEnds.Sub(a.Now())) + " left"
	}
	return "Access to " + show.Safe(e.Profile) + " is granted by " + by + until + "."
}

// grantedBy names what gave the credentials.
func grantedBy(e credcache.Entry) string {
	switch e.GrantedBy {
	case breakglass.LinkRequest:
		return "access request " + e.RequestID
	case breakglass.LinkBreakglass:
		return "event " + e.EventID
	}
	return "standing policy"
}

// explainLinks says what each link of the chain said, and what to do next.
// The server's sentence repeats them for those who see nothing else.
func (a *app) explainLinks(ex *explanation, e *breakglass.Error) {
	for _, l := range slices.Backward(e.Links) {
		ex.what = strings.TrimSuffix(ex.what, " "+l.Message)
	}
	for _, l := range e.Links {
		ex.fact(linkWords(l.Link), cmp.Or(l.Message, string(l.Outcome)))
	}
	for _, l := range e.Links {
		if l.Next != "" {
			ex.do("%s", l.Next)
		}
	}
}

// unknownProfile is the refusal of a profile that doesn't exist, with those that
// may have been meant.
type unknownProfile struct {
	refusal error
	profile string
	offers  []string
}

func (e *unknownProfile) Error() string { return e.refusal.Error() }

func (e *unknownProfile) Unwrap() error { return e.refusal }

// namingProfiles adds to the refusal of an unknown profile those that the caller
// may invoke. Any other error stays as it is, and so does this one when they
// can't be had quickly.
func namingProfiles(ctx context.Context, api *client.Client, profile string, err error) error {
	var refused *breakglass.Error
	if !errors.As(err, &refused) || refused.Code != breakglass.CodeProfileUnknown {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	offers, asking := api.Profiles(ctx)
	if asking != nil || len(offers) == 0 {
		return err
	}
	names := make([]string, len(offers))
	for i, o := range offers {
		names[i] = o.Profile
	}
	return &unknownProfile{refusal: err, profile: profile, offers: names}
}

// suggestProfiles names what a mistyped profile may have been meant to be.
func suggestProfiles(ex *explanation, profile string, offers []string) {
	if near := nearest(profile, offers); near != "" {
		ex.fact("Profile", fmt.Sprintf("did you mean %s?", near))
	}
	ex.fact("Profiles", "that you may invoke now: "+strings.Join(offers, ", "))
}
