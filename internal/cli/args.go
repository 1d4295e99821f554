package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noArgs is for commands that take flags alone.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.Name() == "login" { // it may be a token, which is to stand nowhere else
		return usage("bgctl login takes no arguments.")
	}
	bad := usage("%s takes no arguments, but got: %s.", cmd.CommandPath(), quoted(args))
	if near := nearest(args[0], flagNames(cmd)); near != "" {
		bad.faults = []string{"did you mean --" + near + "?"}
	}
	return bad
}

// one is for commands about one thing; question asks for it where it is missing,
// and now says how: first of all a whole command.
func one(question string, now ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return &usageError{message: question, now: now}
		case 1:
			return nil
		}
		return tooMany(cmd, args, now[0])
	}
}

// oneEvent is for commands about one event.
func oneEvent(example string) cobra.PositionalArgs {
	return one("Which event? Name its profile or its id.", example)
}

// oneRequest is for commands about one access request.
func oneRequest(example string) cobra.PositionalArgs {
	return one("Which request? Name its id.", example, "`bgctl requests` lists them")
}

// upToOneArg is for commands that can find out the one argument.
func upToOneArg(example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return nil
		}
		return tooMany(cmd, args, example)
	}
}

func tooMany(cmd *cobra.Command, args []string, example string) error {
	return &usageError{
		message: fmt.Sprintf("%s takes one argument, but got %d: %s.", cmd.CommandPath(), len(args), quoted(args)),
		faults:  []string{"texts with spaces need quotes around them"}, now: []string{example},
	}
}

func quoted(args []string) string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = quote(arg)
	}
	return strings.Join(out, " ")
}

// rootArgs refuses a command that doesn't exist.
func (a *app) rootArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	names := []string{"help", "completion"}
	for _, c := range a.commands() {
		names = append(names, c.name)
	}
	bad := usage("There is no command %s.", quote(args[0]))
	if near := nearest(args[0], names); near != "" {
		bad.faults = []string{"did you mean: bgctl " + near + "?"}
	}
	return bad
}

// flagFault says what is wrong with a flag.
func flagFault(cmd *cobra.Command, err error) error {
	var none *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &none):
		name := none.GetSpecifiedName()
		if none.GetSpecifiedShortnames() != "" {
			return usage("%s has no flag -%s.", cmd.CommandPath(), name)
		}
		bad := usage("%s has no flag --%s.", cmd.CommandPath(), name)
		if near := nearest(name, flagNames(cmd)); near != "" {
			bad.faults = []string{"did you mean --" + near + "?"}
		}
		return bad
	case errors.As(err, &missing):
		return usage("--%s needs a value.", missing.GetFlag().Name)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		kind := map[string]string{"int": "a whole number", "int64": "a whole number", "bool": "true or false"}[f.Value.Type()]
		if kind == "" {
			kind = "something else"
		}
		return usage("--%s must be %s, not %q.", f.Name, kind, invalid.GetValue())
	}
	return err
}

func flagNames(cmd *cobra.Command) (names []string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// nearest is the candidate that the word was probably meant to be; "" when
// none is near. Two slips of the finger are, or a name that isn't finished.
func nearest(word string, candidates []string) string {
	best, least := "", 3
	for _, c := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if len(word) > 2 && strings.HasPrefix(c, word) {
			d = min(d, 2)
		}
		if d < least && d < len(c) {
			best, least = c, d
		}
	}
	return best
}

// distance counts the characters to insert, remove, change or swap with the
// next one (optimal string alignment). Long texts aren't names: they are far.
func distance(from, to string) int {
	a, b := []rune(from), []rune(to)
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
