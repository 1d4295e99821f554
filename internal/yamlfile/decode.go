package yamlfile

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar is a type that reads itself from the text of a scalar.
type scalar interface{ encoding.TextUnmarshaler }

// value decodes the root of a file into what target points to.
func (d *decoder) value(target any, root *yaml.Node) {
	d.decode(reflect.ValueOf(target).Elem(), root, "")
}

func (d *decoder) decode(v reflect.Value, n *yaml.Node, path string) {
	d.file.lines[path] = n.Line
	if n.Tag == "!!null" {
		d.add(n.Line, path, "has no value: remove it, or give it one")
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if s, ok := v.Addr().Interface().(scalar); ok {
		if d.is(n, yaml.ScalarNode, path, "a single value") {
			if err := s.UnmarshalText([]byte(n.Value)); err != nil {
				d.add(n.Line, path, "%s", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, path, func(key, value *yaml.Node) { d.field(v, key, value, path) })
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		d.mapping(n, path, func(key, value *yaml.Node) {
			item := reflect.New(v.Type().Elem()).Elem()
			d.decode(item, value, join(path, key.Value))
			v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), item)
		})
	case reflect.Slice:
		if d.is(n, yaml.SequenceNode, path, "a list") {
			v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
			for i, item := range n.Content {
				d.decode(v.Index(i), item, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	default:
		d.scalar(v, n, path)
	}
}

// kinds names what a scalar of each kind must be.
var kinds = map[reflect.Kind]string{
	reflect.String: "a string", reflect.Bool: "true or false",
	reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Uint: "a whole number that isn't negative",
}

func (d *decoder) scalar(v reflect.Value, n *yaml.Node, path string) {
	want, ok := kinds[v.Kind()]
	if !ok {
		panic("yamlfile: no support for " + v.Type().String()) // a mistake in this program, found by its first test
	}
	if !d.is(n, yaml.ScalarNode, path, want) {
		return
	}
	if v.Kind() == reflect.String {
		v.SetString(n.Value) // numbers and dates too: 0123 stays what was written
		return
	}
	// The library would cut 1.5 to 1.
	cut := v.Kind() != reflect.Bool && n.Tag != "!!int"
	if err := n.Decode(v.Addr().Interface()); err != nil || cut {
		d.add(n.Line, path, "must be %s, not %.64q", want, n.Value)
	}
}

func (d *decoder) is(n *yaml.Node, kind yaml.Kind, path, want string) bool {
	if n.Kind != kind {
		names := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
		d.add(n.Line, path, "must be %s, not %s", want, names[n.Kind])
		return false
	}
	return true
}

// mapping calls f for each key that is there once.
func (d *decoder) mapping(n *yaml.Node, path string, f func(key, value *yaml.Node)) {
	if !d.is(n, yaml.MappingNode, path, "a mapping") {
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Tag == "!!null" {
			d.add(key.Line, path, "has a key that is not a plain name")
			continue
		}
		if first, dup := seen[key.Value]; dup {
			d.add(key.Line, path, "%.64q is there twice, first on line %d", key.Value, first)
			continue
		}
		seen[key.Value] = key.Line
		f(key, value)
	}
}

func (d *decoder) field(v reflect.Value, key, value *yaml.Node, path string) {
	var names []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		if name == key.Value {
			d.decode(v.Field(i), value, join(path, name))
			return
		}
		names = append(names, name)
	}
	message := fmt.Sprintf("unknown field %.64q", key.Value)
	if near := nearest(key.Value, names); near != "" {
		message += fmt.Sprintf("; did you mean %q?", near)
	} else {
		message += "; known are " + strings.Join(names, ", ")
	}
	d.add(key.Line, path, "%s", message)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// nearest returns the name that key was probably meant to be, or "".
func nearest(key string, names []string) string {
	best, limit := "", min(len(key)/3+1, 3)
	for _, name := range names {
		if d := distance(strings.ToLower(key), name); d <= limit {
			best, limit = name, d-1
		}
	}
	return best
}

// distance is the number of single-character edits between a and b
// (Levenshtein), or more than any limit for keys that no field resembles.
func distance(a, b string) int {
	if len(a) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
