package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/authn"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make static tokens for tools and people",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenNew())
	return cmd
}

func newTokenNew() *cobra.Command {
	var t authn.Token
	var notBefore, expires string
	cmd := &cobra.Command{
		Use:   "new --name NAME",
		Short: "Print a new token, and the entry to configure it",
		Long: `Makes a token of 256 random bits. The token goes to standard output, once: it is kept nowhere and can't be
shown again. The entry for auth.tokens, which holds only its SHA-256, goes to standard error. The server
knows the token after a restart with that entry.

To replace a token, configure the new one beside the old, hand it over, and then remove the old one.`,
		Example: `  breakglassd token new --name incident-bot >token.txt
  breakglassd token new --name alice@example.com --groups oncall --label laptop --expires 2027-06-30
  breakglassd token new --name dashboard --allowed-from 10.20.0.0/16,192.0.2.7`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, f := range []struct {
				name, text string
				into       *authn.Instant
			}{{"not-before", notBefore, &t.NotBefore}, {"expires", expires, &t.Expires}} {
				if f.text == "" {
					continue
				}
				if err := f.into.UnmarshalText([]byte(f.text)); err != nil {
					return usageError{fmt.Errorf("--%s %w", f.name, err)}
				}
			}
			if !t.Expires.IsZero() && !time.Now().Before(time.Time(t.Expires)) {
				return usageError{fmt.Errorf("--expires %s is past", expires)}
			}
			secret, entry, err := authn.NewToken(t)
			if err != nil {
				return usageError{byFlag(err)}
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), secret); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Put this under auth.tokens, with the same groups as the other tokens of that name:\n\n    %s\n", entry.YAML())
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&t.Name, "name", "", "`NAME` of the person or tool")
	flags.StringSliceVar(&t.Groups, "groups", nil, "`GROUPS` of that name, with commas between them")
	flags.StringVar(&t.Label, "label", "", "`LABEL` that tells this token from others of the name in the audit trail")
	flags.StringVar(&notBefore, "not-before", "", "`WHEN` it begins to work: a date (its beginning in UTC) or a time of RFC 3339")
	flags.StringVar(&expires, "expires", "", "`WHEN` it ends: a date (its beginning in UTC) or a time of RFC 3339")
	flags.StringSliceVar(&t.AllowedFrom, "allowed-from", nil, "`NETWORKS` that it works from, such as 10.0.0.0/8; any when absent")
	return cmd
}

// fieldOf finds the field that a line about a token begins with.
var fieldOf = regexp.MustCompile(`(?m)^(\w+)(\[\d+\])? `)

// byFlag has an error about a token name the flags that its fields came from.
func byFlag(err error) error {
	return errors.New(fieldOf.ReplaceAllStringFunc(err.Error(), func(field string) string {
		name, _, _ := strings.Cut(strings.TrimSpace(field), "[")
		return "--" + strings.ReplaceAll(name, "_", "-") + " "
	}))
}
