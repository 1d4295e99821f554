package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
)

func (a *app) approveCommand() *cobra.Command {
	var comment string
	var yes bool
	cmd := &cobra.Command{
		Use:   "approve REQUEST_ID",
		Short: "Approve somebody's access request",
		Long: `Approve an access request. With the last approval that its rule wants, access begins
at once and lasts as long as the requester asked for. Nobody approves their own.

On a terminal the request is shown first and you are asked whether you are sure;
--yes and scripts approve at once.`,
		Example: `  bgctl requests --to-approve
  bgctl approve 0123456789abcdef
  bgctl approve 0123456789abcdef --comment "As agreed in OPS-31" --yes`,
		Args:              oneRequest("bgctl approve 0123456789abcdef"),
		ValidArgsFunction: a.completeRequests(client.RequestFilter{Decidable: true}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.decide(cmd.Context(), args[0], yes, "Approve this?", func(api *client.Client, id string) (breakglass.RequestView, error) {
				if problem := breakglass.CheckComment(comment); problem != "" {
					return breakglass.RequestView{}, usage("--comment %s", problem)
				}
				return api.Approve(cmd.Context(), id, comment)
			})
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "what the record shall say beside it: `TEXT` of up to 1000 characters")
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask whether you are sure")
	return cmd
}

func (a *app) denyCommand() *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:   "deny REQUEST_ID",
		Short: "Deny an access request, or withdraw its approval",
		Long: `Deny an access request that waits, or withdraw the approval of one: from then on it
gives no credentials. What was handed out before stays valid at AWS until it ends.

On a terminal the request is shown first and you are asked whether you are sure;
--yes and scripts deny at once.`,
		Example:           `  bgctl deny 0123456789abcdef --reason "The migration is next week"`,
		Args:              oneRequest(`bgctl deny 0123456789abcdef --reason "…"`),
		ValidArgsFunction: a.completeRequests(client.RequestFilter{Decidable: true}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" && !a.canAsk() {
				return &usageError{message: "Missing: --reason.", now: []string{"bgctl deny " + quote(args[0]) + ` --reason "…"`}}
			}
			return a.decide(cmd.Context(), args[0], yes, "Deny this?", func(api *client.Client, id string) (breakglass.RequestView, error) {
				if reason == "" {
					var err error
					if reason, err = a.asker(cmd.Context()).askWhy("Why not?"); err != nil {
						return breakglass.RequestView{}, err
					}
				}
				if problem := breakglass.CheckClosedReason(reason); problem != "" {
					return breakglass.RequestView{}, usage("--reason %s", problem)
				}
				return api.Deny(cmd.Context(), id, reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why not: `TEXT` of 1 to 1000 characters, which the requester reads")
	cmd.Flags().BoolVar(&yes, "yes", false, "don't ask whether you are sure")
	return cmd
}

// decide shows the request to a person, has them agree, and does it.
func (a *app) decide(ctx context.Context, ref string, yes bool, question string,
	do func(api *client.Client, id string) (breakglass.RequestView, error)) error {
	id, err := requestID(ref)
	if err != nil {
		return err
	}
	api, err := a.client()
	if err != nil {
		return err
	}
	if a.canAsk() && !yes {
		r, err := api.AccessRequest(ctx, id)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(a.Stderr, a.requestDetails(a.err, r)); err != nil {
			return err
		}
		sure, err := a.asker(ctx).agrees(question)
		if err != nil {
			return err
		}
		if !sure {
			return usage("Not confirmed, so nothing was changed.")
		}
	}
	r, err := do(api, id)
	if err != nil {
		return err
	}
	return a.printRequest(r)
}

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "cancel REQUEST_ID",
		Short: "End your own access request",
		Long: `Withdraw your access request, or give back the access of an approved one. It gives no
credentials from then on, and those that bgctl kept are removed; what a running
command already holds stays valid at AWS until it ends.`,
		Example: `  bgctl cancel 0123456789abcdef
  bgctl cancel 0123456789abcdef --reason "The migration is done"`,
		Args:              oneRequest("bgctl cancel 0123456789abcdef"),
		ValidArgsFunction: a.completeMyRequests,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.cancel(cmd.Context(), args[0], reason) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why: `TEXT` of up to 1000 characters")
	return cmd
}

func (a *app) cancel(ctx context.Context, ref, reason string) error {
	id, err := requestID(ref)
	if err != nil {
		return err
	}
	if problem := breakglass.CheckComment(reason); problem != "" {
		return usage("--reason %s", problem)
	}
	api, err := a.client()
	if err != nil {
		return err
	}
	r, err := api.Cancel(ctx, id, reason)
	if err != nil {
		return err
	}
	if err := a.cache().Drop(r.ID, r.Profile); err != nil {
		a.hint("Credentials of this request could not be removed from the cache: %s", err.Error())
	}
	if err := a.printRequest(r); err != nil {
		return err
	}
	if r.Sessions > 0 && !a.json() {
		a.hint("Credentials that were handed out work until %s at the latest.", show.Time(r.ExpiresAt, a.local))
	}
	return nil
}
