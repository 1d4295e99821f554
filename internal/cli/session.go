package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/signin"
	"breakglass/internal/cli/vault"
	"breakglass/internal/client"
)

// refreshBefore is how long before its end a token is replaced: the server must
// still find it good when the call arrives.
const refreshBefore = time.Minute

// session gives the token of a login at an identity provider, and a new one
// when that one ends.
type session struct {
	a *app
	s settings.Settings

	mu     sync.Mutex
	tokens *signin.Tokens
}

// loginEnded says that a login can't be used any more.
type loginEnded struct {
	server string
	flags  string // of a new login; empty: --oidc
	why    error
}

func (e *loginEnded) Error() string { return "your login has ended: " + e.why.Error() }

func (e *loginEnded) Unwrap() error { return e.why }

func (a *app) session(s settings.Settings) *session { return &session{a: a, s: s} }

// token is the token for a call that is made now.
func (x *session) token(ctx context.Context) (string, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tokens == nil {
		t, err := openTokens(ctx, x.s.OIDC)
		if err != nil {
			return "", &loginEnded{server: x.s.Server, why: err}
		}
		x.tokens = &t
	}
	if !x.lasts(*x.tokens, refreshBefore) {
		if err := x.refresh(ctx); err != nil {
			return "", err
		}
	}
	return x.tokens.Bearer, nil
}

func (x *session) lasts(t signin.Tokens, d time.Duration) bool {
	return t.Expires.IsZero() || x.a.Now().Add(d).Before(t.Expires)
}

// errFresh says that another process was faster.
var errFresh = errors.New("refreshed already")

// refresh replaces the tokens, alone among all processes of this person. While
// the old one still holds, a provider that doesn't answer is no reason to fail.
func (x *session) refresh(ctx context.Context) error {
	var got signin.Tokens
	err := settings.UpdateLogins(ctx, x.s.LoginFile, func(l *settings.Logins) error {
		login := l.ByServer[x.s.Server]
		if login.OIDC == nil {
			return &notLoggedIn{server: x.s.Server}
		}
		// Whoever began this command as one person doesn't end it as another.
		if login.OIDC.ID != x.s.OIDC.ID || login.OIDC.Issuer != x.s.OIDC.Issuer {
			return anotherLogin(x.s.Server)
		}
		kept, err := openTokens(ctx, login.OIDC)
		if err != nil {
			return &loginEnded{server: x.s.Server, why: err}
		}
		if got = kept; x.lasts(kept, refreshBefore) {
			return errFresh
		}
		if kept.Refresh == "" {
			return &signin.Error{Message: "the identity provider gave nothing to renew it with"}
		}
		p, err := x.a.provider(ctx, x.s, *login.OIDC)
		if err != nil {
			return err
		}
		if got, err = p.Refresh(ctx, kept); err != nil {
			got = kept
			return err
		}
		o := *login.OIDC
		if err := keepTokens(ctx, &o, got, x.a.getenv, x.a.say); err != nil {
			return err
		}
		login.OIDC = &o
		l.ByServer[x.s.Server] = login
		return nil
	})
	switch {
	case err == nil, errors.Is(err, errFresh), got.Bearer != "" && x.lasts(got, 0) && !errors.Is(err, context.Canceled):
		x.tokens = &got
		return nil
	case signin.Ended(err):
		return &loginEnded{server: x.s.Server, why: err}
	}
	return err
}

// provider reads the discovery document of a login's provider.
func (a *app) provider(ctx context.Context, s settings.Settings, o settings.OIDC) (*signin.Provider, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil {
		return nil, usage("The issuer %q is no URL.", o.Issuer)
	}
	transport, err := client.NewTransport(u, s.ProviderCAPEM)
	if err != nil {
		return nil, usage("%s", err.Error())
	}
	return signin.Discover(ctx, signin.Config{Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes, Token: o.Token, Now: a.Now,
		HTTP: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}})
}

// openTokens reads the tokens of a stored login.
func openTokens(ctx context.Context, o *settings.OIDC) (t signin.Tokens, err error) {
	if o.Sealed == nil {
		if o.Plain == nil {
			return t, errors.New("its tokens are missing")
		}
		return *o.Plain, nil
	}
	secret, err := vault.Open(ctx, o.ID, o.Sealed)
	if err != nil {
		return t, err
	}
	if json.Unmarshal(secret, &t) != nil {
		return t, errors.New("its tokens are damaged")
	}
	return t, nil
}

// keepTokens puts tokens into a login that is to be stored: sealed where there
// is a keyring, otherwise as they are. A login that is sealed already stays so,
// whatever the environment says today; if it can't, the person is told: the
// refresh token before is used up, so to keep nothing would end the login.
func keepTokens(ctx context.Context, o *settings.OIDC, t signin.Tokens, getenv func(string) string, warn func(string, ...any)) error {
	sealedBefore := o.Sealed != nil
	o.Sealed, o.Plain = nil, &t
	if !sealedBefore && !vault.Available(getenv) {
		return nil
	}
	secret, err := json.Marshal(t)
	if err != nil {
		return err
	}
	sealed, err := vault.Seal(ctx, o.ID, secret)
	switch {
	case err == nil:
		o.Sealed, o.Plain = sealed, nil
	case sealedBefore:
		warn("Warning: the tokens of this login were sealed with the keyring, and from now on are kept as they are, in a file that you alone can read, "+
			"because the keyring can't be used: %s. Log in again once it works.", err.Error())
	default:
		warn("The tokens are kept in a file that you alone can read, because the keyring can't be used: %s", err.Error())
	}
	return nil
}
