package app

import (
	"context"
	"fmt"

	"breakglass/internal/api"
	"breakglass/internal/authn"
	"breakglass/internal/authn/oidc"
	"breakglass/internal/config"
)

// newOIDC returns the way in by tokens of OpenID Connect issuers; nil when none
// is configured.
func (a *App) newOIDC(ctx context.Context) (authn.Verifier, error) {
	if len(a.cfg.Auth.OIDC) == 0 {
		return nil, nil
	}
	// It works until it is closed, however long the context of the start lasts.
	provider, err := oidc.New(context.WithoutCancel(ctx), a.cfg.Auth.OIDC, oidc.Deps{Now: a.opts.Now, Log: a.opts.Log})
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	a.onClose("oidc", provider.Close)
	return provider, nil
}

// loginOIDC is what clients are told about logging in.
func loginOIDC(cfg config.Config) []api.LoginOIDC {
	var out []api.LoginOIDC
	for _, c := range cfg.Auth.OIDC {
		if c.Login != nil {
			out = append(out, api.LoginOIDC{Name: c.Title(), Issuer: c.Issuer, ClientID: c.Login.ClientID,
				Scopes: c.Login.LoginScopes(), Token: c.Login.LoginToken()})
		}
	}
	return out
}
