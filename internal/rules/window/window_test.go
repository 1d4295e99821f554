package window

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/rules"
	"breakglass/internal/yamlfile"
)

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	require.NoError(t, err)
	return at
}

// window reads a window as the files of rules have it.
func window(t *testing.T, yaml string) *Window {
	t.Helper()
	form, at, problems := yamlfile.Decode[struct {
		Time *File `yaml:"time"`
	}]("rules.yaml", []byte("time: "+yaml+"\n"))
	c := rules.NewChecker(at, problems)
	w := form.Time.Window(c, "time")
	require.NoError(t, c.Err())
	return w
}

func TestWindowIsOpenFromItsStartAndClosedAtItsEnd(t *testing.T) {
	cases := []struct {
		name, window, at string
		open             bool
	}{
		{"before the start", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T08:59:59.999999Z", false},
		{"at the start", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T09:00:00Z", true},
		{"before the end", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T16:59:59.999999Z", true},
		{"at the end", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T17:00:00Z", false},
		{"whole day from midnight", `{days: [wednesday]}`, "2026-03-04T00:00:00Z", true},
		{"whole day to midnight", `{days: [wednesday]}`, "2026-03-04T23:59:59.999999Z", true},
		{"whole day, the day after", `{days: [wednesday]}`, "2026-03-05T00:00:00Z", false},
		{"24:00 is the end of the day", `{days: [wednesday], hours: {start: "22:00", end: "24:00"}}`, "2026-03-04T23:59:59Z", true},
		{"24:00 does not reach into the next day", `{days: [wednesday], hours: {start: "22:00", end: "24:00"}}`, "2026-03-05T00:00:00Z", false},
		{"00:00 as an end is 24:00", `{days: [wednesday], hours: {start: "22:00", end: "00:00"}}`, "2026-03-04T23:59:59Z", true},
		{"00:00 as an end does not reach into the next day", `{days: [wednesday], hours: {start: "22:00", end: "00:00"}}`, "2026-03-05T00:00:00Z", false},
		{"overnight on its day", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-07T22:00:00Z", true},
		{"overnight before its start", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-07T21:59:59Z", false},
		{"overnight on the morning of its own day", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-07T05:00:00Z", false},
		{"overnight on the next morning", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-08T05:59:59Z", true},
		{"overnight at its end", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-08T06:00:00Z", false},
		{"overnight not on the next evening", `{days: [saturday], hours: {start: "22:00", end: "06:00"}}`, "2026-03-08T22:00:00Z", false},
		{"the day is that of the zone", `{days: [saturday], timezone: Asia/Tokyo}`, "2026-03-06T15:00:00Z", true},
		{"and not that of UTC", `{days: [saturday], timezone: Asia/Tokyo}`, "2026-03-07T15:00:00Z", false},
		{"half-hour zone at the start", `{hours: {start: "09:00", end: "17:00"}, timezone: Asia/Kolkata}`, "2026-03-04T03:30:00Z", true},
		{"half-hour zone before the start", `{hours: {start: "09:00", end: "17:00"}, timezone: Asia/Kolkata}`, "2026-03-04T03:29:59Z", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.open, window(t, c.window).Contains(instant(t, c.at)))
		})
	}
}

// The changes of 2026: New York 8 March 07:00 UTC and 1 November 06:00 UTC,
// Berlin 29 March and 25 October 01:00 UTC, Lord Howe Island (by half an hour)
// 4 April 15:00 UTC and 3 October 15:30 UTC.
func TestWindowFollowsTheWallClockThroughDaylightSaving(t *testing.T) {
	newYork := func(hours string) string { return `{hours: {` + hours + `}, timezone: America/New_York}` }
	berlin := func(hours string) string { return `{hours: {` + hours + `}, timezone: Europe/Berlin}` }
	lordHowe := func(hours string) string { return `{hours: {` + hours + `}, timezone: Australia/Lord_Howe}` }
	cases := []struct {
		name, window, at string
		open             bool
	}{
		{"New York in winter", newYork(`start: "09:00", end: "17:00"`), "2026-03-07T14:00:00Z", true},
		{"New York in summer", newYork(`start: "09:00", end: "17:00"`), "2026-03-08T13:00:00Z", true},
		{"New York in summer, before", newYork(`start: "09:00", end: "17:00"`), "2026-03-08T12:59:59Z", false},
		{"New York: last second before the gap", newYork(`start: "02:00", end: "03:00"`), "2026-03-08T06:59:59Z", false},
		{"New York: a window in the gap stays shut", newYork(`start: "02:00", end: "03:00"`), "2026-03-08T07:00:00Z", false},
		{"New York: a window from inside the gap opens with its end", newYork(`start: "02:30", end: "04:00"`), "2026-03-08T07:00:00Z", true},
		{"New York: a window into the gap ends with its start", newYork(`start: "01:00", end: "02:30"`), "2026-03-08T06:59:59Z", true},
		{"New York: and not after it", newYork(`start: "01:00", end: "02:30"`), "2026-03-08T07:00:00Z", false},
		{"New York: the repeated hour, first time", newYork(`start: "01:00", end: "02:00"`), "2026-11-01T05:00:00Z", true},
		{"New York: the repeated hour, second time", newYork(`start: "01:00", end: "02:00"`), "2026-11-01T06:59:59Z", true},
		{"New York: after the repeated hour", newYork(`start: "01:00", end: "02:00"`), "2026-11-01T07:00:00Z", false},
		{"New York: half the hour, first time", newYork(`start: "01:30", end: "01:45"`), "2026-11-01T05:30:00Z", true},
		{"New York: half the hour, between", newYork(`start: "01:30", end: "01:45"`), "2026-11-01T06:00:00Z", false},
		{"New York: half the hour, second time", newYork(`start: "01:30", end: "01:45"`), "2026-11-01T06:30:00Z", true},
		{"New York: overnight ends an hour of sleep earlier", newYork(`start: "22:00", end: "06:00"`), "2026-03-08T09:59:59Z", true},
		{"New York: at 06:00 EDT", newYork(`start: "22:00", end: "06:00"`), "2026-03-08T10:00:00Z", false},
		{"Berlin: before the gap", berlin(`start: "02:00", end: "03:00"`), "2026-03-29T00:59:59Z", false},
		{"Berlin: at the gap", berlin(`start: "02:00", end: "03:00"`), "2026-03-29T01:00:00Z", false},
		{"Berlin: 03:00 comes at the gap", berlin(`start: "03:00", end: "04:00"`), "2026-03-29T01:00:00Z", true},
		{"Berlin: the repeated hour, first time", berlin(`start: "02:00", end: "03:00"`), "2026-10-25T00:00:00Z", true},
		{"Berlin: the repeated hour, second time", berlin(`start: "02:00", end: "03:00"`), "2026-10-25T01:00:00Z", true},
		{"Berlin: after the repeated hour", berlin(`start: "02:00", end: "03:00"`), "2026-10-25T02:00:00Z", false},
		{"Lord Howe: half an hour is skipped", lordHowe(`start: "02:00", end: "02:30"`), "2026-10-03T15:30:00Z", false},
		{"Lord Howe: 02:30 comes at once", lordHowe(`start: "02:30", end: "03:00"`), "2026-10-03T15:30:00Z", true},
		{"Lord Howe: half an hour is repeated, first", lordHowe(`start: "01:30", end: "02:00"`), "2026-04-04T14:30:00Z", true},
		{"Lord Howe: half an hour is repeated, second", lordHowe(`start: "01:30", end: "02:00"`), "2026-04-04T15:29:59Z", true},
		{"Lord Howe: and then over", lordHowe(`start: "01:30", end: "02:00"`), "2026-04-04T15:30:00Z", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.open, window(t, c.window).Contains(instant(t, c.at)))
		})
	}
}

func TestNextWindowIsTheFirstInstantAtWhichItIsOpen(t *testing.T) {
	cases := []struct{ name, window, at, next string }{
		{"open: now", `{days: [wednesday]}`, "2026-03-04T12:00:00.5Z", "2026-03-04T12:00:00.5Z"},
		{"later today", `{hours: {start: "22:00", end: "06:00"}}`, "2026-03-04T12:00:00Z", "2026-03-04T22:00:00Z"},
		{"at the end: the next day", `{hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T17:00:00Z", "2026-03-05T09:00:00Z"},
		{"next week", `{days: [wednesday], hours: {start: "09:00", end: "17:00"}}`, "2026-03-04T17:00:00Z", "2026-03-11T09:00:00Z"},
		{"across the year", `{days: [friday]}`, "2026-12-26T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"New York: summer time begins before", `{hours: {start: "09:00", end: "17:00"}, timezone: America/New_York}`, "2026-03-08T05:00:00Z", "2026-03-08T13:00:00Z"},
		{"New York: winter time begins before", `{hours: {start: "09:00", end: "17:00"}, timezone: America/New_York}`, "2026-11-01T05:00:00Z", "2026-11-01T14:00:00Z"},
		{"New York: the start lies in the gap", `{hours: {start: "02:30", end: "04:00"}, timezone: America/New_York}`, "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"},
		{"New York: the window lies in the gap", `{days: [sunday], hours: {start: "02:15", end: "02:45"}, timezone: America/New_York}`, "2026-03-08T06:00:00Z", "2026-03-15T06:15:00Z"},
		{"New York: the second time round", `{hours: {start: "01:30", end: "01:45"}, timezone: America/New_York}`, "2026-11-01T05:45:00Z", "2026-11-01T06:30:00Z"},
		{"New York: back into the window", `{hours: {start: "01:00", end: "01:30"}, timezone: America/New_York}`, "2026-11-01T05:45:00Z", "2026-11-01T06:00:00Z"},
		{"Berlin: the start lies in the gap", `{hours: {start: "02:30", end: "04:00"}, timezone: Europe/Berlin}`, "2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z"},
		{"Lord Howe: the start lies in the gap", `{hours: {start: "02:10", end: "04:00"}, timezone: Australia/Lord_Howe}`, "2026-10-03T14:00:00Z", "2026-10-03T15:30:00Z"},
		{"Kolkata", `{hours: {start: "09:00", end: "17:00"}, timezone: Asia/Kolkata}`, "2026-03-04T12:00:00Z", "2026-03-05T03:30:00Z"},
		{"Apia skipped the Friday of 30 December 2011", `{days: [friday], timezone: Pacific/Apia}`, "2011-12-30T00:00:00Z", "2012-01-05T10:00:00Z"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, instant(t, c.next).UTC(), window(t, c.window).NextWindow(instant(t, c.at)))
		})
	}
}

// openBySight reads the clock and the calendar of the zone as a person does.
func openBySight(days []string, start, end string, zone *time.Location, at time.Time) bool {
	local := at.In(zone)
	shown := local.Format("15:04")
	today := slices.Contains(days, strings.ToLower(local.Format("Monday")))
	y, m, d := local.Date()
	yesterday := slices.Contains(days, strings.ToLower(time.Date(y, m, d-1, 12, 0, 0, 0, time.UTC).Format("Monday")))
	if start < end {
		return today && shown >= start && shown < end
	}
	return today && shown >= start || yesterday && shown < end
}

func TestWindowAgreesWithTheClockOnTheWallAroundEveryChange(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	changes := map[string][]string{
		"America/New_York":    {"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"},
		"Europe/Berlin":       {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
		"Australia/Lord_Howe": {"2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"},
		"America/Havana":      {"2026-03-08T05:00:00Z", "2026-11-01T05:00:00Z"}, // at midnight
		"Africa/Casablanca":   {"2026-02-15T02:00:00Z", "2026-03-22T02:00:00Z"}, // for Ramadan
		"Asia/Kolkata":        {"2026-03-04T00:00:00Z"},
		"UTC":                 {"2026-03-04T00:00:00Z"},
	}
	for name, instants := range changes {
		zone, err := time.LoadLocation(name)
		require.NoError(t, err)
		for range 20 {
			change := instant(t, instants[random.IntN(len(instants))])
			days := randomDays(random)
			start, end := clock(random.IntN(96)*int(15*time.Minute)), clock((1+random.IntN(96))*int(15*time.Minute))
			if start == end {
				continue
			}
			yaml := fmt.Sprintf(`{days: [%s], hours: {start: "%s", end: "%s"}, timezone: %s}`, strings.Join(days, ", "), start, end, name)
			w := window(t, yaml)
			at := change.Add(time.Duration(random.IntN(5*24*60)-3*24*60) * time.Minute)
			seen := at
			for limit := at.Add(16 * 24 * time.Hour); seen.Before(limit); seen = seen.Add(time.Minute) {
				open := openBySight(days, start.String(), end.String(), zone, seen)
				if open != w.Contains(seen) {
					t.Fatalf("%s at %s: the wall says %t", yaml, seen, open)
				}
				if open {
					break
				}
			}
			require.Equal(t, seen.UTC(), w.NextWindow(at), "%s from %s", yaml, at)
		}
	}
}

func randomDays(random *rand.Rand) []string {
	days := weekdays()
	random.Shuffle(7, func(i, j int) { days[i], days[j] = days[j], days[i] })
	return days[:1+random.IntN(7)]
}

func TestWindowInWords(t *testing.T) {
	for yaml, words := range map[string]string{
		`{days: [sunday, saturday], hours: {start: "22:00", end: "06:00"}, timezone: America/New_York}`: "on Saturday and Sunday from 22:00 to 06:00 of the next day (America/New_York)",
		`{hours: {start: "09:00", end: "17:30"}}`:                                                       "every day from 09:00 to 17:30 (UTC)",
		`{days: [monday, tuesday, friday]}`:                                                             "on Monday, Tuesday and Friday, all day (UTC)",
		`{days: [monday], hours: {start: "18:00", end: "00:00"}}`:                                       "on Monday from 18:00 to 00:00 (UTC)",
		`{days: [monday], hours: {start: "18:00", end: "24:00"}}`:                                       "on Monday from 18:00 to 24:00 (UTC)",
		`{hours: {start: "00:00", end: "24:00"}, timezone: Asia/Kolkata}`:                               "every day, all day (Asia/Kolkata)",
	} {
		assert.Equal(t, words, window(t, yaml).String())
	}
	assert.Empty(t, (*Window)(nil).String())
}
