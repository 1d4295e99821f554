package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
)

// Exit codes of shells for a command that can't be run.
const (
	exitNotExecutable = 126
	exitNotFoundCmd   = 127
)

func (a *app) execCommand() *cobra.Command {
	var static, noCache bool
	cmd := &cobra.Command{
		Use:   "exec PROFILE|EVENT_ID -- COMMAND [ARG...]",
		Short: "Run a command with credentials for a profile",
		Long: `Run a command that finds the credentials by itself, as the AWS CLI, Terraform and
every AWS SDK do. No secret is in its environment: it asks a private endpoint of
bgctl, which renews the credentials for as long as you have access. AWS_REGION is
the profile's.

With a profile, access is by the mildest means that applies: standing policy, your
approved request (bgctl request), your active event (bgctl invoke). A renewal goes
through all three again. With the id of an event it is that event alone.

Ten minutes before access ends a warning appears on standard error.

With --static the command gets plain keys in its environment instead, for tools
that don't know container credentials. Those are not renewed.

bgctl ends with the exit code of the command, and with 128+n when signal n ended
it; 127 means that there is no such command, 126 that it can't be run.`,
		Example: `  bgctl exec prod -- aws rds describe-db-instances
  bgctl exec prod -- terraform apply
  bgctl exec prod --static -- ./old-tool
  bgctl exec prod -- bash`,
		Args:              execArgs,
		ValidArgsFunction: a.completeAccess,
		RunE: func(cmd *cobra.Command, args []string) error {
			// Looked up first, because fetching credentials goes on record.
			path, err := exec.LookPath(args[1])
			if err != nil {
				return a.cannotRun(args[1], err)
			}
			src := a.source(args[0], !noCache)
			e, err := src.get(cmd.Context())
			if err != nil {
				return err
			}
			a.warnOfDevKeys(e)
			a.sayGrant(e)
			child := &exec.Cmd{Path: path, Args: args[1:], Stdin: a.Stdin, Stdout: a.Stdout, Stderr: a.Stderr}
			if static {
				child.Env = a.childEnv(staticVariables(e))
				return a.run(child, a.warner(&fixedGrant{src, e}))
			}
			return a.runWithEndpoint(child, src, e)
		},
	}
	cmd.Flags().BoolVar(&static, "static", false, "put plain keys into the command's environment")
	cmd.Flags().BoolVar(&noCache, "no-cache", false, "fetch new credentials and keep none")
	return cmd
}

func execArgs(cmd *cobra.Command, args []string) error {
	switch dash := cmd.ArgsLenAtDash(); {
	case dash == 1 && len(args) > 1:
		return nil
	case dash < 0 && len(args) > 1:
		return fmt.Errorf("put -- between the profile and the command: bgctl exec %s -- %s …", quote(args[0]), quote(args[1]))
	}
	return errors.New("name a profile or event, and a command: bgctl exec PROFILE -- COMMAND")
}

func (a *app) runWithEndpoint(child *exec.Cmd, src *source, first credcache.Entry) error {
	src.warn = func(string, ...any) {} // the terminal belongs to the command now
	ep, err := startEndpoint(src, first)
	if err != nil {
		return fmt.Errorf("serve the credentials on loopback: %w", err)
	}
	defer func() { _ = ep.Close() }()
	child.Env = a.childEnv(a.endpointVariables(first, ep.url, ep.token))
	return a.run(child, a.warner(ep))
}

// run runs the command to its end and hands its exit code on.
func (a *app) run(child *exec.Cmd, w *warner) error {
	forward, stop := holdSignals()
	defer stop()
	if err := child.Start(); err != nil {
		return a.cannotRun(child.Args[0], err)
	}
	forward(child.Process)
	defer w.start()()
	err := child.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return childExit{exitCodeOf(exit)}
	case err != nil:
		return fmt.Errorf("wait for the command: %w", err)
	}
	return nil
}

func (a *app) cannotRun(name string, err error) error {
	code, why := exitNotExecutable, err.Error()
	var execErr *exec.Error
	if errors.As(err, &execErr) {
		why = execErr.Err.Error()
	}
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		code, why = exitNotFoundCmd, "there is no such command"
	case errors.Is(err, fs.ErrPermission):
		why = "it is not executable"
	case errors.Is(err, syscall.ENOEXEC):
		why = "it is no program for this machine"
	}
	a.say("bgctl: %s can't be run: %s", quote(name), show.Safe(why))
	return childExit{code}
}
