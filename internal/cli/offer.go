package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/show"
)

// loginScopes are those that a login is about. Any other one could let the
// server act for the person elsewhere.
var loginScopes = []string{"openid", "profile", "email", "groups", "offline_access"}

func beyondLogin(scopes []string) []string {
	var beyond []string
	for _, s := range scopes {
		if !slices.Contains(loginScopes, s) {
			beyond = append(beyond, s)
		}
	}
	return beyond
}

// confirmOffer has the person agree to where, and as which client, the server
// wants them to log in. The server alone says that, and whoever runs it gets the
// tokens: it could name the client and scopes of something else. What was agreed
// to before isn't asked again, except for scopes beyond a login.
func (a *app) confirmOffer(ctx context.Context, s settings.Settings, o settings.OIDC, yes bool) error {
	logins, err := settings.ReadLogins(s.LoginFile)
	if err != nil {
		return err
	}
	before := logins.Provider(s.Server, o.Issuer)
	beyond := beyondLogin(o.Scopes)
	known := before != nil && before.Same(o.Provider())
	if known && len(beyond) == 0 {
		return nil
	}
	a.say("%s wants you to log in here:\n", show.Safe(s.Server))
	a.say("  Identity provider  %s", show.Safe(o.Issuer))
	a.say("  Client             %s", show.Safe(o.ClientID))
	a.say("  Scopes             %s", show.Safe(strings.Join(o.Scopes, " ")))
	a.say("  Sent to the server %s\n", show.Safe(o.Token))
	switch {
	case known:
	case before != nil:
		a.say("This is not what it said before: client %s, scopes %s, %s.", show.Safe(before.ClientID), show.Safe(strings.Join(before.Scopes, " ")), show.Safe(before.Token))
	case len(logins.Providers[s.Server]) > 0:
		a.say("You have not logged in to this server at that identity provider before.")
	}
	if len(beyond) > 0 {
		a.say("These scopes are for more than a login: %s. Whoever runs the server could use them in your name.", show.Safe(strings.Join(beyond, " ")))
	}
	if yes {
		return nil
	}
	if !a.canAsk() {
		return &usageError{message: "Nobody is there to confirm this, and it was not agreed to before.",
			now: []string{"bgctl login on a terminal", "--yes, if that is the right identity provider and client"}}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sure, err := a.asker(ctx).agrees("Is that your company's identity provider, and do you know this server?")
	if err != nil {
		return err
	}
	if !sure {
		return usage("Not confirmed, so nobody was logged in.")
	}
	return nil
}

// agreed keeps what was confirmed, for the next login.
func agreed(l *settings.Logins, server string, p settings.Provider) {
	if l.Providers == nil {
		l.Providers = map[string][]settings.Provider{}
	}
	kept := slices.DeleteFunc(l.Providers[server], func(old settings.Provider) bool { return old.Issuer == p.Issuer })
	l.Providers[server] = append(kept, p)
}

// anotherLogin says that a login was replaced while a command was using it.
func anotherLogin(server string) error {
	return &usageError{message: fmt.Sprintf("Another login to %s was stored meanwhile, perhaps somebody else's. Nothing was done in its name.", show.Safe(server)),
		now: []string{"the command again, if that login is the right one: bgctl whoami"}}
}
