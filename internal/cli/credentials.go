package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
)

func (a *app) credentialsCommand() *cobra.Command {
	var noCache bool
	cmd := &cobra.Command{
		Use:   "credentials [PROFILE|EVENT_ID]",
		Short: "Print credentials for the AWS CLI and SDKs (credential_process)",
		Long: `Print credentials as the JSON document that the AWS CLI and SDKs want from a
credential_process. They are kept in a private file until shortly before their end,
so that the next call takes milliseconds.

With a profile, access is by the mildest means that applies: standing policy, your
approved request (bgctl request), your active event (bgctl invoke). With the id of
an event it is that event alone, and without an argument your only active event.`,
		Example: `  # ~/.aws/config
  [profile breakglass-prod]
  region = us-east-1
  credential_process = bgctl credentials prod

  aws --profile breakglass-prod sts get-caller-identity`,
		Args:              upToOneArg("bgctl credentials prod"),
		ValidArgsFunction: a.completeAccess,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			}
			e, err := a.source(ref, !noCache && ref != "").get(cmd.Context())
			if err != nil {
				return err
			}
			a.sayGrant(e)
			if a.out.is {
				a.hint("These are secrets. `bgctl exec %s -- COMMAND` uses them without showing them.", quote(e.Profile))
			}
			return a.printProcessDocument(e)
		},
	}
	cmd.Flags().BoolVar(&noCache, "no-cache", false, "fetch new credentials and keep none")
	return cmd
}

// warm answers `bgctl credentials NAME` from the cache before anything else is
// set up. SDKs start a credential_process often, and each start is waited for.
// Whatever isn't plain is left to the command itself.
func (a *app) warm() (credcache.Entry, bool) {
	if len(a.Args) != 2 || a.Args[0] != "credentials" || strings.HasPrefix(a.Args[1], "-") || a.out.is {
		return credcache.Entry{}, false
	}
	e, ok := a.cache().Get(a.Args[1], a.Now())
	return e, ok && !e.Stale(a.Now())
}

// processDocument is what AWS calls the output of a credential_process.
type processDocument struct {
	Version         int
	AccessKeyId     string //nolint:revive // the name is AWS's
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func (a *app) printProcessDocument(e credcache.Entry) error {
	b, err := json.MarshalIndent(processDocument{
		Version: 1, AccessKeyId: e.AccessKeyID, SecretAccessKey: e.SecretAccessKey, SessionToken: e.SessionToken,
		Expiration: e.Expiration.UTC().Format(time.RFC3339),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	return a.print(append(show.JSON(b), '\n'))
}

func (a *app) warnOfDevKeys(e credcache.Entry) {
	if e.Issuer == "dev" {
		a.hint("The server is in development mode: these credentials open nothing.")
	}
}
