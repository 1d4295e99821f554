package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVerifierTellsWhatItSaw(t *testing.T) {
	trail := newTrail(5)
	trail[2].Timestamp = trail[1].Timestamp.Add(-3 * time.Second)
	trail[3].Timestamp = trail[2].Timestamp.Add(-time.Second)
	reseal(trail, 0)
	v := NewVerifier(Options{Heads: []Anchor{{5, trail[4].Hash}, {2, trail[1].Hash}, {2, trail[1].Hash}}})
	for _, e := range trail {
		require.NoError(t, v.Add(e))
	}
	res, err := v.Finish()
	require.NoError(t, err)
	assert.Equal(t, Result{
		Entries: 5, FirstSeq: 1, LastSeq: 5, LastHash: trail[4].Hash,
		FirstTimestamp: trail[0].Timestamp, LastTimestamp: trail[4].Timestamp,
		StepsBack: 2, LargestStepBack: 3 * time.Second, LargestStepSeq: 3,
	}, res, "a clock that was set back is told, not refused")
	assert.Equal(t, Anchor{5, trail[4].Hash}, res.Head())
}

func TestVerifierStopsAtTheFirstBadEntry(t *testing.T) {
	trail := newTrail(4)
	v := NewVerifier(Options{})
	require.NoError(t, v.Add(trail[0]))
	err := v.Add(trail[2])
	require.EqualError(t, err, "entry 2 is missing here: it was dropped or moved, or the list is filtered (expected 2, got 3)")
	require.Equal(t, err, v.Add(trail[1]), "nothing mends it")
	res, finished := v.Finish()
	assert.Equal(t, err, finished)
	assert.EqualValues(t, 1, res.Entries)
}

func TestVerifyNamesPlaceAndDifference(t *testing.T) {
	trail := newTrail(6)
	lines := jsonLines(trail)
	changed := strings.Replace(lines[2], ":system", ":sistem", 1)
	page := func(l ...string) string {
		return `{"items":[` + strings.ReplaceAll(strings.Join(l, ","), "\n", "") + "]}\n"
	}
	for _, c := range []struct {
		name, want string
		in         []string
	}{
		{"changed", "line 3: entry 3 has been changed: its contents don't give its hash (expected " + trail[2].Hash + ", got ",
			[]string{lines[0], lines[1], changed, lines[3]}},
		{"several missing", "line 2: entries 2 to 4 are missing here: they were dropped or moved, or the list is filtered (expected 2, got 5)",
			[]string{lines[0], lines[4]}},
		{"repeated after a blank line", "line 4: entry 3 is due here: entry 1 was inserted, repeated or moved (expected 3, got 1)",
			[]string{lines[0], lines[1], "\n", lines[0]}},
		{"beginning cut off", "line 1: entry 1 is missing here", lines[1:]},
		{"not an entry", "line 2: entry 2 is due here, but this is not an entry: it has no seq", []string{lines[0], "{}\n"}},
		{"not JSON", "line 2: entry 2 is due here, but this is not an entry: expected an object at byte 1", []string{lines[0], "hello\n"}},
		{"in a page", "line 2, item 3: entry 4 is missing here", []string{lines[0], page(lines[1], lines[2], lines[4])}},
		{"in a page over lines", "line 5, item 3: entry 3 has been changed",
			[]string{"{\n\"items\": [\n", lines[0], ",", lines[1], ",", changed, "]}"}},
		{"broken page over lines", "line 4: entry 1 is due here, but this is not an entry: expected a comma or the end of the list",
			[]string{"{\n\"items\": [\n", lines[0], lines[1], "]}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := verifyLines(Options{}, c.in...)
			var bad *BadEntry
			require.ErrorAs(t, err, &bad)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

func TestVerifyMessagesCarryNothingRawFromTheFile(t *testing.T) {
	for _, in := range []string{
		"{\"\x1b[2J\":1}\n", "{\"\\u001b[2J\":1,\"\\u001b[2J\":2}\n", "\x1b[2J\n", "{\"seq\":1,\"hash\":\"\u202e\"}\n",
		`{"seq":1,"prev_hash":"` + GenesisHash + `","hash":"` + GenesisHash + `","timestamp":"\u001b"}` + "\n",
	} {
		_, err := verifyLines(Options{}, in)
		require.Error(t, err)
		for _, r := range err.Error() {
			assert.False(t, r < ' ' || invisible(r), "%q", err.Error())
		}
	}
}

func TestKnownHeadsShowACutOffOrRewrittenTrail(t *testing.T) {
	trail := newTrail(8)
	lines := jsonLines(trail)
	head := func(i int) Anchor { return Anchor{trail[i-1].Seq, trail[i-1].Hash} }
	res, err := verifyLines(Options{Heads: []Anchor{head(8)}}, lines[:5]...)
	bad := requireBad(t, 6, err)
	assert.Equal(t, CheckHead, bad.Check)
	assert.Contains(t, err.Error(), "cut off after entry 5: entry 8 is known to exist")
	assert.EqualValues(t, 5, res.Entries)

	_, err = verifyLines(Options{Heads: []Anchor{head(3), head(8)}}, lines...)
	require.NoError(t, err)
	_, err = verifyLines(Options{Heads: []Anchor{head(5)}}, lines...)
	require.NoError(t, err, "a trail that goes on after the known head is fine")
	_, err = verifyLines(Options{Heads: []Anchor{{3, trail[3].Hash}}}, lines...)
	assert.Contains(t, err.Error(), "line 3: entry 3 is not the one that is known")
	requireBad(t, 3, err)
	_, err = verifyLines(Options{Heads: []Anchor{head(1)}})
	requireBad(t, 1, err)
}

func TestAPartOfTheTrailIsVerifiedFromAnAnchor(t *testing.T) {
	trail := newTrail(8)
	lines := jsonLines(trail)
	head := func(i int) Anchor { return Anchor{trail[i-1].Seq, trail[i-1].Hash} }
	for name, c := range map[string]struct {
		o    Options
		from int
		bad  int64
	}{
		"from its anchor":             {Options{After: head(4)}, 4, 0},
		"from its anchor, head too":   {Options{After: head(4), Heads: []Anchor{head(4), head(8)}}, 4, 0},
		"anchor of another trail":     {Options{After: Anchor{4, GenesisHash}}, 4, 5},
		"anchor elsewhere":            {Options{After: head(3)}, 4, 4},
		"head before the anchor":      {Options{After: head(4), Heads: []Anchor{head(2)}}, 4, 2},
		"head against the anchor":     {Options{After: head(4), Heads: []Anchor{{4, GenesisHash}}}, 4, 4},
		"any part":                    {Options{Part: true}, 4, 0},
		"any part, from the start":    {Options{Part: true}, 0, 0},
		"any part, head in it":        {Options{Part: true, Heads: []Anchor{head(6)}}, 4, 0},
		"any part, head right before": {Options{Part: true, Heads: []Anchor{head(4)}}, 4, 0},
		"any part, other head before": {Options{Part: true, Heads: []Anchor{{4, GenesisHash}}}, 4, 4},
		"any part, head before it":    {Options{Part: true, Heads: []Anchor{head(3)}}, 4, 3},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := verifyLines(c.o, lines[c.from:]...)
			if c.bad != 0 {
				requireBad(t, int(c.bad), err)
				return
			}
			require.NoError(t, err)
			assert.EqualValues(t, c.from+1, res.FirstSeq)
			assert.EqualValues(t, 8, res.LastSeq)
		})
	}
	forged := newTrail(2)
	forged[0].PrevHash = forged[1].Hash
	forged[0].Hash = Hash(forged[0])
	_, err := verifyLines(Options{Part: true}, jsonLines(forged)[0])
	assert.Equal(t, CheckPrevHash, requireBad(t, 1, err).Check, "entry 1 has a fixed prev_hash, wherever it stands")
	_, err = verifyLines(Options{Part: true}, lines[3], lines[5])
	requireBad(t, 5, err)
}

func TestATornLastLineIsNotTampering(t *testing.T) {
	trail := newTrail(3)
	lines := jsonLines(trail)
	last := lines[2]
	for cut := 1; cut < len(last)-1; cut++ {
		for _, zeros := range []string{"", "\x00\x00"} {
			res, err := verifyLines(Options{}, lines[0], lines[1], last[:cut]+zeros)
			var torn *TornError
			require.ErrorAs(t, err, &torn, "cut at %d", cut)
			require.Equal(t, TornError{Line: 3, Bytes: cut}, *torn)
			require.EqualValues(t, 2, res.LastSeq)
		}
		_, err := verifyLines(Options{Heads: []Anchor{{3, trail[2].Hash}}}, lines[0], lines[1], last[:cut])
		requireBad(t, 3, err, "a known head that is missing says more")
		_, err = verifyLines(Options{}, lines[0], lines[1], last[:cut]+"\n")
		requireBad(t, 3, err, "a line that ends isn't torn")
		_, err = verifyLines(Options{}, lines[0], lines[1][:min(cut, len(lines[1])-3)]+"\n", last)
		requireBad(t, 2, err, "nor is one in the middle")
	}
	for _, in := range []string{"{\n\"items\": [" + lines[0], `{"items":[` + strings.TrimSpace(lines[0]) + ",", "[", lines[0][:30]} {
		_, err := verifyLines(Options{}, in)
		var torn *TornError
		require.ErrorAs(t, err, &torn, in)
		assert.Equal(t, 1, torn.Line)
	}
}

func TestVerifyStreamOfNothingIsAnEmptyTrail(t *testing.T) {
	for _, in := range []string{"", "\n \r\n", "[]", `{"items":[],"next_cursor":"0"}`, "{\"items\":\n[\n]}"} {
		res, err := verifyLines(Options{}, in)
		require.NoError(t, err, in)
		assert.Equal(t, Result{}, res)
	}
}

func TestVerifyStreamPassesOnErrorsOfTheReader(t *testing.T) {
	broken := errors.New("connection reset")
	lines := strings.Join(jsonLines(newTrail(3)), "")
	for _, in := range []string{lines, "[\n" + lines} {
		_, err := VerifyStream(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), Options{})
		require.ErrorIs(t, err, broken)
	}
	res, err := VerifyStream(iotest.OneByteReader(strings.NewReader(lines)), Options{})
	require.NoError(t, err)
	assert.EqualValues(t, 3, res.Entries)
}

// repeated is an endless reader of one byte, and counts what was read.
type repeated struct {
	page []byte
	read int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.page)
	r.read += n
	return n, nil
}

func TestVerifyStreamHoldsABoundedPartOfTheInput(t *testing.T) {
	for name, c := range map[string]struct{ in, endless, want string }{
		"an endless line":   {"", "{", "the line is longer than 32 MiB"},
		"an endless page":   {"{\"items\":[\n", " ", "may have 32 MiB at most"},
		"deep nesting":      {strings.Repeat("[", 1<<20), "", "nested too deeply"},
		"very many fields":  {"{" + fields(2*maxMembers) + "\"x\":1}", "", "too many fields"},
		"deep page, wide":   {`{"items":[` + strings.Repeat(`{"a":[`, 1<<18), "", "nested too deeply"},
		"a very long entry": {`{"seq":1,"x":"` + strings.Repeat("x", maxEntryBytes) + `"}`, "", "longer than 262144 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var in io.Reader = strings.NewReader(c.in)
			endless := &repeated{page: bytes.Repeat([]byte(c.endless), 64<<10)}
			if c.endless != "" {
				in = io.MultiReader(in, endless)
			}
			_, err := VerifyStream(in, Options{})
			requireBad(t, 1, err)
			assert.ErrorContains(t, err, c.want)
			assert.LessOrEqual(t, endless.read, maxPageBytes+1<<20)
		})
	}
}

func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":0,`, i)
	}
	return b.String()
}

func TestAnchorsAreReadStrictly(t *testing.T) {
	a := Anchor{42, newTrail(1)[0].Hash}
	back, err := ParseAnchor(a.String())
	require.NoError(t, err)
	assert.Equal(t, a, back)
	for _, bad := range []string{"", "42", "42:", ":" + a.Hash, "0:" + a.Hash, "-1:" + a.Hash, "042:" + a.Hash, "+42:" + a.Hash,
		"42:" + strings.ToUpper(a.Hash), "42:" + a.Hash[1:], "42: " + a.Hash, "42:" + a.Hash + "\n", "9223372036854775808:" + a.Hash, "\x1b[2J"} {
		_, err := ParseAnchor(bad)
		require.Error(t, err, bad)
		assert.NotContains(t, err.Error(), "\x1b")
	}
}

func FuzzVerifyStream(f *testing.F) {
	trail := newTrail(3)
	lines := jsonLines(trail)
	whole := strings.Join(lines, "")
	for _, s := range []string{whole, lines[0], "[" + strings.ReplaceAll(whole, "\n", ",\n") + "]", `{"items":[` + lines[0] + "]}",
		"{\n\"items\":[\n" + lines[0] + "]}", whole[:len(whole)/2], "", `{"seq":1e0}`, `{"a":"\ud83d\udd25"}`, "\x00", "[[", `{"a":-`, `{"a":tru`} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, part bool) {
		res, err := VerifyStream(strings.NewReader(string(in)), Options{Part: part})
		if err == nil {
			if res.Entries != 0 {
				require.Equal(t, res.Entries, res.LastSeq-res.FirstSeq+1)
			}
			return
		}
		var bad *BadEntry
		var torn *TornError
		require.True(t, errors.As(err, &bad) || errors.As(err, &torn), "%v", err)
		for _, r := range err.Error() {
			require.False(t, r < ' ' || invisible(r), "%q", err.Error())
		}
	})
}

func BenchmarkVerifyStream(b *testing.B) {
	trail := newTrail(1000)
	in := strings.Join(jsonLines(trail), "")
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		res, err := VerifyStream(strings.NewReader(in), Options{})
		if err != nil || res.Entries != 1000 {
			b.Fatal(res, err)
		}
	}
}
