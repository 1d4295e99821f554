package yamlfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/yamlfile"
)

type item struct {
	Name     string            `yaml:"name"`
	Wait     yamlfile.Duration `yaml:"wait"`
	Tags     []string          `yaml:"tags"`
	Untagged string
	Skipped  string `yaml:"-"`
}

type doc struct {
	Title   string             `yaml:"title"`
	Count   int                `yaml:"count"`
	Size    int64              `yaml:"size"`
	Port    uint               `yaml:"port"`
	On      bool               `yaml:"enabled"`
	Wait    yamlfile.Duration  `yaml:"wait"`
	Maybe   *yamlfile.Duration `yaml:"maybe"`
	Nested  *item              `yaml:"nested"`
	Items   []item             `yaml:"items"`
	ByName  map[string]item    `yaml:"by_name"`
	Default item               `yaml:"default"`
}

func problems(t *testing.T, data string) []string {
	t.Helper()
	_, _, ps := yamlfile.Decode[doc]("f.yaml", []byte(data))
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}

func TestDecodeReadsEveryKindOfValue(t *testing.T) {
	d, f, ps := yamlfile.Decode[doc]("f.yaml", []byte(`# a comment
title: "0123"
count: -3
size: 1_000
port: 0x10
enabled: true
wait: 1h30m
nested: {name: 2026-01-01, tags: [a, 1, true]}
items:
  - name: first
  - {name: second, wait: 90s}
by_name:
  x.y: {name: dotted}
`))
	require.NoError(t, ps.Err())
	assert.Equal(t, "0123", d.Title)
	assert.Equal(t, -3, d.Count)
	assert.Equal(t, int64(1000), d.Size)
	assert.Equal(t, uint(16), d.Port)
	assert.True(t, d.On)
	assert.Equal(t, 90*time.Minute, time.Duration(d.Wait))
	assert.Nil(t, d.Maybe, "what the file doesn't name stays nil")
	assert.Equal(t, &item{Name: "2026-01-01", Tags: []string{"a", "1", "true"}}, d.Nested, "text stays what was written")
	assert.Equal(t, []item{{Name: "first"}, {Name: "second", Wait: yamlfile.Duration(90 * time.Second)}}, d.Items)
	assert.Equal(t, "dotted", d.ByName["x.y"].Name)

	for path, line := range map[string]int{"title": 2, "items[1]": 11, "items[1].wait": 11, "by_name.x.y.name": 13,
		"items[1].tags": 11, "items[0].tags[3]": 10, "items[7].name": 10, "absent": 1, "absent.deeper[3]": 1, "": 1} {
		assert.Equal(t, line, f.Line(path), path)
	}
	assert.Equal(t, "f.yaml:11: items[1].wait: is too long", f.Problem("items[1].wait", "is too long").String())
}

func TestUnquotedTextOfAnyLookIsText(t *testing.T) {
	for _, text := range []string{"0123", "1.0", "true", "22:00", "1e3", "2026-01-01", ".inf"} {
		d, _, ps := yamlfile.Decode[doc]("f.yaml", []byte("title: "+text+"\n"))
		require.NoError(t, ps.Err())
		assert.Equal(t, text, d.Title)
	}
}

func TestEveryProblemHasItsLine(t *testing.T) {
	cases := []struct{ name, file, want string }{
		{"empty", "", "f.yaml:1: is empty"},
		{"comments alone", "# nothing\n", "f.yaml:1: is empty"},
		{"null alone", "~\n", "f.yaml:1: has no value: remove it, or give it one"},
		{"a scalar", "hello\n", "f.yaml:1: must be a mapping, not a single value"},
		{"a list", "\n- a\n", "f.yaml:2: must be a mapping, not a list"},
		{"a list without end", "title: a\ncount: [1\nwait: 1h\n", "f.yaml:2: is not YAML: did not find expected ',' or ']'"},
		{"a mapping without end", "title: a\n\ncount: {a: 1\nwait: 1h\n", "f.yaml:3: is not YAML: did not find expected ',' or '}'"},
		{"a list among keys", "title: a\n- b\n", "f.yaml:2: is not YAML: did not find expected key"},
		{"two colons", "title: a\ncount: 1: 2\n", "f.yaml:2: is not YAML: mapping values are not allowed in this context"},
		{"a text without end", "title: a\ncount: 'x\n\n", "f.yaml:2: is not YAML: found unexpected end of stream"},
		{"a bad escape on the first line", "title: \"\\q\"\n", "f.yaml:1: is not YAML: found unknown escape character"},
		{"a tab", "nested:\n\tname: a\n", "f.yaml:2: is not YAML: "},
		{"invalid UTF-8", "title: a\n\ncount: \"\xff\"\n", "f.yaml:3: is not valid UTF-8"},
		{"a second document", "title: a\n---\ntitle: b\n", "f.yaml:2: holds a second document (after ---); only one is read"},
		{"an anchor", "title: a\nitems:\n  - &x {name: a}\n", "f.yaml:3: anchors and aliases (& and *) are not supported"},
		{"an alias bomb", "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "f.yaml:1: anchors and aliases"},
		{"a merge key", "title: a\nnested:\n  <<: {name: a}\n", "f.yaml:3: nested: has a key that is not a plain name"},
		{"a list as key", "title: a\n? [a]\n: b\n", "f.yaml:2: has a key that is not a plain name"},
		{"null as key", "title: a\n~: b\n", "f.yaml:2: has a key that is not a plain name"},
		{"nested too deeply", "title: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n", "f.yaml:1: is nested too deeply"},
		{"unknown field, nothing near", "title: a\nzzzzzzzzz: 1\n", `f.yaml:2: unknown field "zzzzzzzzz"; known are title, count, size, port, enabled, wait, maybe, nested, items, by_name, default`},
		{"unknown field, did you mean", "nested:\n  nmae: a\n", `f.yaml:2: nested: unknown field "nmae"; did you mean "name"?`},
		{"unknown field, other letter case", "Title: a\n", `f.yaml:1: unknown field "Title"; did you mean "title"?`},
		{"a Go name is no field", "On: true\n", `f.yaml:1: unknown field "On"`},
		{"an untagged field is none", "nested:\n  Untagged: a\n", `f.yaml:2: nested: unknown field "Untagged"`},
		{"a field tagged - is none", "nested:\n  \"-\": a\n", `f.yaml:2: nested: unknown field "-"`},
		{"a field twice", "title: a\ncount: 1\ntitle: b\n", `f.yaml:3: "title" is there twice, first on line 1`},
		{"a name twice in a mapping", "by_name:\n  x: {name: a}\n  x: {name: b}\n", `f.yaml:3: by_name: "x" is there twice, first on line 2`},
		{"no value", "title: a\ncount:\n", "f.yaml:2: count: has no value: remove it, or give it one"},
		{"null", "count: null\n", "f.yaml:1: count: has no value"},
		{"null in a list", "items:\n  - name: a\n  -\n", "f.yaml:3: items[1]: has no value"},
		{"null in a mapping", "by_name:\n  x:\n", "f.yaml:2: by_name.x: has no value"},
		{"a list for text", "title: [a]\n", "f.yaml:1: title: must be a string, not a list"},
		{"a mapping for a number", "count: {a: 1}\n", "f.yaml:1: count: must be a whole number, not a mapping"},
		{"text for a number", "count: many\n", `f.yaml:1: count: must be a whole number, not "many"`},
		{"a number in quotes", "count: \"3\"\n", `f.yaml:1: count: must be a whole number, not "3"`},
		{"a fraction", "count: 1.5\n", `f.yaml:1: count: must be a whole number, not "1.5"`},
		{"a float", "size: 1e3\n", `f.yaml:1: size: must be a whole number, not "1e3"`},
		{"a number that overflows", "size: 9223372036854775808\n", "f.yaml:1: size: must be a whole number"},
		{"a negative number", "port: -1\n", `f.yaml:1: port: must be a whole number that isn't negative, not "-1"`},
		{"text for a switch", "enabled: perhaps\n", `f.yaml:1: enabled: must be true or false, not "perhaps"`},
		{"a number for a switch", "enabled: 1\n", `f.yaml:1: enabled: must be true or false, not "1"`},
		{"text for a list", "items: a\n", "f.yaml:1: items: must be a list, not a single value"},
		{"text for a mapping", "by_name: a\n", "f.yaml:1: by_name: must be a mapping, not a single value"},
		{"a list for a struct", "nested: [a]\n", "f.yaml:1: nested: must be a mapping, not a list"},
		{"a duration without unit", "wait: 30\n", `f.yaml:1: wait: must be a duration with its unit, such as 30m or 2h, not "30"`},
		{"a duration in days", "maybe: 1d\n", `f.yaml:1: maybe: must be a duration with its unit`},
		{"a list for a duration", "wait: [1h]\n", "f.yaml:1: wait: must be a single value, not a list"},
		{"Windows line ends", "title: a\r\ncount: b\r\n", `f.yaml:2: count: must be a whole number, not "b"`},
		{"control characters are quoted", "title: a\n\"\\e[2J\": b\n", `f.yaml:2: unknown field "\x1b[2J"`},
		{"in a path too", "by_name:\n  \"\\e[2J\": 1\n", `f.yaml:2: "by_name.\x1b[2J": must be a mapping`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := problems(t, c.file)
			require.Len(t, got, 1)
			assert.Contains(t, got[0], c.want)
		})
	}
}

func TestLongValuesAreCutInMessages(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, file := range []string{"count: " + long, "wait: " + long, long + ": 1", long + ": 1\n" + long + ": 1"} {
		for _, p := range problems(t, file) {
			assert.Less(t, len(p), 300)
		}
	}
}

func TestFilesOverTheSizeLimitAreRefused(t *testing.T) {
	file := "title: a\n#" + strings.Repeat("x", yamlfile.MaxSize-10)
	assert.Empty(t, problems(t, file))
	assert.Equal(t, []string{"f.yaml:1: is larger than 1048576 bytes"}, problems(t, file+"x"))
}

func TestAllProblemsComeAtOnceInTheOrderOfLines(t *testing.T) {
	d, f, ps := yamlfile.Decode[doc]("f.yaml", []byte("count: x\ntitle: kept\nitems:\n  - {name: a, wat: 1}\n  - 3\nenabled: maybe\n"))
	ps = append(ps, f.Problem("title", "is not mine"))
	assert.Equal(t, `f.yaml:1: count: must be a whole number, not "x"
f.yaml:2: title: is not mine
f.yaml:4: items[0]: unknown field "wat"; did you mean "wait"?
f.yaml:5: items[1]: must be a mapping, not a single value
f.yaml:6: enabled: must be true or false, not "maybe"`, ps.Err().Error())
	assert.Equal(t, "kept", d.Title, "what could be read is there")
	assert.Equal(t, "a", d.Items[0].Name)
}

func TestNoProblemsAreNoError(t *testing.T) {
	assert.NoError(t, yamlfile.Problems(nil).Err())
}

func TestDefaultsStayUnlessTheFileNamesThem(t *testing.T) {
	defaults := doc{Title: "default", Count: 7, Items: []item{{Name: "old"}}, Default: item{Name: "inner", Wait: yamlfile.Duration(time.Minute)}}
	d, _, ps := yamlfile.DecodeInto(defaults, "f.yaml", []byte("count: 8\ndefault: {wait: 2m}\n"))
	require.NoError(t, ps.Err())
	assert.Equal(t, "default", d.Title)
	assert.Equal(t, 8, d.Count)
	assert.Equal(t, []item{{Name: "old"}}, d.Items)
	assert.Equal(t, item{Name: "inner", Wait: yamlfile.Duration(2 * time.Minute)}, d.Default, "inside a mapping too")

	d, _, ps = yamlfile.DecodeInto(defaults, "f.yaml", []byte("items: []\n"))
	require.NoError(t, ps.Err())
	assert.Empty(t, d.Items, "a list replaces the default's")
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("title: a\ncount: 3\nitems: [{name: a, wait: 1h}]\nby_name: {x: {name: b}}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? {a: b}\n: c\n<<: d\n"))
	f.Add([]byte("count: !!int \"3\"\nwait: !!null x\n---\n..."))
	f.Add([]byte("title: |\n  a\n\n  b\nmaybe: >-\n  1h"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, file, ps := yamlfile.Decode[doc]("f.yaml", data)
		lines := 1 + strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(data)), "\n")
		for _, p := range ps {
			require.Positive(t, p.Line)
			require.LessOrEqual(t, p.Line, lines+1)
			require.NotContains(t, p.String(), "\n")
			require.NotContains(t, p.String(), "\x1b")
		}
		if ps.Err() != nil {
			return
		}
		for i := range d.Items {
			require.Positive(t, file.Line("items["+string(rune('0'+i%10))+"]"))
		}
	})
}
