package cli

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documentedCommands are the rows of the table of commands in docs/bgctl.md: the
// names in the first column, and all that a row says.
func documentedCommands(t *testing.T) (page string, rows map[string]string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/bgctl.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(data), "\n| command | what it does |\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	name := regexp.MustCompile("`([a-z]+)")
	rows = map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.SplitN(line, " | ", 2)
		if len(cells) < 2 {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(cells[0], -1) {
			rows[m[1]] += line
		}
	}
	return string(data), rows
}

func flagsOf(cmd *cobra.Command) (names []string) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	for _, sub := range cmd.Commands() {
		names = append(names, flagsOf(sub)...)
	}
	return names
}

func TestTheDocumentationAndTheCommandsNameTheSame(t *testing.T) {
	page, rows := documentedCommands(t)
	a := newApp(Program{Now: time.Now})
	flag := regexp.MustCompile(`--([a-z][a-z-]+)`)
	var all []string
	for _, c := range a.commands() {
		cmd, row := c.build(), rows[c.name]
		if !assert.NotEmpty(t, row, "docs/bgctl.md has no row for %s", c.name) {
			continue
		}
		for _, f := range flagsOf(cmd) {
			assert.Contains(t, page, "--"+f, "bgctl %s --%s isn't in docs/bgctl.md", c.name, f)
			all = append(all, f)
		}
	}
	for name, row := range rows {
		if name == "completion" || slices.ContainsFunc([]string{"confirm", "status", "remove", "logout", "whoami"}, func(s string) bool { return s == name }) {
			continue // cobra's own, and those that share a row
		}
		i := slices.IndexFunc(a.commands(), func(c command) bool { return c.name == name })
		if !assert.GreaterOrEqual(t, i, 0, "docs/bgctl.md has a row for %s, which is no command", name) {
			continue
		}
		known := flagsOf(a.commands()[i].build())
		for _, m := range flag.FindAllStringSubmatch(row, -1) {
			assert.Contains(t, known, m[1], "the row of %s in docs/bgctl.md", name)
		}
	}
	for _, m := range flag.FindAllStringSubmatch(page, -1) {
		assert.Contains(t, append(all, "output", "server", "help"), m[1], "docs/bgctl.md names a flag that no command has")
	}
}
