package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

// invokeFlags are what a person said; nil means not said.
type invokeFlags struct {
	profile       string
	reason        string
	justification string
	duration      string
	ticket        string
	invoker       string
	key           string
	dryRun        bool
	codeStdin     bool
}

func (a *app) invokeCommand() *cobra.Command {
	var f invokeFlags
	cmd := &cobra.Command{
		Use:   "invoke PROFILE",
		Short: "Break the glass on a profile",
		Long: `Break the glass: get access to a profile at once, for a limited time. The security
team is told the same second, and your reason is on record.

On a terminal you are asked for what is missing, and for a code of your authenticator
where policy wants a second factor (bgctl mfa enrol). Elsewhere it is an error.
Reasons: incident, maintenance, security, recovery, other.
The justification has 20 to 1000 characters and says what is going on.`,
		Example: `  bgctl invoke prod --reason incident --justification "Primary DB down, INC-4711" --duration 1h
  bgctl invoke prod --reason security --justification "Rotating a leaked key, SEC-12" --ticket SEC-12
  bgctl invoke prod --reason incident --justification "Would this be allowed now?" --dry-run
  bgctl invoke prod --for alice@example.com --reason incident --justification "Paged for INC-4711, primary DB is down"`,
		Args:              upToOneArg(`bgctl invoke prod --reason incident --justification "Primary DB down, INC-4711"`),
		ValidArgsFunction: a.completeProfiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.profile = args[0]
			}
			return a.invoke(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why, as one of the `CODE`s above")
	flags.StringVar(&f.justification, "justification", "", "why, in your own words: `TEXT` of 20 to 1000 characters")
	flags.StringVar(&f.duration, "duration", "", "how long, such as 1h, 90m or 2h30m; at most 4h (default 1h, or less where policy says so)")
	flags.StringVar(&f.ticket, "ticket", "", "`REFERENCE` of the incident or change")
	flags.StringVar(&f.invoker, "for", "", "invoke for this `USER` (delegates only)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would happen, and change nothing")
	flags.StringVar(&f.key, "idempotency-key", "", "`KEY` that makes repeating this very invocation safe (default: a new one)")
	flags.BoolVar(&f.codeStdin, codeFlag, false, "read the code of your authenticator from standard input, where policy wants one (default: BGCTL_TOTP, or asked on a terminal)")
	completeFlag(cmd, "reason", words(reasonWords()...))
	completeFlag(cmd, "duration", words("30m", "1h", "2h", "4h"))
	return cmd
}

func reasonWords() []string {
	codes := breakglass.ReasonCodes()
	out := make([]string, len(codes))
	for i, c := range codes {
		out[i] = string(c)
	}
	return out
}

func (a *app) invoke(ctx context.Context, f invokeFlags) error {
	api, err := a.client()
	if err != nil {
		return err
	}
	if missing := f.missing(); len(missing) > 0 {
		if !a.canAsk() {
			return &usageError{message: "Missing: " + strings.Join(missing, ", ") + ".",
				now: []string{`bgctl invoke PROFILE --reason incident --justification "…"`, "`bgctl invoke --help` says more"}}
		}
		if err := a.askInvocation(ctx, api, &f); err != nil {
			return err
		}
	}
	in, err := f.request()
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.dryRun(ctx, api, in)
	}
	if f.key == "" {
		f.key = client.NewIdempotencyKey()
	}
	var out client.Invoked
	err = a.withCode(ctx, f.codeStdin, func(code string) (err error) {
		in.TOTP = code
		out, err = api.Invoke(ctx, in, f.key)
		return err
	})
	if err != nil {
		return a.maybeInvoked(err, f.key)
	}
	_ = a.cache().Keep(out.ID, out.Profile) // an older event's credentials are over
	return a.printInvoked(out)
}

// maybeInvoked tells how to find out when the answer got lost.
func (a *app) maybeInvoked(err error, key string) error {
	var unreachable *client.UnreachableError
	if errors.As(err, &unreachable) && unreachable.Sent {
		a.hint("It is not known whether this went through. Repeating it with --idempotency-key %s is safe.", quote(key))
	}
	return err
}

func (f invokeFlags) missing() []string {
	return missingOf([]named{{"PROFILE", f.profile}, {"--reason", f.reason}, {"--justification", f.justification}})
}

// request checks what was said as the server will, so that a slip is told
// before the network is asked, all slips at once. The server decides.
func (f invokeFlags) request() (client.Invocation, error) {
	bad := &usageError{message: "This can't be invoked."}
	check := func(flag, problem string) {
		if problem != "" {
			bad.faults = append(bad.faults, flag+" "+problem)
		}
	}
	in := client.Invocation{Profile: f.profile, ReasonCode: breakglass.ReasonCode(f.reason), Justification: f.justification,
		Ticket: f.ticket, Invoker: f.invoker}
	check("PROFILE", breakglass.CheckName(f.profile))
	if !in.ReasonCode.IsValid() {
		check("--reason", "must be one of "+strings.Join(reasonWords(), ", "))
	}
	check("--justification", breakglass.CheckJustification(f.justification))
	check("--ticket", breakglass.CheckTicket(f.ticket))
	if f.invoker != "" {
		check("--for", breakglass.CheckPersonName(f.invoker))
	}
	d, problem := parseDuration(f.duration, breakglass.MaxDuration)
	check("--duration", problem)
	in.DurationSeconds = int64(d / time.Second)
	check("--idempotency-key", checkKey(f.key))
	if len(bad.faults) > 0 {
		return in, bad
	}
	return in, nil
}

// parseDuration reads how long access is wanted, at most longest; "" is the default.
func parseDuration(s string, longest time.Duration) (d time.Duration, problem string) {
	if s == "" {
		return 0, ""
	}
	text := strings.ReplaceAll(s, " ", "")
	if n, err := strconv.Atoi(text); err == nil && n != 0 {
		return 0, fmt.Sprintf("needs a unit: %dm are minutes, %ds seconds, %dh hours", n, n, n)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Sprintf("can't be %q: write numbers with the units h, m and s, such as 1h, 90m or 2h30m", s)
	}
	if d < breakglass.MinDuration || d > longest || d%time.Second != 0 {
		return 0, fmt.Sprintf("must be whole seconds from 1s to %s, not %q", show.Duration(longest), s)
	}
	return d, ""
}

// checkKey allows what fits an Idempotency-Key header without quoting.
func checkKey(key string) string {
	if len(key) > 128 || strings.ContainsFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:-", r)
	}) {
		return "must be up to 128 letters, digits, dots, colons, dashes and underscores"
	}
	return ""
}

func (a *app) printInvoked(out client.Invoked) error {
	if a.json() {
		return a.printJSON(out.View)
	}
	ev := out.View
	left := time.Duration(ev.RemainingSeconds) * time.Second
	names := []string{"Event", "Profile", "For", "Status", "Expires", "Escalated"}
	escalated, forWhom := "", ""
	if ev.Escalated {
		escalated = "yes: this is the latest of several, and the security team is alerted"
	}
	if ev.RequestedBy != ev.Invoker {
		forWhom = ev.Invoker + ", who alone gets the credentials"
	}
	values := []show.Cell{
		{Text: ev.ID}, {Text: ev.Profile}, {Text: forWhom}, statusCell(ev),
		{Text: show.Time(ev.ExpiresAt, a.local) + ", in " + show.Duration(left)}, {Text: escalated, Style: show.Warn},
	}
	if err := a.print([]byte(show.Fields(a.out.Palette, a.out.columns, names, values))); err != nil {
		return err
	}
	if out.Replayed {
		a.hint("This key was used before: this is the event that it made then.")
	}
	if forWhom == "" && ev.Status == breakglass.StatusActive {
		p := quote(ev.Profile)
		a.hint("\nUse it:\n  bgctl exec %s -- COMMAND\n  eval \"$(bgctl env %s)\"\nWhen you are done:\n  bgctl close %s --reason \"…\"", p, p, p)
	}
	return nil
}

func (a *app) dryRun(ctx context.Context, api *client.Client, in client.Invocation) error {
	d, err := api.DryRun(ctx, in)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(d)
	}
	escalated, factor := "", ""
	if d.Escalated {
		escalated = "yes: the security team would be alerted"
	}
	switch d.MFA {
	case "", "none":
	case breakglass.MFAByTOTP:
		factor = "a code from your authenticator, which you will be asked for"
	default:
		factor = "that of your login (" + d.MFA + ")"
	}
	return a.print([]byte(show.Fields(a.out.Palette, a.out.columns,
		[]string{"Dry run", "Profile", "Invoker", "Reason", "Duration", "Rule", "Second factor", "Escalated"},
		[]show.Cell{{Text: "this would be granted now; nothing was changed", Style: show.Good}, {Text: d.Profile}, {Text: d.Invoker},
			{Text: string(d.ReasonCode)}, {Text: show.Seconds(d.DurationSeconds)}, {Text: d.PolicyRule}, {Text: factor}, {Text: escalated, Style: show.Warn}})))
}
