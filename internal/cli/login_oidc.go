package cli

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/show"
	"breakglass/internal/cli/signin"
	"breakglass/internal/client"
)

// oidcFlags are the flags of a login at an identity provider.
type oidcFlags struct {
	oidc, device, noBrowser bool
	yes                     bool // agree to what the server names
	provider                string
}

func (f oidcFlags) asked() bool { return f.oidc || f.device || f.provider != "" || f.noBrowser }

// loginOIDC logs in at an identity provider that the server names.
func (a *app) loginOIDC(ctx context.Context, s settings.Settings, f oidcFlags) (client.Whoami, error) {
	open, err := a.newClient(s, "")
	if err != nil {
		return client.Whoami{}, err
	}
	offers, err := open.Logins(ctx)
	if err != nil {
		return client.Whoami{}, err
	}
	offer, err := choose(offers, f.provider)
	if err != nil {
		return client.Whoami{}, err
	}
	o := settings.OIDC{ID: client.NewIdempotencyKey(), Issuer: offer.Issuer, ClientID: offer.ClientID, Scopes: offer.Scopes, Token: offer.Token}
	if err := a.confirmOffer(ctx, s, o, f.yes); err != nil {
		return client.Whoami{}, err
	}
	tokens, err := a.signIn(ctx, s, o, f)
	if err != nil {
		return client.Whoami{}, err
	}
	api, err := a.newClient(s, tokens.Bearer)
	if err != nil {
		return client.Whoami{}, err
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return client.Whoami{}, err
	}
	if err := keepTokens(ctx, &o, tokens, a.getenv, a.hint); err != nil {
		return client.Whoami{}, err
	}
	return me, a.storeLogin(ctx, s, settings.Login{Name: me.Name, OIDC: &o})
}

// choose finds the provider that the person means.
func choose(offers []client.LoginOIDC, name string) (client.LoginOIDC, error) {
	names := make([]string, len(offers))
	for i, o := range offers {
		if names[i] = o.Name; o.Name == name {
			return o, nil
		}
	}
	switch {
	case len(offers) == 0:
		return client.LoginOIDC{}, &usageError{message: "People don't log in to this server at an identity provider.", now: []string{otherWays}}
	case name == "" && len(offers) == 1:
		return offers[0], nil
	case name == "":
		return client.LoginOIDC{}, &usageError{message: "At which identity provider?", now: []string{"--provider with one of " + strings.Join(names, ", ")}}
	}
	return client.LoginOIDC{}, &usageError{message: fmt.Sprintf("The server knows no identity provider %q.", name), now: []string{"--provider with one of " + strings.Join(names, ", ")}}
}

func (a *app) signIn(ctx context.Context, s settings.Settings, o settings.OIDC, f oidcFlags) (signin.Tokens, error) {
	p, err := a.provider(ctx, s, o)
	if err != nil {
		return signin.Tokens{}, err
	}
	if f.device {
		return p.Device(ctx, a.tellDevice, signin.Wait)
	}
	return p.Code(ctx, func(address string) {
		a.say("To log in, open this address in a browser on this machine:\n\n  %s\n", address)
		if a.err.is && !f.noBrowser {
			a.browse(address)
		}
	})
}

func (a *app) tellDevice(p signin.Prompt) {
	a.say("To log in, open this address in a browser on any machine, and type the code there:\n\n  %s\n  code: %s\n", p.Address, p.Code)
	if p.Complete != "" {
		a.say("This address holds the code already:\n\n  %s\n", p.Complete)
	}
	a.say("Only go on there if it shows the same code. It is valid for %s.", show.Duration(p.Expires.Round(time.Second)))
}

// browse tries to open a browser. Where that doesn't work the address is on
// the screen.
func (a *app) browse(address string) {
	var cmd *exec.Cmd
	switch {
	case runtime.GOOS == "darwin":
		cmd = exec.Command("open", address)
	case runtime.GOOS == "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", address)
	case a.getenv("DISPLAY") != "" || a.getenv("WAYLAND_DISPLAY") != "":
		cmd = exec.Command("xdg-open", address)
	default:
		return
	}
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // the browser may outlive bgctl
	}
}

// forget removes what a login at an identity provider left outside the file,
// and takes its refresh token back where the provider can do that.
func (a *app) forget(ctx context.Context, s settings.Settings, o settings.OIDC) {
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	tokens, err := openTokens(ctx, &o)
	if err == nil && tokens.Refresh != "" {
		var p *signin.Provider
		if p, err = a.provider(ctx, s, o); err == nil {
			_, err = p.Revoke(ctx, tokens)
		}
	}
	if err != nil {
		a.hint("The identity provider may still hold the login valid: %s", err.Error())
	}
	removeKey(ctx, o)
}

// forgetTimeout bounds what a person waits to be logged out.
const forgetTimeout = 10 * time.Second
