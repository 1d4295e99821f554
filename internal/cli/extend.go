package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

type extendFlags struct {
	justification string
	duration      string
	codeStdin     bool
}

func (a *app) extendCommand() *cobra.Command {
	var f extendFlags
	cmd := &cobra.Command{
		Use:   "extend EVENT_ID|PROFILE",
		Short: "Get more time for your active event",
		Long: `Move the end of your active event, where its rule allows that and never past 4 hours
from its start. It stays the same event, and its credentials are renewed up to the
new end; a running bgctl exec goes on by itself.

It wants a justification of its own, of 20 to 1000 characters: why it takes longer.
On a terminal you are asked for it, and for a code of your authenticator where policy
wants one. Elsewhere leaving it out is an error.`,
		Example: `  bgctl extend prod --justification "Restoring takes longer, 400 GB are left"
  bgctl extend 0123456789abcdef --justification "Failover has to be repeated" --duration 30m`,
		Args:              oneEvent(`bgctl extend prod --justification "Restoring takes longer, 400 GB are left"`),
		ValidArgsFunction: a.completeActive,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.extend(cmd.Context(), args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.justification, "justification", "", "why it takes longer, in your own words: `TEXT` of 20 to 1000 characters")
	flags.StringVar(&f.duration, "duration", "", "how much longer, such as 30m or 1h (default 1h, or less where the 4 hours are nearer)")
	flags.BoolVar(&f.codeStdin, codeFlag, false, "read the code of your authenticator from standard input, where policy wants one (default: BGCTL_TOTP, or asked on a terminal)")
	completeFlag(cmd, "duration", words("15m", "30m", "1h", "2h"))
	return cmd
}

func (a *app) extend(ctx context.Context, ref string, f extendFlags) error {
	api, err := a.client()
	if err != nil {
		return err
	}
	if f.justification == "" && !a.canAsk() {
		return &usageError{message: "Missing: --justification.", now: []string{"bgctl extend " + quote(ref) + ` --justification "…"`}}
	}
	id := ref
	if !breakglass.IsID(ref) {
		active, err := activeEvent(ctx, api, ref)
		if err != nil {
			return err
		}
		id = active.ID
	}
	if f.justification == "" {
		if f.justification, err = a.asker(ctx).askJustification("Why does it take longer? This is on record and the security team reads it"); err != nil {
			return err
		}
	}
	in, err := f.extension()
	if err != nil {
		return err
	}
	var ev breakglass.View
	err = a.withCode(ctx, f.codeStdin, func(code string) error {
		in.TOTP = code
		ev, err = api.Extend(ctx, id, in)
		return err
	})
	if err != nil {
		return err
	}
	if err := a.cache().Move(ev.ID, ev.Profile, ev.ExpiresAt); err != nil {
		a.hint("The new end could not be noted in the cache: %s", err.Error())
	}
	if a.json() {
		return a.printJSON(ev)
	}
	return a.print([]byte(show.Fields(a.out.Palette, a.out.columns,
		[]string{"Event", "Profile", "Status", "Ends", "Extended"},
		[]show.Cell{{Text: ev.ID}, {Text: ev.Profile}, statusCell(ev),
			{Text: show.Time(ev.ExpiresAt, a.local) + ", in " + show.Seconds(ev.RemainingSeconds)}, {Text: times(ev.Extensions)}})))
}

// extension checks what was said as the server will. The server decides.
func (f extendFlags) extension() (client.Extension, error) {
	bad := &usageError{message: "This can't be extended."}
	if problem := breakglass.CheckJustification(f.justification); problem != "" {
		bad.faults = append(bad.faults, "--justification "+problem)
	}
	d, problem := parseDuration(f.duration, breakglass.MaxDuration)
	if problem != "" {
		bad.faults = append(bad.faults, "--duration "+problem)
	}
	if len(bad.faults) > 0 {
		return client.Extension{}, bad
	}
	return client.Extension{Justification: f.justification, DurationSeconds: int64(d / time.Second)}, nil
}

// times counts in words; "" for never.
func times(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "once"
	}
	return plural(int64(n), "time", "times")
}
