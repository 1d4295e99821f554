package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// requestFlags are what a person said about an access request.
type requestFlags struct {
	profile       string
	justification string
	duration      string
	ticket        string
	wait          bool
}

func (a *app) requestCommand() *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "request PROFILE",
		Short: "Ask for access that somebody approves",
		Long: `Ask for access to a profile. Who approves, and how many of them have to, is the
server's approval rules' to say; a rule may approve at once. Access begins with
the last approval and lasts as long as you asked for.

With --wait it stays until the request is decided: exit code 0 when it is approved,
3 when it is denied or cancelled, 1 when nobody decided in time. Ctrl-C stops the
waiting and leaves the request as it is.

On a terminal you are asked for what is missing. Elsewhere it is an error.
The justification has 20 to 1000 characters and says what the access is for.`,
		Example: `  bgctl request prod --justification "Changing the retention of the audit bucket, OPS-12"
  bgctl request prod --justification "Migrating the orders database" --ticket OPS-31 --duration 4h
  bgctl request prod --justification "Migrating the orders database" --wait && bgctl exec prod -- ./migrate`,
		Args:              upToOneArg(`bgctl request prod --justification "Migrating the orders database, OPS-31"`),
		ValidArgsFunction: a.completeProfiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.profile = args[0]
			}
			return a.request(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.justification, "justification", "", "what it is for, in your own words: `TEXT` of 20 to 1000 characters")
	flags.StringVar(&f.duration, "duration", "", "how long, such as 1h, 90m or 2h30m; at most 8h (default 1h, or less where the rule says so)")
	flags.StringVar(&f.ticket, "ticket", "", "`REFERENCE` of the change or incident")
	flags.BoolVar(&f.wait, "wait", false, "stay until it is decided")
	completeFlag(cmd, "duration", words("30m", "1h", "2h", "4h", "8h"))
	return cmd
}

func (a *app) request(ctx context.Context, f requestFlags) error {
	api, err := a.client()
	if err != nil {
		return err
	}
	if missing := missingOf([]named{{"PROFILE", f.profile}, {"--justification", f.justification}}); len(missing) > 0 {
		if !a.canAsk() {
			return &usageError{message: "Missing: " + strings.Join(missing, ", ") + ".",
				now: []string{`bgctl request PROFILE --justification "…"`, "`bgctl request --help` says more"}}
		}
		if err := a.askRequest(ctx, &f); err != nil {
			return err
		}
	}
	in, err := f.request()
	if err != nil {
		return err
	}
	r, err := api.Request(ctx, in)
	if err != nil {
		return a.maybeRequested(namingProfiles(ctx, api, f.profile, err))
	}
	if f.wait {
		return a.waitFor(ctx, api, r)
	}
	return a.printRequested(r)
}

// named is a value and the flag that gives it.
type named struct{ name, value string }

func missingOf(list []named) (names []string) {
	for _, m := range list {
		if m.value == "" {
			names = append(names, m.name)
		}
	}
	return names
}

// maybeRequested tells how to find out when the answer got lost.
func (a *app) maybeRequested(err error) error {
	var unreachable *client.UnreachableError
	if errors.As(err, &unreachable) && unreachable.Sent {
		a.hint("It is not known whether this went through: `bgctl requests --mine` shows it.")
	}
	return err
}

func (a *app) askRequest(ctx context.Context, f *requestFlags) error {
	q := a.asker(ctx)
	for f.profile == "" {
		text, err := q.ask(q.bold("Which profile? > "))
		if err != nil {
			return err
		}
		f.profile = strings.TrimSpace(text)
	}
	if f.justification != "" {
		return nil
	}
	var err error
	f.justification, err = q.askJustification("What do you need it for? This is on record and the approvers read it")
	return err
}

// request checks what was said as the server will. The server decides.
func (f requestFlags) request() (client.NewRequest, error) {
	bad := &usageError{message: "This can't be requested."}
	check := func(flag, problem string) {
		if problem != "" {
			bad.faults = append(bad.faults, flag+" "+problem)
		}
	}
	check("PROFILE", breakglass.CheckName(f.profile))
	check("--justification", breakglass.CheckJustification(f.justification))
	check("--ticket", breakglass.CheckTicket(f.ticket))
	d, problem := parseDuration(f.duration, breakglass.MaxRequestDuration)
	check("--duration", problem)
	if len(bad.faults) > 0 {
		return client.NewRequest{}, bad
	}
	return client.NewRequest{Profile: f.profile, Justification: f.justification, Ticket: f.ticket, DurationSeconds: int64(d / time.Second)}, nil
}

func (a *app) printRequested(r breakglass.RequestView) error {
	if err := a.printRequest(r); err != nil || a.json() {
		return err
	}
	if r.Status == breakglass.RequestPending {
		a.hint("\nAn approver runs:\n  bgctl approve %[1]s\nWhat became of it, and to withdraw it:\n  bgctl requests %[1]s\n  bgctl cancel %[1]s", r.ID)
	}
	return nil
}

// printRequest prints an access request after something was done to it.
func (a *app) printRequest(r breakglass.RequestView) error {
	if a.json() {
		return a.printJSON(r)
	}
	err := a.print([]byte(show.Fields(a.out.Palette, a.out.columns,
		[]string{"Request", "Profile", "Requester", "Status", "Duration", "Approvals", "Rule"},
		[]show.Cell{{Text: r.ID}, {Text: r.Profile}, {Text: r.Requester}, requestCell(r), {Text: show.Seconds(r.DurationSeconds)}, {Text: progress(r)},
			{Text: r.ApprovalRule}})))
	if err == nil && r.Status == breakglass.RequestApproved {
		a.hint("%s has access until %s:\n  bgctl exec %s -- COMMAND", show.Safe(r.Requester), a.when(r.ExpiresAt), quote(r.Profile))
	}
	return err
}

// progress says how far the approval of a request is.
func progress(r breakglass.RequestView) string {
	if r.AutoApproved {
		return "by the rule, without anybody"
	}
	by := make([]string, len(r.Approvals))
	for i, ap := range r.Approvals {
		by[i] = ap.By
		if ap.Comment != "" {
			by[i] += " (" + ap.Comment + ")"
		}
	}
	text := fmt.Sprintf("%d of %d", len(r.Approvals), r.ApprovalsRequired)
	if len(by) > 0 {
		text += ": " + strings.Join(by, ", ")
	}
	return text
}
