package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

func (a *app) mfaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mfa",
		Short: "Enrol, see or remove your second factor",
		Long: `A policy rule can ask for a second factor: a code from an authenticator app. Enrol
yours before you need it.

A confirmed authenticator is replaced by removing it first, which needs a code of it.
When it is lost, an admin resets it.`,
		Example: "  bgctl mfa enrol\n  bgctl mfa status\n  bgctl mfa remove\n  bgctl mfa reset alice@example.com",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.mfaEnrolCommand(), a.mfaConfirmCommand(), a.mfaStatusCommand(), a.mfaRemoveCommand(),
		a.mfaInviteCommand(), a.mfaResetCommand())
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		bad := usage("There is no command %s.", quote("mfa "+args[0]))
		if near := nearest(args[0], names); near != "" {
			bad.faults = []string{"did you mean: bgctl mfa " + near + "?"}
		}
		return bad
	}
	return cmd
}

func (a *app) mfaEnrolCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "enrol",
		Short: "Enrol an authenticator app",
		Long: `Shows a secret for your authenticator app, as a QR code on a terminal and as text, and
asks for its first code. The secret is shown this once; whoever sees it has your second factor.

Where the server wants an enrolment code from an admin you are asked for it; a script
gives it in BGCTL_ENROLMENT_CODE. Without a terminal, finish with bgctl mfa confirm.`,
		Example:           "  bgctl mfa enrol",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.mfaEnrol(cmd.Context()) },
	}
}

func (a *app) mfaEnrol(ctx context.Context) error {
	api, err := a.client()
	if err != nil {
		return err
	}
	status, err := api.MFAStatus(ctx)
	if err != nil {
		return a.withoutMFA(err)
	}
	invitation, err := a.enrolmentCode(ctx, status)
	if err != nil {
		return err
	}
	made, err := api.EnrolMFA(ctx, invitation)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(made)
	}
	if err := a.printEnrolment(made); err != nil {
		return err
	}
	if !a.canAsk() {
		a.hint("It counts as soon as you confirm it with its first code: bgctl mfa confirm")
		return nil
	}
	return a.mfaConfirm(ctx, api, false)
}

// enrolmentCode is the code of an admin, where the server wants one.
func (a *app) enrolmentCode(ctx context.Context, status breakglass.MFAStatus) (string, error) {
	text := a.getenv("BGCTL_ENROLMENT_CODE")
	if text == "" && status.InvitationRequired && a.canAsk() {
		q := a.asker(ctx)
		var err error
		if text, err = q.ask(q.bold("Enrolment code from your admin > ")); err != nil {
			return "", err
		}
	}
	code := strings.ToUpper(strings.ReplaceAll(plainCode(text), "-", ""))
	if code == "" && !status.InvitationRequired {
		return "", nil
	}
	if code == "" {
		return "", &usageError{message: "This server wants an enrolment code from an admin (bgctl mfa invite).",
			now: []string{"put it into BGCTL_ENROLMENT_CODE, or run this on a terminal"}}
	}
	if problem := breakglass.CheckInvitation(code); problem != "" {
		return "", usage("The enrolment code %s.", problem)
	}
	return code, nil
}

func (a *app) printEnrolment(made client.MFAEnrolment) error {
	text := ""
	if a.out.is {
		text = show.QR(made.URI, a.out.Colour, a.out.columns)
	}
	return a.print([]byte(text + show.Fields(a.out.Palette, 0, []string{"Secret", "URI"}, []show.Cell{{Text: made.Secret}, {Text: made.URI}})))
}

func (a *app) mfaConfirmCommand() *cobra.Command {
	return a.mfaCodeCommand(&cobra.Command{
		Use:     "confirm",
		Short:   "Confirm an enrolment with its first code",
		Long:    `Puts the authenticator that bgctl mfa enrol began in force.`,
		Example: "  bgctl mfa confirm\n  oathtool --totp -b - < secret | bgctl mfa confirm --totp-stdin",
	}, a.mfaConfirm)
}

func (a *app) mfaRemoveCommand() *cobra.Command {
	return a.mfaCodeCommand(&cobra.Command{
		Use:     "remove",
		Short:   "Remove your authenticator",
		Long:    `Removes your authenticator. Needs a code of it; when it is lost, ask an admin (bgctl mfa reset).`,
		Example: "  bgctl mfa remove",
	}, func(ctx context.Context, api *client.Client, stdin bool) error {
		return a.changeWithCode(ctx, stdin, "Your authenticator is removed.", api.RemoveMFA)
	})
}

// mfaCodeCommand is a command that a code decides.
func (a *app) mfaCodeCommand(cmd *cobra.Command, run func(ctx context.Context, api *client.Client, stdin bool) error) *cobra.Command {
	var stdin bool
	cmd.Args, cmd.ValidArgsFunction = noArgs, cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := a.client()
		if err != nil {
			return err
		}
		return run(cmd.Context(), api, stdin)
	}
	cmd.Flags().BoolVar(&stdin, codeFlag, false, "read the code from standard input (default: BGCTL_TOTP, or asked on a terminal)")
	return cmd
}

func (a *app) mfaConfirm(ctx context.Context, api *client.Client, stdin bool) error {
	return a.changeWithCode(ctx, stdin, "Your authenticator is enrolled.", api.ConfirmMFA)
}

// changeWithCode asks for a code first: what it is for always needs one.
func (a *app) changeWithCode(ctx context.Context, stdin bool, done string, change func(context.Context, string) (breakglass.MFAStatus, error)) error {
	var status breakglass.MFAStatus
	err := a.withCode(ctx, stdin, func(code string) (err error) {
		if code == "" {
			return &breakglass.Error{Code: breakglass.CodeMFARequired, Message: "This needs a code from your authenticator.",
				MFA: &breakglass.MFAWanted{Accepts: []string{breakglass.MFAByTOTP}, Enrolled: true}}
		}
		status, err = change(ctx, code)
		return err
	})
	if err != nil {
		return a.withoutMFA(err)
	}
	if a.json() {
		return a.printJSON(status)
	}
	return a.print([]byte(done + "\n"))
}

func (a *app) mfaStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "status",
		Short:             "Show whether you have a second factor",
		Example:           "  bgctl mfa status",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.client()
			if err != nil {
				return err
			}
			status, err := api.MFAStatus(cmd.Context())
			if err != nil {
				return a.withoutMFA(err)
			}
			if a.json() {
				return a.printJSON(status)
			}
			state := show.Cell{Text: "none"}
			locked := ""
			switch {
			case status.Enrolled:
				state = show.Cell{Text: "enrolled since " + show.Time(status.ConfirmedAt, a.local), Style: show.Good}
			case status.Pending:
				state = show.Cell{Text: "begun; confirm it with bgctl mfa confirm", Style: show.Warn}
			case status.InvitationRequired:
				state.Text += "; to enrol, ask an admin for a code (bgctl mfa invite)"
			}
			if !status.LockedUntil.IsZero() {
				locked = "until " + a.when(status.LockedUntil) + ": too many wrong codes"
			}
			return a.print([]byte(show.Fields(a.out.Palette, a.out.columns, []string{"Authenticator", "Locked"}, []show.Cell{state, {Text: locked, Style: show.Bad}})))
		},
	}
}

func (a *app) mfaInviteCommand() *cobra.Command {
	return a.mfaForOthers(&cobra.Command{
		Use:   "invite NAME",
		Short: "Make an enrolment code for somebody (admins)",
		Long: `Makes a code with which that person, and nobody else, can enrol an authenticator within
24 hours. Give it to them in a way in which you know that it is them.`,
		Example: "  bgctl mfa invite alice@example.com",
	}, func(ctx context.Context, api *client.Client, name string) error {
		invitation, err := api.InviteMFA(ctx, name)
		if err != nil {
			return a.withoutMFA(err)
		}
		if a.json() {
			return a.printJSON(invitation)
		}
		return a.print([]byte(show.Fields(a.out.Palette, a.out.columns, []string{"For", "Code", "Until"},
			[]show.Cell{{Text: invitation.Name}, {Text: invitation.Code}, {Text: a.when(invitation.ExpiresAt)}})))
	})
}

func (a *app) mfaResetCommand() *cobra.Command {
	return a.mfaForOthers(&cobra.Command{
		Use:     "reset NAME",
		Short:   "Remove somebody's lost authenticator (admins)",
		Long:    `Removes the authenticator of somebody else. Be sure that it is them who asked: until they enrol again, their token is all that they have.`,
		Example: "  bgctl mfa reset alice@example.com",
	}, func(ctx context.Context, api *client.Client, name string) error {
		if err := api.ResetMFA(ctx, name); err != nil {
			return a.withoutMFA(err)
		}
		if a.json() {
			return a.printJSON(map[string]string{"name": name})
		}
		return a.print([]byte("The authenticator of " + show.Safe(name) + " is removed.\n"))
	})
}

func (a *app) mfaForOthers(cmd *cobra.Command, run func(ctx context.Context, api *client.Client, name string) error) *cobra.Command {
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && breakglass.CheckPersonName(args[0]) == "" {
			return nil
		}
		if len(args) == 1 {
			return usage("NAME %s.", breakglass.CheckPersonName(args[0]))
		}
		return &usageError{message: "Whose? Name one person.", now: []string{strings.TrimSpace(cmd.Example)}}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := a.client()
		if err != nil {
			return err
		}
		return run(cmd.Context(), api, args[0])
	}
	return cmd
}

// withoutMFA explains a server that has none of these calls.
func (a *app) withoutMFA(err error) error {
	var e *breakglass.Error
	if errors.As(err, &e) && e.Code == breakglass.CodeNotFound {
		return usage("This server checks no second factors itself (auth.mfa isn't configured there).")
	}
	return err
}
