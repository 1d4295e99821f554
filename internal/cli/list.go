package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

const (
	listDefault = 50  // events shown unless told otherwise
	pageSize    = 500 // items asked for at once
)

type listFlags struct {
	filter       client.EventFilter
	since, until string
	limit        int
	all          bool
}

func (a *app) listCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List break-glass events, newest first",
		Long: `List your own events, newest first. Reviewers and auditors see everybody's.

--since and --until take a time (2026-11-23T02:00:00Z) or an age (90m, 24h, 7d).
A terminal without room for all columns gets some of them in a second line, and
long texts end with …; -o json shows everything.`,
		Example: `  bgctl list
  bgctl list --status active
  bgctl list --profile prod --since 7d --all
  bgctl list --invoker alice@example.com -o json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.list(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.filter.Invoker, "invoker", "", "only events of this `USER`")
	flags.StringVar(&f.filter.Status, "status", "", "only events in this `STATE`: active, closed or expired")
	flags.StringVar(&f.filter.Profile, "profile", "", "only events on this `PROFILE`")
	flags.StringVar(&f.filter.Reason, "reason", "", "only events with this reason `CODE`")
	flags.StringVar(&f.since, "since", "", "only events invoked at or after this `TIME`")
	flags.StringVar(&f.until, "until", "", "only events invoked before this `TIME`")
	flags.IntVar(&f.limit, "limit", listDefault, "at most this many events")
	flags.BoolVar(&f.all, "all", false, "every event, however many")
	cmd.MarkFlagsMutuallyExclusive("limit", "all")
	completeFlag(cmd, "status", words("active", "closed", "expired"))
	completeFlag(cmd, "reason", words(reasonWords()...))
	completeFlag(cmd, "profile", a.completeProfiles)
	return cmd
}

func (a *app) list(ctx context.Context, f listFlags) error {
	if err := f.check(a.Now()); err != nil {
		return err
	}
	api, err := a.client()
	if err != nil {
		return err
	}
	events, next, err := collect(ctx, api, f)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(struct {
			Items      []breakglass.View `json:"items"`
			NextCursor string            `json:"next_cursor,omitempty"`
		}{events, next})
	}
	if len(events) == 0 {
		a.hint("No events.")
		return nil
	}
	if err := a.print([]byte(a.eventTable(events))); err != nil {
		return err
	}
	if next != "" {
		a.hint("There are more: --all, or --limit with a larger number.")
	}
	return nil
}

func (f *listFlags) check(now time.Time) error {
	bad := &usageError{message: "This can't be listed."}
	var err error
	if f.filter.Since, err = parseInstant(f.since, now); err != nil {
		bad.faults = append(bad.faults, "--since "+err.Error())
	}
	if f.filter.Until, err = parseInstant(f.until, now); err != nil {
		bad.faults = append(bad.faults, "--until "+err.Error())
	}
	if f.limit < 1 {
		bad.faults = append(bad.faults, "--limit must be at least 1")
	}
	if s := f.filter.Status; s != "" && !breakglass.Status(s).IsValid() {
		bad.faults = append(bad.faults, "--status must be active, closed or expired")
	}
	if r := f.filter.Reason; r != "" && !breakglass.ReasonCode(r).IsValid() {
		bad.faults = append(bad.faults, "--reason must be one of "+strings.Join(reasonWords(), ", "))
	}
	if len(bad.faults) > 0 {
		return bad
	}
	return nil
}

// collect follows the pages until there are enough events. next is where more
// would follow.
func collect(ctx context.Context, api *client.Client, f listFlags) (events []breakglass.View, next string, err error) {
	events = []breakglass.View{}
	for {
		f.filter.Limit = pageSize
		if !f.all {
			f.filter.Limit = min(pageSize, f.limit-len(events))
		}
		page, cursor, err := api.Events(ctx, f.filter)
		if err != nil {
			return nil, "", err
		}
		events = append(events, page...)
		if cursor == "" || cursor == f.filter.Cursor || !f.all && len(events) >= f.limit {
			return events, cursor, nil
		}
		f.filter.Cursor = cursor
	}
}

func (a *app) eventTable(events []breakglass.View) string {
	head := []show.Column{{Title: "EVENT"}, {Title: "PROFILE", Shrink: true}, {Title: "INVOKER", Shrink: true}, {Title: "REASON"},
		{Title: "STATUS"}, {Title: "INVOKED"}, {Title: "JUSTIFICATION", Shrink: true}}
	rows := make([][]show.Cell, len(events))
	for i, ev := range events {
		style := show.Plain
		if ev.Status != breakglass.StatusActive {
			style = show.Dim
		}
		rows[i] = []show.Cell{
			{Text: ev.ID}, {Text: ev.Profile}, {Text: ev.Invoker}, {Text: string(ev.ReasonCode)}, statusCell(ev),
			{Text: show.Relative(ev.CreatedAt, a.Now())}, {Text: ev.Justification, Style: style},
		}
	}
	return show.Table(a.out.Palette, a.out.columns, head, rows)
}

// statusCell shows the state, and of an active event the time that is left. It
// is counted by the server's clock, not by this machine's.
func statusCell(ev breakglass.View) show.Cell {
	if ev.Status != breakglass.StatusActive {
		return show.Cell{Text: string(ev.Status), Style: show.Dim}
	}
	style := show.Good
	if ev.RemainingSeconds < 5*60 {
		style = show.Warn
	}
	return show.Cell{Text: "active, " + show.Seconds(ev.RemainingSeconds) + " left", Style: style}
}
