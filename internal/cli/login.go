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
	"breakglass/internal/client"
)

const maxTokenBytes = 16 << 10

func (a *app) loginCommand() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "login [--server URL]",
		Short: "Store a token for a server",
		Long: `Store a token for a server, after the server has accepted it. The token is typed
without being shown, or read from standard input. It is kept in a file that you
alone can read, and sent to this server only.

There is no flag for a token: command lines can be seen by everybody on a machine.`,
		Example: `  bgctl login --server https://breakglass.example.com
  pass show breakglass | bgctl login --server https://breakglass.example.com --token-stdin`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.login(cmd.Context(), stdin) },
	}
	cmd.Flags().BoolVar(&stdin, "token-stdin", false, "read the token from standard input")
	return cmd
}

func (a *app) login(ctx context.Context, stdin bool) error {
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
	token, err := a.readToken(ctx, s.Server, stdin)
	if err != nil {
		return err
	}
	api, err := a.newClient(s, token)
	if err != nil {
		return err
	}
	me, err := api.Whoami(ctx)
	if err != nil {
		return err
	}
	if err := store(s, token, me); err != nil {
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

func store(s settings.Settings, token string, me client.Whoami) error {
	logins, err := settings.ReadLogins(s.LoginFile)
	if err != nil {
		return err
	}
	logins.Current = s.Server
	logins.ByServer[s.Server] = settings.Login{Token: token, Name: me.Name}
	return settings.WriteLogins(s.LoginFile, logins)
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
		Short: "Forget the token for a server, and its credentials",
		Long: `Forget the stored token for a server and the credentials that were fetched with it.
The token itself stays valid: whoever runs the server can revoke it.`,
		Example:           "  bgctl logout\n  bgctl logout --server https://breakglass.example.com",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			return a.logout(s)
		},
	}
}

func (a *app) logout(s settings.Settings) error {
	if s.Server == "" {
		a.hint("Not logged in anywhere.")
		return nil
	}
	logins, err := settings.ReadLogins(s.LoginFile)
	if err != nil {
		return err
	}
	l, ok := logins.ByServer[s.Server]
	for _, token := range []string{l.Token, s.Token} {
		if err := credcache.Open(s.CacheDir, s.Server, token).Clear(); err != nil {
			return fmt.Errorf("remove the kept credentials: %w", err)
		}
	}
	if a.getenv("BGCTL_TOKEN") != "" {
		a.hint("BGCTL_TOKEN is set and still gives access: unset it.")
	}
	if !ok {
		a.hint("Not logged in to %s.", show.Safe(s.Server))
		return nil
	}
	delete(logins.ByServer, s.Server)
	if logins.Current == s.Server {
		logins.Current = ""
	}
	if err := settings.WriteLogins(s.LoginFile, logins); err != nil {
		return err
	}
	a.hint("Logged out of %s.", show.Safe(s.Server))
	return nil
}
