package show

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestSafeMakesWhatSteersATerminalVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":               "plain text",
		"Grüße, 東京, 🔥":             "Grüße, 東京, 🔥",
		"\x1b[2J\x1b]0;owned\x07":  `\x1b[2J\x1b]0;owned\x07`,
		"\x9b31m":                  `\x9b31m`, // a byte that isn't UTF-8
		"\u009b31m":                `\x9b31m`, // CSI as one character
		"a\nb\rc\td":               `a\nb\x0dc\td`,
		"\u202egnp.exe":            `\u202egnp.exe`,
		"a\u2066b\u2069":           `a\u2066b\u2069`,
		"zero\u200bwidth\ufeff":    `zero\u200bwidth\ufeff`,
		"tag\U000e0041":            `tag\U000e0041`,
		"\u2028\u2029":             `\u2028\u2029`,
		"no\u00a0break":            "no break",
		"👩\u200d🚒":                 "👩\u200d🚒",
		"bad \xff utf8":            `bad \xff utf8`,
		"\x00\x7f":                 `\x00\x7f`,
		"e\u0301":                  "e\u0301",
		"a\u115fb\u3164c\u2800d":   `a\u115fb\u3164c\u2800d`, // fillers, printable to Unicode
		"a\u034fb\U000e0101c":      `a\u034fb\U000e0101c`,    // marks that show nothing
		"❤\ufe0f":                  "❤\ufe0f",
		"replacement \ufffd stays": "replacement \ufffd stays",
	} {
		assert.Equal(t, want, Safe(in))
	}
	assert.Equal(t, "a\n\\x1bb", Lines("a\n\x1bb"))
}

func hostile(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp, unicode.Co) || breakglass.IsInvisible(r)
	})
}

func FuzzSafeText(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31m", "\u202e", "👩\u200d🚒", "\xff\xfe", "a\nb", "\u009b", "e\u0301\u0301", "\u200d\u200d",
		"\U000e0041", "東京", "🇩🇪", "1\ufe0f\u20e3"} {
		f.Add(s, 7)
	}
	f.Fuzz(func(t *testing.T, s string, columns int) {
		safe := Safe(s)
		if !utf8.ValidString(safe) || hostile(safe) {
			t.Fatalf("Safe(%q) = %q", s, safe)
		}
		if Safe(safe) != safe {
			t.Fatalf("Safe changes what it made of %q", s)
		}
		columns = max(columns%100, 0)
		if cut := Truncate(safe, columns); Width(cut) > columns || !utf8.ValidString(cut) {
			t.Fatalf("Truncate(%q, %d) = %q takes %d", safe, columns, cut, Width(cut))
		}
		for line := range strings.Lines(Table(Palette{}, columns+20, []Column{{Title: "A", Shrink: true}, {Title: "B", Shrink: false}}, [][]Cell{{{s, Good}, {s, Plain}}})) {
			if line = strings.TrimSuffix(line, "\n"); Width(line) > columns+20 || hostile(line) {
				t.Fatalf("table of %q has the line %q", s, line)
			}
		}
		checkJSON(t, s)
	})
}

func checkJSON(t *testing.T, s string) {
	t.Helper()
	plain, err := json.Marshal(map[string]string{"text": s})
	require.NoError(t, err)
	out, err := Indented(map[string]string{"text": s})
	require.NoError(t, err)
	var want, got map[string]string
	require.NoError(t, json.Unmarshal(plain, &want))
	require.NoError(t, json.Unmarshal(out, &got), "%q", out)
	assert.Equal(t, want, got, "escaping changed the value")
	assert.False(t, hostile(strings.ReplaceAll(string(out), "\n", "")), "%q", out)
}

func TestJSONHoldsNothingThatSteersATerminal(t *testing.T) {
	for _, s := range []string{"\x1b[2J", "\u009b2J", "\u202e", "\x7f", "\U000e0041", "tab\tnewline\n", "🔥", "\ue000"} {
		checkJSON(t, s)
	}
	assert.Equal(t, `{"a":"\u009b\udb40\udc41"}`, string(JSON([]byte("{\"a\":\"\u009b\U000e0041\"}"))))
}

func TestWidthCountsColumns(t *testing.T) {
	for s, want := range map[string]int{
		"abc": 3, "": 0, "東京": 4, "ｗｉｄｅ": 8, "e\u0301": 1, "🔥": 2, "👩\u200d🚒": 2, "👍🏽": 2, "❤\ufe0f": 2, "1\ufe0f\u20e3": 2, "🇩🇪": 2, "Grüße": 5, "한국": 4,
		"한": 2, "ｱ": 1,
	} {
		assert.Equal(t, want, Width(s), "%q", s)
	}
}

func TestTruncateCutsBetweenWholeCharacters(t *testing.T) {
	assert.Equal(t, "Primary…", Truncate("Primary DB down", 9))
	assert.Equal(t, "東…", Truncate("東京都", 4))
	assert.Equal(t, "東…", Truncate("東京都", 3))
	assert.Equal(t, "…", Truncate("東京都", 1))
	assert.Equal(t, "", Truncate("abc", 0))
	assert.Equal(t, "abc", Truncate("abc", 3))
	assert.Equal(t, "a👩\u200d🚒…", Truncate("a👩\u200d🚒bc", 4))
}

func TestATableFitsTheTerminal(t *testing.T) {
	head := []Column{{Title: "ID", Shrink: false}, {Title: "WHO", Shrink: true}, {Title: "WHY", Shrink: true}}
	rows := [][]Cell{
		{{"0123456789abcdef", Plain}, {"alice@example.com", Plain}, {strings.Repeat("Primary database is down ", 10), Plain}},
		{{"fedcba9876543210", Plain}, {"bob@example.com", Plain}, {strings.Repeat("主データベース停止", 10), Plain}},
	}
	for _, columns := range []int{20, 40, 60, 80, 200} {
		for line := range strings.Lines(Table(Palette{}, columns, head, rows)) {
			assert.LessOrEqual(t, Width(strings.TrimSuffix(line, "\n")), columns, line)
		}
	}
	assert.Contains(t, Table(Palette{}, 60, head, rows), "0123456789abcdef  ", "ids are shown whole")
	assert.NotContains(t, Table(Palette{}, 0, head, rows), "…", "nothing is cut where there is no terminal")
}

func TestColumnsWithoutRoomGoToAFurtherLine(t *testing.T) {
	head := []Column{{Title: "ID"}, {Title: "WHO", Shrink: true}, {Title: "STATE"}, {Title: "WHY", Shrink: true}}
	rows := [][]Cell{{{"0123456789abcdef", Plain}, {"alice@example.com", Plain}, {"active, 1h left", Good}, {"Primary DB is down", Plain}}}
	assert.Equal(t, "ID                WHO           STATE\n  WHY\n"+
		"0123456789abcdef  alice@examp…  active, 1h left\n  Primary DB is down\n", Table(Palette{}, 47, head, rows))
	assert.Equal(t, "0123456789abcdef  alice@examp…  active, 1h left\n  Primary DB is down\n", Rows(Palette{}, 47, head, rows))
	assert.Equal(t, 2, strings.Count(Table(Palette{}, 60, head, rows), "\n"), "one line each where there is room")
}

func TestHintsWrapAtWordsAndCommandsStayWhole(t *testing.T) {
	assert.Equal(t, "If credentials were\nhanded out\n  bgctl exec prod -- COMMAND that is long",
		WrapLines("If credentials were handed out\n  bgctl exec prod -- COMMAND that is long", 20))
}

func TestColourIsOnlyOnRequestAndNeverMovesColumns(t *testing.T) {
	head, rows := []Column{{Title: "A", Shrink: false}, {Title: "B", Shrink: false}}, [][]Cell{{{"x\x1b[31m", Good}, {"y", Bad}}}
	assert.NotContains(t, Table(Palette{}, 80, head, rows), "\x1b")
	painted := Table(Palette{Colour: true}, 80, head, rows)
	assert.Contains(t, painted, "\x1b[32mx\\x1b[31m\x1b[0m")
}

func TestDurationsAndTimesInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1s", 59*time.Minute + 30*time.Second: "59m 30s", time.Hour: "1h", time.Hour + time.Second: "1h",
		25 * time.Hour: "1d 1h", 90 * time.Minute: "1h 30m", -5 * time.Second: "5s",
	} {
		assert.Equal(t, want, Duration(d))
	}
	at := time.Date(2026, 11, 23, 23, 30, 0, 0, time.UTC)
	assert.Equal(t, "2026-11-23 23:30:00 UTC", Time(at, time.UTC))
	zone := time.FixedZone("CET", 3600)
	assert.Equal(t, "2026-11-23 23:30:00 UTC (2026-11-24 00:30 CET)", Time(at, zone))
	assert.Equal(t, "2026-11-23 22:30:00 UTC (23:30 CET)", Time(at.Add(-time.Hour), zone))
	assert.Equal(t, "in 1h", Relative(at, at.Add(-time.Hour)))
	assert.Equal(t, "now", Relative(at, at))
	assert.Equal(t, "2m ago", Relative(at, at.Add(2*time.Minute)))
	assert.Equal(t, "0:59:30", Clock(59*time.Minute+30*time.Second))
	assert.Equal(t, "0:00:00", Clock(-time.Second))
}
