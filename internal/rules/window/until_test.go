package window

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUntilIsTheEndOfTheStretchThatIsOpenNow(t *testing.T) {
	newYork := func(hours string) string { return `{hours: {` + hours + `}, timezone: America/New_York}` }
	cases := []struct{ name, window, at, until string }{
		{"the end of the day's hours", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T12:00:00.5Z", "2026-03-04T17:00:00Z"},
		{"from the start", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T09:00:00Z", "2026-03-04T17:00:00Z"},
		{"in the last instant", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T16:59:59.999999Z", "2026-03-04T17:00:00Z"},
		{"closed at its end", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T17:00:00Z", ""},
		{"closed before", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T08:59:59Z", ""},
		{"overnight, in the evening", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-07T23:00:00Z", "2026-03-08T06:00:00Z"},
		{"overnight, in the morning", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-08T05:00:00Z", "2026-03-08T06:00:00Z"},
		{"one whole day", `{days: [wednesday]}`, "2026-03-04T12:00:00Z", "2026-03-05T00:00:00Z"},
		{"two days in a row", `{days: [saturday, sunday]}`, "2026-03-07T12:00:00Z", "2026-03-09T00:00:00Z"},
		{"six days in a row", `{days: [monday, tuesday, wednesday, thursday, friday, saturday]}`, "2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"days that adjoin across the week", `{days: [sunday, monday], timezone: Europe/Berlin}`, "2026-03-01T12:00:00Z", "2026-03-02T23:00:00Z"},
		{"an evening up to a whole day is two windows", `{days: [friday, saturday], hours: {start: "18:00", end: "24:00"}}`, "2026-03-06T19:00:00Z", "2026-03-07T00:00:00Z"},
		{"every day, all day: never", `{hours: {start: "00:00", end: "24:00"}, timezone: Asia/Kolkata}`, "2026-03-04T12:00:00Z", ""},
		{"all seven days: never", `{days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday]}`, "2026-03-04T12:00:00Z", ""},
		{"New York: the day has 23 hours", `{days: [sunday], timezone: America/New_York}`, "2026-03-08T06:00:00Z", "2026-03-09T04:00:00Z"},
		{"New York: the day has 25 hours", `{days: [sunday], timezone: America/New_York}`, "2026-11-01T06:00:00Z", "2026-11-02T05:00:00Z"},
		{"New York: the end lies in the gap", newYork(`start: "01:00", end: "02:30"`), "2026-03-08T06:30:00Z", "2026-03-08T07:00:00Z"},
		{"New York: the pause lies in the gap", newYork(`start: "03:00", end: "02:00"`), "2026-03-08T06:30:00Z", "2026-03-09T06:00:00Z"},
		{"New York: the hour comes twice", newYork(`start: "00:00", end: "02:00"`), "2026-11-01T04:30:00Z", "2026-11-01T07:00:00Z"},
		{"New York: a part of the hour, first time", newYork(`start: "01:30", end: "01:45"`), "2026-11-01T05:30:00Z", "2026-11-01T05:45:00Z"},
		{"New York: a part of the hour, second time", newYork(`start: "01:30", end: "01:45"`), "2026-11-01T06:30:00Z", "2026-11-01T06:45:00Z"},
		{"New York: from a part of the hour into it again", newYork(`start: "01:00", end: "02:00"`), "2026-11-01T05:59:59Z", "2026-11-01T07:00:00Z"},
		{"Lord Howe: half an hour comes twice", `{hours: {start: "01:00", end: "02:00"}, timezone: Australia/Lord_Howe}`, "2026-04-04T14:10:00Z", "2026-04-04T15:30:00Z"},
		{"Apia skipped the Friday that it is closed on", `{days: [monday, tuesday, wednesday, thursday, saturday, sunday], timezone: Pacific/Apia}`, "2011-12-29T12:00:00Z", "2012-01-05T10:00:00Z"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := time.Time{}
			if c.until != "" {
				want = instant(t, c.until).UTC()
			}
			assert.Equal(t, want, window(t, c.window).Until(instant(t, c.at)))
		})
	}
	assert.Zero(t, (*Window)(nil).Until(time.Now()), "no window at all")
}

// Whatever the window and the zone: it is open all the time up to Until, and
// closed then.
func TestUntilNeverLies(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	zones := []string{"UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Africa/Casablanca",
		"Asia/Kathmandu", "Pacific/Apia", "Antarctica/Troll", "Asia/Pyongyang"}
	looked := 0
	for looked < 600 {
		days := randomDays(random)
		yaml := fmt.Sprintf("{days: [%s], timezone: %s", strings.Join(days, ", "), zones[random.IntN(len(zones))])
		if start, end := random.IntN(24*60), 1+random.IntN(24*60); random.IntN(4) > 0 && start != end {
			yaml += fmt.Sprintf(`, hours: {start: "%s", end: "%s"}`, clock(time.Duration(start)*time.Minute), clock(time.Duration(end)*time.Minute))
		}
		w := window(t, yaml+"}")
		at := time.Date(2007+random.IntN(30), 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(366 * day))))
		if !w.Contains(at) {
			require.Zero(t, w.Until(at))
			continue
		}
		looked++
		until := w.Until(at)
		if until.IsZero() {
			require.Len(t, days, 7, "%s never closes? seed %d", yaml, seed)
			until = at.Add(15 * day)
		} else {
			require.True(t, until.After(at))
			require.False(t, w.Contains(until), "%s from %s: open at %s, seed %d", yaml, at, until, seed)
		}
		for range 100 {
			seen := at.Add(time.Duration(random.Int64N(int64(until.Sub(at)))))
			require.True(t, w.Contains(seen), "%s from %s until %s: closed at %s, seed %d", yaml, at, until, seen, seed)
		}
		require.True(t, w.Contains(until.Add(-time.Nanosecond)))
	}
}

func FuzzUntil(f *testing.F) {
	f.Add(uint8(0b1000001), uint16(0), uint16(1440), "Europe/Berlin", int64(1_774_700_000))
	f.Add(uint8(0b1111111), uint16(180), uint16(120), "America/New_York", int64(1_772_950_000))
	f.Fuzz(func(t *testing.T, days uint8, start, end uint16, name string, at int64) {
		zone, err := time.LoadLocation(name)
		if err != nil || start >= 1440 || end > 1440 || start == end || at > 1<<35 || at < -1<<35 {
			t.Skip()
		}
		w := &Window{start: time.Duration(start) * time.Minute, end: time.Duration(end) * time.Minute, zone: zone}
		for d := range w.days {
			w.days[d] = days>>d&1 == 1
		}
		now := time.Unix(at, 0)
		until := w.Until(now)
		require.Equal(t, !w.Contains(now) || w.always(), until.IsZero())
		if until.IsZero() {
			return
		}
		require.True(t, until.After(now))
		require.False(t, w.Contains(until))
		for seen := now; seen.Before(until); seen = seen.Add(until.Sub(now)/64 + 1) {
			require.True(t, w.Contains(seen), "%s until %s, at %s", w, until, seen)
		}
	})
}
