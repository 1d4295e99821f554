package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

type requestsFlags struct {
	filter client.RequestFilter
	mine   bool
	limit  int
	all    bool
}

func (a *app) requestsCommand() *cobra.Command {
	var f requestsFlags
	cmd := &cobra.Command{
		Use:   "requests [REQUEST_ID]",
		Short: "List access requests, newest first, or show one",
		Long: `List access requests, newest first: your own; reviewers and auditors see
everybody's. --to-approve lists those that wait for you. With the id of a request
it shows everything about that one.`,
		Example: `  bgctl requests
  bgctl requests --to-approve
  bgctl requests --status approved --profile prod
  bgctl requests 0123456789abcdef`,
		Args:              upToOneArg("bgctl requests 0123456789abcdef"),
		ValidArgsFunction: a.completeRequests(client.RequestFilter{}),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.requests(cmd.Context(), api, f)
			}
			id, err := requestID(args[0])
			if err != nil {
				return err
			}
			r, err := api.AccessRequest(cmd.Context(), id)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(r)
			}
			return a.print([]byte(a.requestDetails(a.out, r)))
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.mine, "mine", false, "only your own")
	flags.BoolVar(&f.filter.Decidable, "to-approve", false, "only those that wait, and that you may approve or deny")
	flags.StringVar(&f.filter.Status, "status", "", "only requests in this `STATE`: "+strings.Join(requestStates(), ", "))
	flags.StringVar(&f.filter.Profile, "profile", "", "only requests for this `PROFILE`")
	flags.IntVar(&f.limit, "limit", listDefault, "at most this many requests")
	flags.BoolVar(&f.all, "all", false, "every request, however many")
	cmd.MarkFlagsMutuallyExclusive("limit", "all")
	cmd.MarkFlagsMutuallyExclusive("mine", "to-approve")
	completeFlag(cmd, "status", words(requestStates()...))
	completeFlag(cmd, "profile", a.completeProfiles)
	return cmd
}

func requestStates() []string {
	var out []string
	for _, s := range breakglass.RequestStatuses() {
		out = append(out, string(s))
	}
	return out
}

// requestID checks the form of an id, so that a profile isn't looked up as one.
func requestID(ref string) (string, error) {
	if breakglass.IsID(ref) {
		return ref, nil
	}
	return "", &usageError{message: "The id of a request has 16 characters from 0 to 9 and a to f, not " + quote(ref) + ".",
		now: []string{"`bgctl requests` lists them"}}
}

func (a *app) requests(ctx context.Context, api *client.Client, f requestsFlags) error {
	bad := &usageError{message: "This can't be listed."}
	if f.limit < 1 {
		bad.faults = append(bad.faults, "--limit must be at least 1")
	}
	if s := f.filter.Status; s != "" && !breakglass.RequestStatus(s).IsValid() {
		bad.faults = append(bad.faults, "--status must be one of "+strings.Join(requestStates(), ", "))
	}
	if len(bad.faults) > 0 {
		return bad
	}
	if f.mine {
		me, err := api.Whoami(ctx)
		if err != nil {
			return err
		}
		f.filter.Requester = me.Name
	}
	list, next, err := collectRequests(ctx, api, f)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(struct {
			Items      []breakglass.RequestView `json:"items"`
			NextCursor string                   `json:"next_cursor,omitempty"`
		}{list, next})
	}
	if len(list) == 0 {
		a.hint("No requests.")
		return nil
	}
	if err := a.print([]byte(a.requestTable(list))); err != nil {
		return err
	}
	if next != "" {
		a.hint("There are more: --all, or --limit with a larger number.")
	}
	return nil
}

// collectRequests follows the pages until there are enough requests. next is
// where more would follow.
func collectRequests(ctx context.Context, api *client.Client, f requestsFlags) (list []breakglass.RequestView, next string, err error) {
	list = []breakglass.RequestView{}
	for {
		f.filter.Limit = pageSize
		if !f.all {
			f.filter.Limit = min(pageSize, f.limit-len(list))
		}
		page, cursor, err := api.Requests(ctx, f.filter)
		if err != nil {
			return nil, "", err
		}
		list = append(list, page...)
		if cursor == "" || cursor == f.filter.Cursor || !f.all && len(list) >= f.limit {
			return list, cursor, nil
		}
		f.filter.Cursor = cursor
	}
}

func (a *app) requestTable(list []breakglass.RequestView) string {
	head := []show.Column{{Title: "REQUEST"}, {Title: "PROFILE", Shrink: true}, {Title: "REQUESTER", Shrink: true}, {Title: "STATUS"},
		{Title: "FOR"}, {Title: "ASKED"}, {Title: "JUSTIFICATION", Shrink: true}}
	rows := make([][]show.Cell, len(list))
	for i, r := range list {
		style := show.Plain
		if !r.Status.Open() {
			style = show.Dim
		}
		rows[i] = []show.Cell{
			{Text: r.ID}, {Text: r.Profile}, {Text: r.Requester}, requestCell(r), {Text: show.Seconds(r.DurationSeconds)},
			{Text: show.Relative(r.CreatedAt, a.Now())}, {Text: r.Justification, Style: style},
		}
	}
	return show.Table(a.out.Palette, a.out.columns, head, rows)
}

// requestCell shows the state, and of an open request the time that is left.
func requestCell(r breakglass.RequestView) show.Cell {
	left := ", " + show.Seconds(r.RemainingSeconds) + " left"
	switch r.Status {
	case breakglass.RequestApproved:
		return show.Cell{Text: "approved" + left, Style: show.Good}
	case breakglass.RequestPending:
		return show.Cell{Text: "pending" + left, Style: show.Warn}
	}
	return show.Cell{Text: string(r.Status), Style: show.Dim}
}

// requestDetails is everything about a request, for one of the streams.
func (a *app) requestDetails(t terminal, r breakglass.RequestView) string {
	waits, approved, ended, sessions := "", "", "", ""
	switch {
	case r.Status == breakglass.RequestPending:
		waits = "until " + show.Time(r.ExpiresAt, a.local)
	case !r.ApprovedAt.IsZero():
		approved = a.when(r.ApprovedAt) + ", for access until " + show.Time(r.ExpiresAt, a.local)
	}
	if !r.EndedAt.IsZero() {
		ended = string(r.Status) + " by " + r.EndedBy + " at " + a.when(r.EndedAt)
	}
	if r.Sessions > 0 {
		sessions = plural(int64(r.Sessions), "set of credentials", "sets of credentials")
	}
	return show.Fields(t.Palette, t.columns,
		[]string{"Request", "Status", "Profile", "Requester", "Justification", "Ticket", "Duration", "Asked", "Waits", "Approvals", "Approved",
			"Rule", "Used for", "Ended", "Because", "Correlation id"},
		[]show.Cell{{Text: r.ID}, requestCell(r), {Text: r.Profile}, {Text: r.Requester}, {Text: r.Justification}, {Text: r.Ticket},
			{Text: show.Seconds(r.DurationSeconds) + ", from its approval on"}, {Text: a.when(r.CreatedAt)}, {Text: waits}, {Text: progress(r)},
			{Text: approved}, {Text: r.ApprovalRule}, {Text: sessions}, {Text: ended}, {Text: r.EndedReason}, {Text: r.CorrelationID}})
}
