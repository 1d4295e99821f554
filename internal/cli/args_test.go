package cli

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/client"
)

func TestTheNearestNameIsWhatWasMeant(t *testing.T) {
	names := []string{"check", "close", "credentials", "completion", "env", "events", "exec", "invoke", "list", "login", "logout", "prod", "staging"}
	for typed, want := range map[string]string{
		"chek": "check", "clsoe": "close", "LIST": "list", "cred": "credentials", "prd": "prod", "porduction": "", "x": "", "": "", "stagign": "staging",
		"en": "env", "invok": "invoke", strings.Repeat("a", 1000): "",
	} {
		assert.Equal(t, want, nearest(typed, names), typed)
	}
}

func TestADurationThatCantBeReadIsQuotedAndExplained(t *testing.T) {
	for typed, want := range map[string][]string{
		"1hour": {`"1hour"`, "units h, m and s"}, "60": {"needs a unit", "60m", "60s"}, "1d": {`"1d"`, "units"}, "5h": {`"5h"`, "4h"}, "-1h": {`"-1h"`},
		"0": {`"0"`}, "1.5s": {`"1.5s"`},
	} {
		_, problem := parseDuration(typed, breakglass.MaxDuration)
		for _, w := range want {
			assert.Contains(t, problem, w, typed)
		}
	}
	d, problem := parseDuration("1h 30m", breakglass.MaxDuration)
	assert.Empty(t, problem)
	assert.Equal(t, 90*time.Minute, d)
}

func TestTheTimeToTryAgainIsTheOneThatTheServerNamed(t *testing.T) {
	a := newApp(Program{Now: func() time.Time { return time.Date(2026, 11, 25, 0, 44, 55, 400_000_000, time.UTC) }})
	a.local = time.UTC
	e := &breakglass.Error{Code: breakglass.CodeRateLimited, RetryAfter: 30 * time.Minute,
		Message: "Too soon. The next attempt can succeed in 30m, at 2026-11-25 01:14:57 UTC."}
	assert.Equal(t, []string{"try again in 30m, at 2026-11-25 01:14:57 UTC"}, a.explain(e).now)
	e.Message = "Too soon."
	assert.Equal(t, []string{"try again in 30m, at 2026-11-25 01:14:56 UTC"}, a.explain(e).now, "rounded up: nobody is to come too early")
}

// exampleCommands are the bgctl commands within the examples of a help text.
func exampleCommands(t *testing.T, example string) (commands [][]string) {
	t.Helper()
	word := regexp.MustCompile(`"[^"]*"|[^ "]+`)
	for line := range strings.Lines(example) {
		line = strings.TrimSuffix(strings.TrimSpace(line), `)"`)
		for rest := line; ; {
			_, after, found := strings.Cut(rest, "bgctl ")
			if !found {
				break
			}
			var args []string
			for _, w := range word.FindAllString(after, -1) {
				if w == "|" || w == ">" || w == "&&" {
					break
				}
				args = append(args, strings.Trim(w, `"`))
			}
			commands, rest = append(commands, args), after
		}
	}
	return commands
}

func TestEveryExampleOfTheHelpIsACommandThatWouldRun(t *testing.T) {
	a := newApp(Program{Now: time.Now})
	all := map[string]string{"bgctl": a.root().Example}
	for _, c := range a.commands() {
		all[c.name] = c.build().Example
	}
	for name, example := range all {
		commands := exampleCommands(t, example)
		require.NotEmpty(t, commands, name)
		for _, args := range commands {
			checkExample(t, a, args)
		}
	}
}

func checkExample(t *testing.T, a *app, args []string) {
	t.Helper()
	cmd, rest, err := a.root().Find(args)
	require.NoError(t, err, args)
	require.NoError(t, cmd.ParseFlags(rest), args)
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), args)
	value := func(name string) string {
		if f := cmd.Flags().Lookup(name); f != nil {
			return f.Value.String()
		}
		return ""
	}
	switch cmd.Name() {
	case "invoke":
		f := invokeFlags{profile: cmd.Flags().Arg(0), reason: value("reason"), justification: value("justification"), duration: value("duration"),
			ticket: value("ticket"), invoker: value("for")}
		_, err := f.request()
		assert.NoError(t, err, args)
	case "request":
		f := requestFlags{profile: cmd.Flags().Arg(0), justification: value("justification"), duration: value("duration"), ticket: value("ticket")}
		_, err := f.request()
		assert.NoError(t, err, args)
	case "extend":
		_, err := extendFlags{justification: value("justification"), duration: value("duration")}.extension()
		assert.NoError(t, err, args)
	case "close", "deny":
		assert.Empty(t, breakglass.CheckClosedReason(value("reason")), args)
	case "approve", "cancel":
		assert.Empty(t, breakglass.CheckComment(value("comment")+value("reason")), args)
	case "list", "events":
		_, err := parseInstant(value("since"), time.Now())
		assert.NoError(t, err, args)
	case "login":
		_, err := client.ParseServer(value("server"), false)
		assert.NoError(t, err, args)
	}
}

func TestFaultsOfTheCommandLineNameWhatIsMeant(t *testing.T) {
	cmd := &cobra.Command{Use: "list"}
	cmd.Flags().String("status", "", "")
	cmd.Flags().Int("limit", 0, "")
	for line, want := range map[string]string{
		"--statsu x": "did you mean --status?", "--limit x": `--limit must be a whole number, not "x"`, "--status": "--status needs a value", "-q": "no flag -q",
	} {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.AddFlagSet(cmd.Flags())
		err := flagFault(cmd, flags.Parse(strings.Fields(line)))
		var use *usageError
		require.ErrorAs(t, err, &use, line)
		assert.Contains(t, use.Error(), want)
	}
}
