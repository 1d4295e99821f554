package cli

import (
	"strings"

	"breakglass/internal/cli/show"
)

// quote makes a text one word of a POSIX shell command. It is safe to print.
func quote(s string) string {
	s = show.Safe(s)
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_") == "" && s[0] != '-' {
		return s
	}
	return quoteAlways(s)
}

// quoteAlways puts s into single quotes, in which a POSIX shell changes nothing.
func quoteAlways(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// quoteFish does the same for fish, where a backslash escapes within single
// quotes.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// quotePowerShell does the same for PowerShell, where a quote is doubled. It
// takes typographic single quotes for quotes too.
func quotePowerShell(s string) string {
	return "'" + strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛").Replace(s) + "'"
}
