package cli

import (
	"context"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
)

func (a *app) closeCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "close EVENT_ID|PROFILE",
		Short: "End an event early",
		Long: `End an event before its time is over. With a profile, that is your own active event
there. Reviewers can close everybody's. No more credentials are given out, and
those that bgctl kept are removed; what a running command already holds stays
valid at AWS until it ends.`,
		Example: `  bgctl close prod --reason "Failover done, database is back"
  bgctl close 0123456789abcdef --reason "False alarm"`,
		Args:              oneEvent(`bgctl close prod --reason "Failover done"`),
		ValidArgsFunction: a.completeActive,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.close(cmd.Context(), args[0], reason) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why it can end: `TEXT` of 1 to 1000 characters")
	return cmd
}

func (a *app) close(ctx context.Context, ref, reason string) error {
	api, err := a.client()
	if err != nil {
		return err
	}
	if reason == "" {
		if !a.canAsk() {
			return &usageError{message: "Missing: --reason.", now: []string{`bgctl close ` + quote(ref) + ` --reason "…"`}}
		}
		if reason, err = a.asker(ctx).askWhy("Why can it end?"); err != nil {
			return err
		}
	}
	if problem := breakglass.CheckClosedReason(reason); problem != "" {
		return usage("--reason %s", problem)
	}
	id := ref
	if !breakglass.IsID(ref) {
		active, err := activeEvent(ctx, api, ref)
		if err != nil {
			return err
		}
		id = active.ID
	}
	ev, err := api.Close(ctx, id, reason)
	if err != nil {
		return err
	}
	if err := a.cache().Drop(ev.ID, ev.Profile); err != nil {
		a.hint("Credentials of this event could not be removed from the cache: %s", err.Error())
	}
	if a.json() {
		return a.printJSON(ev)
	}
	err = a.print([]byte(show.Fields(a.out.Palette, a.out.columns,
		[]string{"Event", "Profile", "Status", "Closed"},
		[]show.Cell{{Text: ev.ID}, {Text: ev.Profile}, {Text: string(ev.Status), Style: show.Good}, {Text: show.Time(ev.ClosedAt, a.local)}})))
	if err == nil {
		a.hint("If credentials were handed out, they work until %s at the latest.", show.Time(ev.ExpiresAt, a.local))
	}
	return err
}
