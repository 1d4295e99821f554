package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireBad asserts that the first bad entry is the one due at that place.
func requireBad(t *testing.T, seq int, err error, what ...any) BadEntry {
	t.Helper()
	var bad *BadEntry
	require.ErrorAs(t, err, &bad, what...)
	require.EqualValues(t, seq, bad.Seq, "%v: %v", what, bad)
	return *bad
}

// firstDifference is the place from 1 at which a changed trail leaves the genuine one.
func firstDifference(genuine, changed []string) int {
	i := 0
	for i < len(genuine) && i < len(changed) && genuine[i] == changed[i] {
		i++
	}
	return i + 1
}

func TestPromise09EverySingleBitChangeOfAStoredLineIsFound(t *testing.T) {
	n := 4
	if testing.Short() {
		n = 2
	}
	lines := jsonLines(newTrail(n))
	sameValue := 0
	for i, line := range lines {
		for at := range line {
			for bit := range 8 {
				changed := []byte(line)
				changed[at] ^= 1 << bit
				all := slices.Clone(lines)
				all[i] = string(changed)
				_, err := verifyLines(Options{}, all...)
				if err == nil && means(line, changed) {
					sameValue++
					continue
				}
				bad := requireBad(t, i+1, err, "line %d, byte %d, bit %d: %q", i+1, at, bit, changed)
				require.Equal(t, i+1, bad.Line)
			}
		}
	}
	hexLetters := 0
	for _, line := range lines {
		hexLetters += strings.Count(line, `\u003c`) + strings.Count(line, `\u003e`)
	}
	assert.Equal(t, hexLetters, sameValue, "only the case of a hex digit in an escape may change: the value stays the same")
}

// means reports whether a changed line is still the same JSON value, by the
// judgement of encoding/json.
func means(line string, changed []byte) bool {
	var x, y any
	return json.Unmarshal([]byte(line), &x) == nil && json.Unmarshal(changed, &y) == nil && reflect.DeepEqual(x, y)
}

func TestPromise09EveryDropSwapInsertAndRepetitionIsFound(t *testing.T) {
	const n = 9
	trail := newTrail(n)
	lines := jsonLines(trail)
	check := func(what string, changed []string) {
		t.Helper()
		_, err := verifyLines(Options{Heads: []Anchor{{Seq: n, Hash: trail[n-1].Hash}}}, changed...)
		place := firstDifference(lines, changed)
		bad := requireBad(t, place, err, what)
		if bad.Check != CheckHead {
			require.Equal(t, place, bad.Line, what)
		}
	}
	for i := range n {
		for j := i + 1; j <= n; j++ {
			check("drop", slices.Delete(slices.Clone(lines), i, j))
		}
		for j := range n {
			if i < j {
				swapped := slices.Clone(lines)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				check("swap", swapped)
			}
			check("insert", slices.Insert(slices.Clone(lines), i, lines[j]))
		}
		check("repeat", slices.Insert(slices.Clone(lines), i+1, lines[i]))
	}
	check("reverse", func() []string { r := slices.Clone(lines); slices.Reverse(r); return r }())
	_, err := verifyLines(Options{}, lines...)
	require.NoError(t, err)
}

func TestPromise09ForgedEntriesWithAHashOfTheirOwnAreFound(t *testing.T) {
	const n = 6
	genuine := newTrail(n)
	known := Anchor{Seq: n, Hash: genuine[n-1].Hash}
	for i := range n {
		forged := slices.Clone(genuine)
		forged[i].Actor = "mallory"
		Seal(&forged[i], forged[i].PrevHash)
		_, err := verifyLines(Options{Heads: []Anchor{known}}, jsonLines(forged)...)
		if i == n-1 {
			assert.Equal(t, CheckHead, requireBad(t, n, err).Check, "the last entry has no successor: only a known head shows it")
			continue
		}
		bad := requireBad(t, i+2, err)
		assert.Equal(t, CheckPrevHash, bad.Check)
		assert.Equal(t, forged[i].Hash, bad.Expected)
		assert.Equal(t, genuine[i].Hash, bad.Got)
	}
	for i := range n {
		rewritten := slices.Clone(genuine)
		rewritten[i].Actor = "mallory"
		reseal(rewritten, i)
		lines := jsonLines(rewritten)
		_, err := verifyLines(Options{}, lines...)
		require.NoError(t, err, "a trail written anew is consistent in itself")
		_, err = verifyLines(Options{Heads: []Anchor{known}}, lines...)
		assert.Equal(t, CheckHead, requireBad(t, n, err).Check)
	}
}

func TestPromise09WhatReadersCouldUnderstandDifferentlyIsRefused(t *testing.T) {
	lines := jsonLines(newTrail(3))
	for name, change := range map[string]func(string) string{
		"added field":           func(s string) string { return strings.Replace(s, `{`, `{"note":"ok",`, 1) },
		"field in another case": func(s string) string { return strings.Replace(s, `{`, `{"Actor":"mallory",`, 1) },
		"repeated field":        func(s string) string { return strings.Replace(s, `{`, `{"actor":"mallory",`, 1) },
		"repeated same field":   func(s string) string { return strings.Replace(s, `{`, `{"actor":"bob",`, 1) },
		"escaped repetition":    func(s string) string { return strings.Replace(s, `{`, `{"\u0061ctor":"mallory",`, 1) },
		"nested field":          func(s string) string { return strings.Replace(s, `{`, `{"detail":{"x":{"y":[1]}},`, 1) },
		"removed field":         func(s string) string { return strings.Replace(s, `"profile":"prod",`, ``, 1) },
		"null field":            func(s string) string { return strings.Replace(s, `{`, `{"ticket":null,`, 1) },
		"fraction":              func(s string) string { return strings.Replace(s, `"seq":2`, `"seq":2.0`, 1) },
		"exponent":              func(s string) string { return strings.Replace(s, `"seq":2`, `"seq":2e0`, 1) },
		"seq as text":           func(s string) string { return strings.Replace(s, `"seq":2`, `"seq":"2"`, 1) },
		"huge number":           func(s string) string { return strings.Replace(s, `{`, `{"x":9007199254740993,`, 1) },
		"upper-case hash":       func(s string) string { return s[:len(s)-70] + strings.ToUpper(s[len(s)-70:]) },
		"two on a line":         func(s string) string { return strings.TrimSpace(s) + s },
		"a page around it": func(s string) string {
			return `{"items":[` + strings.Replace(strings.TrimSpace(s), "bob", "eve", 1) + "]}\n"
		},
		"items beside it": func(s string) string { return strings.Replace(s, `{`, `{"items":[],`, 1) },
		"too long": func(s string) string {
			return strings.Replace(s, `{`, `{"x":"`+strings.Repeat("x", maxEntryBytes)+`",`, 1)
		},
		"too deep": func(s string) string {
			return strings.Replace(s, `{`, `{"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+`,`, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := change(lines[1])
			require.NotEqual(t, lines[1], changed)
			_, err := verifyLines(Options{}, lines[0], changed, lines[2])
			assert.Equal(t, 2, requireBad(t, 2, err).Line)
		})
	}
}

func TestFormatOfTheJSONIsNotTampering(t *testing.T) {
	trail := newTrail(5)
	lines := jsonLines(trail)
	join := func(each func(string) string) string {
		var b strings.Builder
		for _, l := range lines {
			b.WriteString(each(l))
		}
		return b.String()
	}
	reordered := func(s string) string {
		var m map[string]any
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		require.NoError(t, d.Decode(&m))
		out, err := json.Marshal(m)
		require.NoError(t, err)
		return string(out) + "\r\n"
	}
	indented := func(s string) string {
		var b bytes.Buffer
		require.NoError(t, json.Indent(&b, []byte(s), "", "  "))
		return b.String()
	}
	list := strings.Join(lines, ",")
	for name, in := range map[string]string{
		"as served":           join(func(s string) string { return s }),
		"reordered keys":      join(reordered),
		"spaces":              join(func(s string) string { return "  " + strings.ReplaceAll(s, `,"`, "\t, \"") + "\n\n" }),
		"indented":            join(indented),
		"no newline at end":   strings.TrimSuffix(strings.Join(lines, ""), "\n"),
		"one page":            `{"items":[` + strings.ReplaceAll(list, "\n", "") + `],"next_cursor":"5"}`,
		"one page over lines": "{\"next_cursor\":\"5\",\n\"items\" : [\n" + list + "]}\n",
		"pages": "{\"items\":[\n" + lines[0] + "," + lines[1] + "]}\n{\"items\":[]}\n" +
			indented(`{"items":[`+lines[2]+`],"x":{}}`) + `{"items":[` + lines[3] + `,` + lines[4] + `]}`,
		"pages on lines":  join(func(s string) string { return `{"items":[` + strings.TrimSpace(s) + `],"next_cursor":"x"}` + "\n" }),
		"array":           "[" + list + "]",
		"array on a line": "[" + strings.ReplaceAll(list, "\n", "") + "]",
		"escaped":         join(func(s string) string { return strings.ReplaceAll(s, "alice", `\u0061lic\u0065`) }),
	} {
		t.Run(name, func(t *testing.T) {
			res, err := VerifyStream(strings.NewReader(in), Options{})
			require.NoError(t, err)
			assert.EqualValues(t, 5, res.Entries)
			assert.Equal(t, trail[4].Hash, res.LastHash)
		})
	}
}

func TestFieldsOfANewerServerAreVerifiedWithoutBeingKnown(t *testing.T) {
	e := newTrail(1)[0]
	canonical := strings.Replace(string(Canonical(e)), `"duration_seconds":`, `"drill":{"b":[1,true,null,"\u001b"],"z":-7},"duration_seconds":`, 1)
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(canonical), &m))
	m["hash"] = hexDigest(sum(canonical))
	line, err := json.Marshal(m)
	require.NoError(t, err)
	_, err = verifyLines(Options{}, string(line))
	require.NoError(t, err)
	_, err = verifyLines(Options{}, strings.Replace(string(line), "-7", "-8", 1))
	assert.Equal(t, CheckHash, requireBad(t, 1, err).Check)
}
