package transfer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func factors() []breakglass.Factor {
	at := time.Date(2026, 11, 2, 12, 0, 0, 1000, time.UTC)
	return []breakglass.Factor{
		{Name: "alice", Sealed: "c2VhbGVk", KeyID: "k1", CreatedAt: at, ConfirmedAt: at, LastStep: 59, Failures: 5, FailedAt: at, LockedUntil: at.Add(time.Minute)},
		{Name: "bob <&>", CreatedAt: at, Invitation: "ab", InvitedUntil: at.Add(time.Hour)},
	}
}

func writeFactors(change func(h *Header, f []breakglass.Factor)) (string, error) {
	h, list := Header{Source: "sqlite", Counts: Counts{Factors: 2}}, factors()
	change(&h, list)
	var out bytes.Buffer
	w, err := NewWriter(&out, h)
	for _, f := range list {
		if err == nil {
			err = w.Factor(f)
		}
	}
	if err == nil {
		err = w.Close()
	}
	return out.String(), err
}

func TestSecondFactorsAreWrittenAndRead(t *testing.T) {
	whole, err := writeFactors(func(*Header, []breakglass.Factor) {})
	require.NoError(t, err)
	r, err := NewReader(strings.NewReader(whole))
	require.NoError(t, err)
	var got []breakglass.Factor
	require.NoError(t, r.Each(nil, nil, func(f breakglass.Factor) error { got = append(got, f); return nil }))
	require.Equal(t, factors(), got)

	lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
	require.Len(t, lines, 4)
	key := `{"kind":"idempotency","caller":"a","key":"k","fingerprint":"f","event_id":"e","created_at":"2026-11-02T12:00:00Z"}` + "\n"
	for name, c := range map[string]struct {
		lines   []string
		message string
	}{
		"dropped":       {[]string{lines[0], lines[1], lines[3]}, "1 second factors, 0 access requests, instead of"},
		"repeated":      {[]string{lines[0], lines[1], lines[1], lines[3]}, "line 3: the second factors are not in the order"},
		"swapped":       {[]string{lines[0], lines[2], lines[1], lines[3]}, "line 3: the second factors are not in the order"},
		"a key after":   {[]string{lines[0], lines[1], lines[2], key, lines[3]}, "line 4: an idempotency record stands after"},
		"an odd time":   {[]string{lines[0], strings.Replace(lines[1], "12:00:00.000001Z", "12:00:00.0000001Z", 1), lines[2], lines[3]}, "line 2: the second factor is damaged"},
		"a field twice": {[]string{lines[0], strings.Replace(lines[1], `"sealed"`, `"sealed":"","sealed"`, 1), lines[2], lines[3]}, "line 2: the record was changed"},
	} {
		_, err := Verify(strings.NewReader(resealed(c.lines) + "\n"))
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), c.message, name)
	}
}

func TestSecondFactorsThatCannotBeImportedAreNotWritten(t *testing.T) {
	for name, change := range map[string]func(h *Header, f []breakglass.Factor){
		"in disorder": func(_ *Header, f []breakglass.Factor) { f[0], f[1] = f[1], f[0] },
		"nobody's":    func(_ *Header, f []breakglass.Factor) { f[0].Name = "" },
		"nanoseconds": func(_ *Header, f []breakglass.Factor) { f[0].LockedUntil = f[0].LockedUntil.Add(1) },
		"uncounted":   func(h *Header, _ []breakglass.Factor) { h.Counts.Factors = 1 },
		"negative":    func(_ *Header, f []breakglass.Factor) { f[0].Failures = -1 },
	} {
		out, err := writeFactors(change)
		require.Error(t, err, name)
		assert.NotContains(t, out, "trailer", name)
	}
}
