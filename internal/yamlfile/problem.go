// Package yamlfile reads YAML files strictly: unknown and repeated fields,
// wrong types and empty values are problems, and all of them are reported at
// once, each with its line.
package yamlfile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a file. Message is safe to print: it
// quotes what the file says.
type Problem struct {
	File    string
	Line    int    // counted from 1
	Path    string // as in rules[0].time.hours; empty for the file as a whole
	Message string
}

func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	}
	path := p.Path
	if quoted := strconv.Quote(path); quoted != `"`+path+`"` { // a key of a mapping can hold anything
		path = quoted
	}
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, path, p.Message)
}

// Problems is everything that is wrong with one or more files, as an error
// with a line for each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns nil when there are no problems, else ps in the order of lines.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return ps
}
