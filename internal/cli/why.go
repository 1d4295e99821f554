package cli

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"breakglass/internal/cli/show"
)

// sessionName is the form of ids and of AWS's role session names.
var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

func (a *app) whyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why EVENT_ID|REQUEST_ID|SESSION_NAME",
		Short: "Tell why somebody had access",
		Long: `Tell the story of an event, an access request or a role session: who asked for what
and why, by which rule, who approved, which credentials were issued, when it ended
and how. A session is named by its name in CloudTrail, or by the ARN that ends with
it (userIdentity.arn).

You see your own; reviewers and auditors see everybody's.`,
		Example: `  bgctl why 0123456789abcdef
  bgctl why alice@example.com.0123456789abcdef
  bgctl why arn:aws:sts::123456789012:assumed-role/Admin/alice@example.com.0123456789abcdef -o json`,
		Args:              one("Why what? Name an event, an access request or a role session.", "bgctl why 0123456789abcdef"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := args[0][strings.LastIndexByte(args[0], '/')+1:]
			if !sessionName.MatchString(ref) {
				return usage("%s is neither an id nor the name of a role session.", quote(args[0]))
			}
			api, err := a.client()
			if err != nil {
				return err
			}
			story, err := api.Why(cmd.Context(), ref)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(story)
			}
			names, values := a.storyHead(story)
			text := show.Fields(a.out.Palette, a.out.columns, names, values) + "\n"
			names, values = a.storyCourse(story)
			if err := a.print([]byte(text + show.Fields(a.out.Palette, a.out.columns, names, values))); err != nil {
				return err
			}
			if story.Truncated {
				a.hint("There is more on record than is shown here: `bgctl events` has all of it.")
			}
			return nil
		},
	}
	return cmd
}
