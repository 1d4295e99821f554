package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

func (a *app) checkCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "check EVENT_ID|PROFILE",
		Short: "Show one event, and how much time is left",
		Long: `Show one event with everything that is known about it. With a profile, that is
your own active event there.`,
		Example: `  bgctl check prod
  bgctl check 0123456789abcdef -o json
  bgctl check prod --watch`,
		Args:              oneEvent("bgctl check prod"),
		ValidArgsFunction: a.completeActive,
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := a.client()
			if err != nil {
				return err
			}
			ev, err := activeEvent(cmd.Context(), api, args[0])
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(ev)
			}
			if err := a.print([]byte(a.eventDetails(ev))); err != nil {
				return err
			}
			if watch && a.out.is {
				return a.watch(cmd.Context(), api, ev)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "on a terminal, count down until the event ends")
	return cmd
}

func (a *app) eventDetails(ev breakglass.View) string {
	requested, escalated := "", ""
	if ev.RequestedBy != ev.Invoker {
		requested = ev.RequestedBy
	}
	if ev.Escalated {
		escalated = "yes"
	}
	ends := show.Time(ev.ExpiresAt, a.local)
	if ev.Status == breakglass.StatusActive {
		ends += ", in " + show.Seconds(ev.RemainingSeconds)
	}
	closed := ""
	if !ev.ClosedAt.IsZero() {
		closed = a.when(ev.ClosedAt)
	}
	sessions := ""
	if ev.Sessions > 0 {
		sessions = plural(int64(ev.Sessions), "set of credentials", "sets of credentials")
	}
	return show.Fields(a.out.Palette, a.out.columns,
		[]string{"Event", "Status", "Profile", "Invoker", "Requested by", "Reason", "Justification", "Ticket", "Invoked", "Duration",
			"Extended", "Ends", "Used for", "Closed", "Closed by", "Because", "Rule", "Escalated", "Request id"},
		[]show.Cell{{Text: ev.ID}, statusCell(ev), {Text: ev.Profile}, {Text: ev.Invoker}, {Text: requested}, {Text: string(ev.ReasonCode)},
			{Text: ev.Justification}, {Text: ev.Ticket}, {Text: a.when(ev.CreatedAt)}, {Text: show.Seconds(ev.DurationSeconds)},
			{Text: times(ev.Extensions)}, {Text: ends}, {Text: sessions}, {Text: closed}, {Text: ev.ClosedBy}, {Text: ev.ClosedReason}, {Text: ev.PolicyRule},
			{Text: escalated, Style: show.Warn}, {Text: ev.RequestID}})
}

// watchRefresh is how often the server is asked again: somebody else may close
// the event.
const watchRefresh = 15 * time.Second

// watch counts down in one line until the event is over.
func (a *app) watch(ctx context.Context, api *client.Client, ev breakglass.View) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	asked := a.Now()
	for {
		left := time.Duration(ev.RemainingSeconds)*time.Second - a.Now().Sub(asked)
		if ev.Status != breakglass.StatusActive {
			return a.print(fmt.Appendf(nil, "\r\x1b[K%s\n", a.out.Paint(show.Bad, string(ev.Status))))
		}
		style := show.Good
		if left < 5*time.Minute {
			style = show.Warn
		}
		line := fmt.Sprintf("\r\x1b[K%s left on %s", a.out.Paint(style, show.Clock(left)), show.Safe(ev.Profile))
		if err := a.print([]byte(line)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return a.print([]byte("\n"))
		case <-tick.C:
		}
		if since := a.Now().Sub(asked); since >= watchRefresh || since >= time.Duration(ev.RemainingSeconds)*time.Second {
			next, err := api.Event(ctx, ev.ID)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil {
				ev, asked = next, a.Now()
			}
		}
	}
}
