package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/cli/show"
	"breakglass/internal/client"
	"breakglass/internal/version"
)

func (a *app) profilesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "profiles",
		Short: "List the profiles that you may invoke now",
		Long: `List the profiles that policy lets you invoke at this moment, with the longest time
and the reasons that it allows. Rate limits and events that are already active are not looked at.`,
		Example:           "  bgctl profiles\n  bgctl profiles -o json",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.client()
			if err != nil {
				return err
			}
			offers, err := api.Profiles(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"items": offers})
			}
			if len(offers) == 0 {
				a.hint("There is no profile that you may invoke now.\nWhy not, and when it opens: bgctl invoke PROFILE --reason incident --justification \"…\" --dry-run")
				return nil
			}
			return a.print([]byte(a.offerTable(offers)))
		},
	}
}

func (a *app) offerTable(offers []client.ProfileOffer) string {
	head := []show.Column{{Title: "PROFILE"}, {Title: "REGION"}, {Title: "DEFAULT"}, {Title: "LONGEST"}, {Title: "TICKET"}, {Title: "MFA"}, {Title: "REASONS", Shrink: true},
		{Title: "RULE", Shrink: true}}
	rows := make([][]show.Cell, len(offers))
	for i, o := range offers {
		reasons := make([]string, len(o.ReasonCodes))
		for j, r := range o.ReasonCodes {
			reasons[j] = string(r)
		}
		ticket := "no"
		if o.TicketRequired {
			ticket = "required"
		}
		mfa := "no"
		if o.MFARequired {
			mfa = "required"
		}
		rows[i] = []show.Cell{{Text: o.Profile}, {Text: o.Region}, {Text: show.Seconds(o.DefaultDurationSeconds)},
			{Text: show.Seconds(o.MaxDurationSeconds)}, {Text: ticket}, {Text: mfa}, {Text: strings.Join(reasons, ", ")}, {Text: o.Rule}}
	}
	return show.Table(a.out.Palette, a.out.columns, head, rows)
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "whoami",
		Short:             "Show who the server takes you for",
		Long:              `Show your name, groups and roles as the server sees them, and by which way in you came.`,
		Example:           "  bgctl whoami",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := a.client()
			if err != nil {
				return err
			}
			me, err := api.Whoami(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(me)
			}
			s, err := a.settings()
			if err != nil {
				return err
			}
			none := func(list []string) string {
				if len(list) == 0 {
					return "none"
				}
				return strings.Join(list, ", ")
			}
			titles, cells := []string{"Name", "Groups", "Roles"}, []show.Cell{{Text: me.Name}, {Text: none(me.Groups)}, {Text: none(me.Roles)}}
			if me.AuthenticatedBy != "" {
				titles, cells = append(titles, "Way in"), append(cells, show.Cell{Text: me.AuthenticatedBy})
			}
			titles, cells = append(titles, "Server", "Token from"), append(cells, show.Cell{Text: s.Server}, show.Cell{Text: s.TokenFrom})
			return a.print([]byte(show.Fields(a.out.Palette, a.out.columns, titles, cells)))
		},
	}
}

// serverVersionTimeout bounds what a person waits for a line that is nice to have.
const serverVersionTimeout = 2 * time.Second

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Show the version of bgctl and of the server",
		Long:              `Show the version of bgctl and, when one is configured and answers, of the server.`,
		Example:           "  bgctl version\n  bgctl version -o json",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mine := client.Version{Version: version.Version, Commit: version.Commit, Go: version.Go()}
			server, why := a.serverVersion(cmd.Context())
			if a.json() {
				return a.printJSON(struct {
					client.Version
					Server *client.Version `json:"server"`
				}{mine, server})
			}
			text := why
			if server != nil {
				text = server.Version + " (" + server.Commit + ", " + server.Go + ")"
			}
			return a.print([]byte(show.Fields(a.out.Palette, a.out.columns, []string{"bgctl", "server"},
				[]show.Cell{{Text: mine.Version + " (" + mine.Commit + ", " + mine.Go + ")"}, {Text: text}})))
		},
	}
}

func (a *app) serverVersion(ctx context.Context) (v *client.Version, why string) {
	s, err := a.settings()
	if err != nil || s.Server == "" {
		return nil, "none configured"
	}
	api, err := a.newClient(s, "") // anybody may ask, so the token stays here
	if err != nil {
		return nil, "none configured"
	}
	ctx, cancel := context.WithTimeout(ctx, serverVersionTimeout)
	defer cancel()
	got, err := api.Version(ctx)
	if err != nil {
		return nil, "no answer from " + s.Server
	}
	return &got, ""
}
