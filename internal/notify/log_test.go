package notify

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestLogSinkWritesWhatHappenedAndEscapesWhatPeopleWrote(t *testing.T) {
	for _, text := range []bool{true, false} {
		var b lockedBuffer
		var h slog.Handler = slog.NewJSONHandler(&b, nil)
		if text {
			h = slog.NewTextHandler(&b, nil)
		}
		d := delivery(7, noon, breakglass.EntryInvoked)
		d.Entry.Justification = "all fine\nlevel=ERROR msg=forged\x1b[2J\u202e\u009b31m\u2028 \xff ünï 💥"
		n, err := NewNotification(d)
		require.NoError(t, err)
		require.NoError(t, NewLog(slog.New(h)).Notify(t.Context(), n))
		out := b.String()
		for _, raw := range []string{"\x1b", "\u202e", "\u009b", "\u2028", "\xff", "fine\n"} {
			require.NotContains(t, out, raw)
		}
		for _, want := range []string{"breakglass.invoked", "alice@example.com", "prod", "incident", d.Entry.EventID, "ünï 💥", n.ID} {
			require.Contains(t, out, want)
		}
		if !text {
			var line map[string]any
			require.NoError(t, json.Unmarshal([]byte(out), &line))
			require.Equal(t, "2026-11-23T13:00:00.123456Z", line["expires_at"])
		}
	}
}

func TestNoopTakesEverything(t *testing.T) {
	require.NoError(t, Noop().Notify(t.Context(), numbered(t, 1)))
}

func TestVerdictsHaveNames(t *testing.T) {
	require.Equal(t, "retry permanent disable verdict 7", Retry.String()+" "+Permanent.String()+" "+Disable.String()+" "+Verdict(7).String())
	require.Equal(t, time.Duration(0), asFailure(errDown).RetryAfter)
}
