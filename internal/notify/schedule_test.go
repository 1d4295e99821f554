package notify

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestScheduleIsThatOfStandardWebhooks(t *testing.T) {
	want := []string{"0s", "5s", "5m0s", "30m0s", "2h0m0s", "5h0m0s", "10h0m0s", "14h0m0s", "20h0m0s", "24h0m0s"}
	var got []string
	for _, d := range DefaultSchedule() {
		got = append(got, d.String())
	}
	require.Equal(t, want, got)
}

func TestWaitsGrowByTheScheduleAndJitterOnlyProlongs(t *testing.T) {
	s := DefaultSchedule()
	for attempts := 1; attempts < len(s); attempts++ {
		low, ok := nextDelay(s, attempts, 0, 0)
		require.True(t, ok)
		require.Equal(t, s[attempts], low)
		high, _ := nextDelay(s, attempts, 0, 0.999999)
		require.Greater(t, high, low)
		require.LessOrEqual(t, high, low+low/10)
	}
	_, ok := nextDelay(s, len(s), 0, 0)
	require.False(t, ok, "the tenth attempt was the last")
}

func TestRetryAfterProlongsAndIsCapped(t *testing.T) {
	s := DefaultSchedule()
	d, _ := nextDelay(s, 1, 90*time.Second, 0)
	require.Equal(t, 90*time.Second, d)
	d, _ = nextDelay(s, 2, 90*time.Second, 0)
	require.Equal(t, 5*time.Minute, d, "the schedule's own wait is longer")
	d, _ = nextDelay(s, 1, 1000*time.Hour, 0)
	require.Equal(t, time.Hour, d)
	d, _ = nextDelay(s, 1, -time.Hour, 0)
	require.Equal(t, 5*time.Second, d)
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0}, {"0", 0}, {"7", 7 * time.Second}, {" 120 ", 2 * time.Minute}, {"86400", time.Hour}, {"99999999999999999999", time.Hour},
		{"4294967297", time.Hour},
		{"-5", 0}, {"+5", 0}, {"1.5", 0}, {"soon", 0}, {"1e3", 0}, {"0x10", 0}, {"\x00", 0},
		{"Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second}, {"Mon, 23 Nov 2026 11:00:00 GMT", 0}, {"Mon, 23 Nov 2099 12:00:00 GMT", time.Hour},
		{"Monday, 23-Nov-26 12:01:00 GMT", time.Minute}, {"Mon Nov 23 12:01:00 2026", time.Minute},
	} {
		require.Equal(t, tc.want, parseRetryAfter(tc.header, now), "%q", tc.header)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Mon, 23 Nov 2026 12:00:30 GMT")
	f.Fuzz(func(t *testing.T, h string) {
		d := parseRetryAfter(h, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.LessOrEqual(t, d, maxRetryAfter)
	})
}
