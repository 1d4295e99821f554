package breakglass

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJustificationIsCountedInCodePointsAfterTrimming(t *testing.T) {
	cases := map[string]struct {
		text string
		ok   bool
	}{
		"19 letters":                       {strings.Repeat("a", 19), false},
		"20 letters":                       {strings.Repeat("a", 20), true},
		"20 letters in white space":        {"  " + strings.Repeat("a", 20) + "\t", true},
		"19 letters in white space":        {"   " + strings.Repeat("a", 19) + "   ", false},
		"1000 letters":                     {strings.Repeat("a", 1000), true},
		"1001 letters":                     {strings.Repeat("a", 1001), false},
		"1000 letters of two bytes":        {strings.Repeat("ä", 1000), true},
		"20 emoji":                         {strings.Repeat("🔥", 20), true},
		"10 letters with combining accent": {strings.Repeat("e\u0301", 10), true},
		"emoji with joiners":               {strings.Repeat("👩\u200d🚒", 7), true},
		"zero-width spaces alone":          {strings.Repeat("\u200b", 40), false},
		"soft hyphens alone":               {strings.Repeat("\u00ad", 40), false},
		"Hangul fillers alone":             {strings.Repeat("\u3164", 40), false},
		"combining marks alone":            {strings.Repeat("\u0301", 40), false},
		"a hidden text in tags":            {"Primary database is down\U000E0041\U000E0042", false},
		"white space alone":                {strings.Repeat(" ", 40), false},
		"no-break spaces alone":            {strings.Repeat("\u00a0", 40), false},
		"nothing":                          {"", false},
		"a line break":                     {"Primary database is down\nand more", false},
		"an escape":                        {"Primary database \x1b[2J is down", false},
		"NUL":                              {"Primary database \x00 is down", false},
		"DEL":                              {"Primary database \x7f is down", false},
		"C1 control":                       {"Primary database \u009b2J is down", false},
		"right-to-left override":           {"Primary database \u202e is down now", false},
		"line separator":                   {"Primary database \u2028 is down now", false},
		"invalid UTF-8":                    {"Primary database \xff is down now", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			problem := CheckJustification(c.text)
			assert.Equal(t, c.ok, problem == "", problem)
		})
	}
}

func TestDurationIsWholeSecondsUpToFourHours(t *testing.T) {
	for d, ok := range map[time.Duration]bool{
		0: true, time.Second: true, 4 * time.Hour: true,
		4*time.Hour + time.Second: false, -time.Second: false, 500 * time.Millisecond: false, math.MaxInt64: false, math.MinInt64: false,
		Seconds(math.MaxInt64): false, Seconds(math.MinInt64): false, Seconds(14400): true, Seconds(14401): false,
	} {
		assert.Equal(t, ok, CheckDuration(d) == "", "%s", d)
	}
}

func TestValidateReportsEveryBadField(t *testing.T) {
	err := Invocation{Profile: "", ReasonCode: "boredom", Justification: "short", Ticket: "a\x00b", Invoker: " x", Duration: 5 * time.Hour}.Validate()
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, CodeInvalidRequest, e.Code)
	var fields []string
	for _, f := range e.Fields {
		fields = append(fields, f.Field)
	}
	assert.Equal(t, []string{"profile", "reason_code", "justification", "ticket", "invoker", "duration_seconds"}, fields)
}

func TestFingerprintTellsRequestsApart(t *testing.T) {
	base := Invocation{Profile: "prod", ReasonCode: ReasonIncident, Justification: "Primary DB down, INC-4711"}
	variants := []Invocation{base, base, base, base, base, base}
	variants[0].Profile = "staging"
	variants[1].ReasonCode = ReasonOther
	variants[2].Justification += "."
	variants[3].Ticket = "INC-1"
	variants[4].Invoker = "alice@example.com"
	variants[5].Duration = time.Hour
	seen := map[string]bool{base.fingerprint(): true}
	for _, v := range variants {
		assert.False(t, seen[v.fingerprint()])
		seen[v.fingerprint()] = true
	}
	other := base
	other.RequestID, other.IdempotencyKey, other.DryRun = "r", "k", true
	assert.Equal(t, base.fingerprint(), other.fingerprint(), "what isn't asked for doesn't count")
}
