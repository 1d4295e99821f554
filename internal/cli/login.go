package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/show"
	"breakglass/internal/cli/vault"
	"breakglass/internal/client"
)

const maxTokenBytes = 16 << 10

func (a *app) loginCommand() *cobra.Command {
	var stdin bool
	var oidc oidcFlags
	var aws awsFlags
	cmd := &cobra.Command{
		Use:   "login [--server URL] [--oidc [--device] | --aws [--profile PROFILE]]",
		Short: "Log in to a server",
		Long: `Log in to a server, with a token, at your company's identity provider, or with
your AWS identity. The login is stored once the server has accepted it, and used for this server only.

Without flags, a token is typed without being shown; --token-stdin reads it from
standard input. There is no flag for a token: command lines can be seen by
everybody on a machine.

With --oidc, you log in with a browser on this machine, or with --device on any
other one. The first time, and whenever the server names another identity provider,
client or scopes than before, bgctl shows them and asks; --yes agrees, for scripts.
bgctl renews that login by itself for as long as the provider allows.
Its tokens are sealed with a key in the keyring of the operating system; where
there is none (or BGCTL_KEYRING=off) they are kept in a file that you alone can read.

With --aws, you log in as who you are for AWS, with the credentials that the AWS CLI
would use: a profile (AWS_PROFILE), single sign-on, the environment, a container or
an instance. The secret key stays on this machine: the server gets a signature that
is good for it alone and for one login. The session that it gives in return is kept
in a file that you alone can read; bgctl renews it while the AWS credentials are valid.`,
		Example: `  bgctl login --server https://breakglass.example.com --oidc
  bgctl login --server https://breakglass.example.com --oidc --device
  bgctl login --server https://breakglass.example.com --aws --profile oncall
  bgctl login --server https://breakglass.example.com
  pass show breakglass | bgctl login --server https://breakglass.example.com --token-stdin`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if stdin && oidc.asked() || stdin && aws.asked() || oidc.asked() && aws.asked() {
				return usage("--token-stdin is for a token, --oidc for an identity provider, --aws for an AWS identity: use one of them.")
			}
			return a.login(cmd.Context(), stdin, oidc, aws)
		},
	}
	cmd.Flags().BoolVar(&stdin, "token-stdin", false, "read a token from standard input")
	cmd.Flags().BoolVar(&oidc.oidc, "oidc", false, "log in at the identity provider that the server names")
	cmd.Flags().BoolVar(&oidc.device, "device", false, "with a browser on another machine (device login); implies --oidc")
	cmd.Flags().BoolVar(&oidc.noBrowser, "no-browser", false, "only print the address to open; implies --oidc")
	cmd.Flags().StringVar(&oidc.provider, "provider", "", "`name` of the identity provider where the server has several; implies --oidc")
	cmd.Flags().BoolVar(&oidc.yes, "yes", false, "with --oidc: don't ask whether the identity provider that the server names is the right one")
	cmd.Flags().BoolVar(&aws.aws, "aws", false, "log in with your AWS identity")
	cmd.Flags().StringVar(&aws.profile, "profile", "", "`name` of an AWS profile (default $AWS_PROFILE, or what the AWS CLI finds); implies --aws")
	cmd.Flags().StringVar(&aws.region, "region", "", "AWS `Region` whose STS the server is to ask (default that of the profile, where the server allows it); implies --aws")
	return cmd
}

func (a *app) login(ctx context.Context, stdin bool, oidc oidcFlags, aws awsFlags) error {
	if _, err := a.format(); err != nil {
		return err
	}
	s, err := a.settings()
	if err != nil {
		return err
	}
	if s.Server == "" {
		return &usageError{message: "Which server?", now: []string{"bgctl login --server https://breakglass.example.com"}}
	}
	var me client.Whoami
	a.tried = trying(stdin, oidc, aws)
	switch {
	case oidc.asked():
		me, err = a.loginOIDC(ctx, s, oidc)
	case aws.asked():
		me, err = a.loginAWS(ctx, s, aws)
	default:
		me, err = a.loginToken(ctx, s, stdin)
	}
	if err != nil {
		return err
	}
	credcache.Sweep(s.CacheDir, a.Now())
	if a.getenv("BGCTL_TOKEN") != "" {
		a.hint("BGCTL_TOKEN is set and goes before the stored token: unset it.")
	}
	if a.json() {
		return a.printJSON(me)
	}
	return a.print(fmt.Appendf(nil, "Logged in to %s as %s.\n", show.Safe(s.Server), show.Safe(me.Name)))
}

func (a *app) loginToken(ctx context.Context, s settings.Settings, stdin bool) (client.Whoami, error) {
	token, err := a.readToken(ctx, s.Server, stdin)
	if err != nil {
		return client.Whoami{}, err
	}
	api, err := a.newClient(s, token)
	if err != nil {
		return client.Whoami{}, err
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return client.Whoami{}, err
	}
	return me, a.storeLogin(ctx, s, settings.Login{Token: token, Name: me.Name})
}

// storeLogin keeps the login, in the place of the one before.
func (a *app) storeLogin(ctx context.Context, s settings.Settings, login settings.Login) error {
	var before settings.Login
	err := settings.UpdateLogins(ctx, s.LoginFile, func(l *settings.Logins) error {
		before = l.ByServer[s.Server]
		l.Current = s.Server
		l.ByServer[s.Server] = login
		if login.OIDC != nil {
			agreed(l, s.Server, login.OIDC.Provider())
		}
		return nil
	})
	if err == nil && before.OIDC != nil {
		removeKey(ctx, *before.OIDC)
	}
	return err
}

// removeKey removes the key of a login that is gone. One that stays opens
// nothing any more.
func removeKey(ctx context.Context, o settings.OIDC) {
	if o.Sealed != nil {
		_ = vault.Remove(ctx, o.ID)
	}
}

func (a *app) readToken(ctx context.Context, server string, stdin bool) (string, error) {
	var token string
	var err error
	if stdin {
		token, err = bufio.NewReader(io.LimitReader(a.Stdin, maxTokenBytes)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
	} else {
		token, err = a.typeToken(ctx, server)
	}
	if err != nil {
		return "", err
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", usage("No token was given.")
	}
	return token, nil
}

// typeToken reads a token from the terminal without showing it. The terminal is
// put right again whatever happens.
func (a *app) typeToken(ctx context.Context, server string) (string, error) {
	f, ok := a.Stdin.(*os.File)
	if !ok || !a.err.is || !a.terminal(a.Stdin).is {
		return "", &usageError{message: "There is no terminal to type a token on.", now: []string{"bgctl login --token-stdin < FILE"}}
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer a.say("")
	_, _ = io.WriteString(a.Stderr, "Token for "+show.Safe(server)+" (it is not shown): ")
	type result struct {
		token []byte
		err   error
	}
	typed := make(chan result, 1)
	go func() {
		b, err := term.ReadPassword(int(f.Fd()))
		typed <- result{b, err}
	}()
	select {
	case r := <-typed:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return "", fmt.Errorf("read the token: %w", r.err)
		}
		return string(r.token), nil
	case <-ctx.Done():
		_ = term.Restore(int(f.Fd()), before)
		return "", ctx.Err()
	}
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout [--server URL]",
		Short: "Forget the login at a server, and its credentials",
		Long: `Forget the stored login at a server and the credentials that were fetched with it.
A login at an identity provider is revoked there where the provider can do that.
A token stays valid: whoever runs the server can revoke it.`,
		Example:           "  bgctl logout\n  bgctl logout --server https://breakglass.example.com",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			return a.logout(cmd.Context(), s)
		},
	}
}

func (a *app) logout(ctx context.Context, s settings.Settings) error {
	if s.Server == "" {
		a.hint("Not logged in anywhere.")
		return nil
	}
	var login settings.Login
	var found bool
	err := settings.UpdateLogins(ctx, s.LoginFile, func(l *settings.Logins) error {
		if login, found = l.ByServer[s.Server]; !found {
			return errNoLogin
		}
		delete(l.ByServer, s.Server)
		if l.Current == s.Server {
			l.Current = ""
		}
		return nil
	})
	if err != nil && !errors.Is(err, errNoLogin) {
		return err
	}
	stored := settings.Settings{Token: login.Token, OIDC: login.OIDC, AWS: login.AWS}
	for _, identity := range []string{stored.Identity(), s.Identity()} {
		if err := credcache.Open(s.CacheDir, s.Server, identity).Clear(); err != nil {
			return fmt.Errorf("remove the kept credentials: %w", err)
		}
	}
	if a.getenv("BGCTL_TOKEN") != "" {
		a.hint("BGCTL_TOKEN is set and still gives access: unset it.")
	}
	if !found {
		a.hint("Not logged in to %s.", show.Safe(s.Server))
		return nil
	}
	if login.OIDC != nil {
		a.forget(ctx, s, *login.OIDC)
	}
	a.hint("Logged out of %s.", show.Safe(s.Server))
	return nil
}

var errNoLogin = errors.New("not logged in")
