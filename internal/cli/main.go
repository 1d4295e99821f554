// Package cli is bgctl: it reads the command line, asks the server and shows
// the answer. It decides nothing about access; checks made here only spare a
// person the way to the server and back.
package cli

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/cli/settings"
	"breakglass/internal/version"
)

// Program is what the operating system gives to a program.
type Program struct {
	Args    []string // without the program's own name
	Environ []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Now     func() time.Time
}

// Main runs bgctl and returns its exit code.
func Main(p Program) int {
	a := newApp(p)
	if len(p.Args) == 1 && p.Args[0] == "--version" {
		return a.finish(a.print([]byte("bgctl " + version.Version + "\n")))
	}
	if e, ok := a.warm(); ok {
		return a.finish(a.printProcessDocument(e))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	// What is left to do after a signal is short; a second one ends it.
	context.AfterFunc(ctx, stop)
	return a.finish(root.ExecuteContext(ctx))
}

// finish reports the error, if any, and returns the exit code.
func (a *app) finish(err error) int {
	if err == nil {
		return exitOK
	}
	var child childExit
	if errors.As(err, &child) {
		return child.code
	}
	if !a.ran {
		// cobra itself refused the command line, before any command ran.
		err = a.withHelp(err)
	}
	ex := a.explain(err)
	a.report(ex)
	return ex.exit
}

// withHelp makes a usage error of a command line that was refused before any
// command ran, and names the help to read.
func (a *app) withHelp(err error) error {
	help := "`bgctl --help` lists the commands"
	if len(a.Args) > 0 && isCommand(a.commands(), a.Args[0]) {
		help = "`bgctl " + a.Args[0] + " --help` says more"
	}
	var use *usageError
	if !errors.As(err, &use) {
		use = &usageError{message: err.Error()}
	}
	use.now = append(use.now, help)
	return use
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "bgctl",
		Short: "Break the glass: emergency access to AWS, now, on the record",
		Long: `bgctl asks a break-glass server for access to an AWS role and uses it: by standing
policy, by a request that somebody approves, or, in an emergency, at once.

Everything you do is on the record, and the security team is told at once when you
break the glass. Access ends by itself; close it when you are done.`,
		Example: `  bgctl login --server https://breakglass.example.com
  bgctl profiles
  bgctl invoke prod --reason incident --justification "Primary DB down, INC-4711" --duration 1h
  bgctl exec prod -- aws rds describe-db-instances
  bgctl close prod --reason "Failover done"
  bgctl request prod --justification "Migrating the orders database, OPS-31" --wait`,
		Version:       version.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          a.rootArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagFault)
	root.SetVersionTemplate("bgctl {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVarP(&a.flagOutput, "output", "o", "", "`format` of the result: table or json (default table)")
	flags.StringVar(&a.flagServer, "server", "", "`URL` of the server (default $BGCTL_SERVER, the configuration file, the last login)")
	if err := root.RegisterFlagCompletionFunc("output", words(settings.Table, settings.JSON)); err != nil {
		panic(err) // the flag was defined above
	}
	root.AddGroup(&cobra.Group{ID: groupAccess, Title: "Access:"},
		&cobra.Group{ID: groupRequests, Title: "Access that others approve:"}, &cobra.Group{ID: groupRecord, Title: "The record:"}, &cobra.Group{ID: groupSetup, Title: "Set-up:"})
	root.SetHelpCommandGroupID(groupSetup)
	root.SetCompletionCommandGroupID(groupSetup)
	for _, c := range a.commands() {
		// Only the command that is named has to be built: credential_process
		// runs bgctl often, and a person notices milliseconds at every prompt.
		if len(a.Args) > 0 && a.Args[0] != c.name && isCommand(a.commands(), a.Args[0]) {
			continue
		}
		cmd := c.build()
		cmd.GroupID = c.group
		a.marking(cmd)
		root.AddCommand(cmd)
	}
	if len(a.Args) == 0 || !isCommand(a.commands(), a.Args[0]) {
		a.strictCompletion(root)
	}
	return root
}

// command is a command that isn't built yet.
type command struct {
	name  string
	group string
	build func() *cobra.Command
}

func isCommand(list []command, name string) bool {
	return slices.ContainsFunc(list, func(c command) bool { return c.name == name })
}

func (a *app) commands() []command {
	return []command{
		{"invoke", groupAccess, a.invokeCommand}, {"exec", groupAccess, a.execCommand}, {"env", groupAccess, a.envCommand},
		{"credentials", groupAccess, a.credentialsCommand}, {"extend", groupAccess, a.extendCommand}, {"close", groupAccess, a.closeCommand},
		{"profiles", groupAccess, a.profilesCommand},
		{"request", groupRequests, a.requestCommand}, {"requests", groupRequests, a.requestsCommand}, {"approve", groupRequests, a.approveCommand},
		{"deny", groupRequests, a.denyCommand}, {"cancel", groupRequests, a.cancelCommand},
		{"list", groupRecord, a.listCommand}, {"check", groupRecord, a.checkCommand}, {"why", groupRecord, a.whyCommand},
		{"events", groupRecord, a.eventsCommand}, {"verify", groupRecord, a.verifyCommand},
		{"mfa", groupSetup, a.mfaCommand}, {"login", groupSetup, a.loginCommand}, {"logout", groupSetup, a.logoutCommand}, {"whoami", groupSetup, a.whoamiCommand},
		{"version", groupSetup, a.versionCommand},
	}
}

// The groups of commands in the help.
const (
	groupAccess   = "access"
	groupRequests = "requests"
	groupRecord   = "record"
	groupSetup    = "setup"
)

// marking notes that a command began to run: errors from then on are no longer
// about the form of the command line.
func (a *app) marking(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.marking(sub)
	}
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.ran, a.command = true, cmd.Name()
		return run(cmd, args)
	}
}
