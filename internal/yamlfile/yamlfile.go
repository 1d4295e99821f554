package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits of what is read at all. No file of this program comes near them.
const (
	MaxSize  = 1 << 20
	maxDepth = 32
)

// File knows on which line each value of a decoded file stands.
type File struct {
	name  string
	lines map[string]int
}

// Line returns the line of the value at path, such as rules[0].time.hours, or
// of the nearest value around it.
func (f *File) Line(path string) int {
	for path != "" {
		if line, ok := f.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 1
}

// Problem returns a problem with the value at path.
func (f *File) Problem(path, message string) Problem {
	return Problem{File: f.name, Line: f.Line(path), Path: path, Message: message}
}

// Decode reads data, which came from the file called name, into a T. Fields
// are named by yaml tags. What is wrong is in the problems; T then holds what
// could be read, so that the caller's own checks can add to them.
func Decode[T any](name string, data []byte) (T, *File, Problems) {
	var zero T
	return DecodeInto(zero, name, data)
}

// DecodeInto is Decode over defaults: what the file doesn't name stays.
func DecodeInto[T any](defaults T, name string, data []byte) (T, *File, Problems) {
	d := &decoder{file: &File{name: name, lines: map[string]int{}}}
	if root := d.parse(data); root != nil {
		d.value(&defaults, root)
	}
	return defaults, d.file, d.problems
}

type decoder struct {
	file     *File
	problems Problems
}

func (d *decoder) add(line int, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file.name, Line: max(line, 1), Path: path, Message: fmt.Sprintf(format, args...)})
}

// parse returns the one document of the file, or nil when it can't be used.
func (d *decoder) parse(data []byte) *yaml.Node {
	switch {
	case len(data) > MaxSize:
		d.add(1, "", "is larger than %d bytes", MaxSize)
		return nil
	case !utf8.Valid(data):
		line := 1 + bytes.Count(data[:firstInvalid(data)], []byte("\n"))
		d.add(line, "", "is not valid UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.add(1, "", "is empty")
		} else {
			d.syntax(err)
		}
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		d.add(second.Line, "", "holds a second document (after ---); only one is read")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 {
		d.add(1, "", "is empty")
		return nil
	}
	if line, found := aliased(doc.Content[0], 0); found != "" {
		d.add(line, "", "%s", found)
		return nil
	}
	return doc.Content[0]
}

// structural are the endings of the library's messages that count lines from 0
// (those of its parser; those of its scanner count from 1).
func structural() []string {
	return []string{"expected key", "expected '-' indicator", "expected ',' or ']'", "expected ',' or '}'",
		"expected node content", "expected <document start>"}
}

// syntax takes the line out of the library's message, "yaml: line 3: …".
func (d *decoder) syntax(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
		_, text, _ = strings.Cut(text, ": ")
		if slices.ContainsFunc(structural(), func(end string) bool { return strings.HasSuffix(text, end) }) {
			line++
		}
	}
	d.add(line, "", "is not YAML: %s", strings.Trim(fmt.Sprintf("%q", text), `"`))
}

func firstInvalid(data []byte) int {
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}

// aliased looks for what a file of rules needs never, and an attack on the
// reader often: aliases that multiply, and nesting without end.
func aliased(n *yaml.Node, depth int) (line int, found string) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return n.Line, "anchors and aliases (& and *) are not supported; a string that begins with one needs quotes"
	case depth > maxDepth:
		return n.Line, "is nested too deeply"
	}
	for _, c := range n.Content {
		if line, found := aliased(c, depth+1); found != "" {
			return line, found
		}
	}
	return 0, ""
}
