package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
)

func (a *app) envCommand() *cobra.Command {
	var shell string
	var noCache bool
	cmd := &cobra.Command{
		Use:   "env PROFILE|EVENT_ID",
		Short: "Print shell commands that put credentials into the environment",
		Long: `Print the commands that set credentials in a shell, and unset what would go before
them. They are those of bgctl exec, but not renewed: prefer bgctl exec, or
credential_process, where you can.`,
		Example: `  eval "$(bgctl env prod)"
  bgctl env prod --shell fish | source
  bgctl env prod --shell powershell | Out-String | Invoke-Expression`,
		Args:              one("For which profile?", `eval "$(bgctl env prod)"`),
		ValidArgsFunction: a.completeAccess,
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := shells()[shell]
			if !ok {
				return usage("--shell must be sh, fish or powershell, not %q", shell)
			}
			e, err := a.source(args[0], !noCache).get(cmd.Context())
			if err != nil {
				return err
			}
			a.warnOfDevKeys(e)
			a.sayGrant(e)
			return a.print([]byte(write.lines(e, a.when(e.Expiration))))
		},
	}
	cmd.Flags().StringVar(&shell, "shell", "sh", "`SHELL` to write for: sh (also bash, zsh), fish or powershell")
	cmd.Flags().BoolVar(&noCache, "no-cache", false, "fetch new credentials and keep none")
	completeFlag(cmd, "shell", words("sh", "fish", "powershell"))
	return cmd
}

// shellWriter writes commands for one kind of shell.
type shellWriter struct {
	note  func(text string) string
	unset func(name string) string
	set   func(name, value string) string
}

// shells are the shells that can be written for. A note is an argument of a
// command that does nothing: comments aren't known to an interactive zsh, and
// swallow the rest where somebody forgets the quotes around $(bgctl env …).
// For the same reason each command ends with a semicolon.
func shells() map[string]shellWriter {
	return map[string]shellWriter{
		"sh": {
			note:  func(text string) string { return ": " + quoteAlways(text) + ";" },
			unset: func(name string) string { return "unset " + name + ";" },
			set:   func(name, value string) string { return "export " + name + "=" + quoteAlways(value) + ";" },
		},
		"fish": {
			note:  func(text string) string { return "true " + quoteFish(text) + ";" },
			unset: func(name string) string { return "set -e " + name + ";" },
			set:   func(name, value string) string { return "set -gx " + name + " " + quoteFish(value) + ";" },
		},
		"powershell": {
			note:  func(text string) string { return "# " + text },
			unset: func(name string) string { return "Remove-Item Env:" + name + " -ErrorAction SilentlyContinue;" },
			set:   func(name, value string) string { return "$env:" + name + " = " + quotePowerShell(value) + ";" },
		},
	}
}

// lines are the commands that put the credentials into the environment.
func (w shellWriter) lines(e credcache.Entry, until string) string {
	values := staticVariables(e)
	out := []string{w.note(show.Safe(e.Profile + ": " + grantedBy(e) + ", until " + until))}
	for _, name := range credentialVariables() {
		if values[name] == "" {
			out = append(out, w.unset(name))
		}
	}
	for _, name := range staticNames() {
		if values[name] != "" {
			out = append(out, w.set(name, values[name]))
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// staticNames are the variables of plain credentials, in the order in which
// they are printed.
func staticNames() []string {
	return []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_REGION", "AWS_DEFAULT_REGION"}
}

func staticVariables(e credcache.Entry) map[string]string {
	v := map[string]string{
		"AWS_ACCESS_KEY_ID": e.AccessKeyID, "AWS_SECRET_ACCESS_KEY": e.SecretAccessKey, "AWS_SESSION_TOKEN": e.SessionToken,
		"AWS_CREDENTIAL_EXPIRATION": e.Expiration.UTC().Format(time.RFC3339),
	}
	if e.Region != "" {
		v["AWS_REGION"], v["AWS_DEFAULT_REGION"] = e.Region, e.Region
	}
	return v
}
