package window

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a container without zone files must decide as every other machine does

	"breakglass/internal/rules"
)

// File is the form of a window in a file of rules.
type File struct {
	Days     []string   `yaml:"days"`
	Hours    *fileHours `yaml:"hours"`
	Timezone *string    `yaml:"timezone"`
}

type fileHours struct {
	Start *clock `yaml:"start"`
	End   *clock `yaml:"end"`
}

// clock is a time of day as HH:MM; 24:00 is the end of the day.
type clock time.Duration

var clockForm = regexp.MustCompile(`^(([01]\d|2[0-3]):[0-5]\d|24:00)$`)

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *clock) UnmarshalText(text []byte) error {
	s := string(text)
	if !clockForm.MatchString(s) {
		return fmt.Errorf("must be a time of day from 00:00 to 24:00 as HH:MM, not %.64q", s)
	}
	hours, _ := strconv.Atoi(s[:2]) // the form has digits only
	minutes, _ := strconv.Atoi(s[3:])
	*c = clock(time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute)
	return nil
}

func (c clock) String() string {
	minutes := int(time.Duration(c) / time.Minute)
	return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60)
}

// weekdays are the names of the days in files, in the order of time.Weekday.
func weekdays() []string {
	names := make([]string, 7)
	for d := range names {
		names[d] = strings.ToLower(time.Weekday(d).String())
	}
	return names
}

// Window checks what the file says at that path; without a File it is always open.
func (t *File) Window(c *rules.Checker, at string) *Window {
	if t == nil {
		return nil
	}
	if len(t.Days) == 0 && t.Hours == nil {
		c.Add(at, "needs days, hours or both; leave time out for always")
	}
	w := &Window{days: t.days(c, at+".days"), end: day, zone: time.UTC}
	if t.Hours != nil {
		w.start, w.end = t.Hours.bounds(c, at+".hours")
	}
	if t.Timezone != nil {
		w.zone = zone(c, at+".timezone", *t.Timezone)
	}
	return w
}

func (t *File) days(c *rules.Checker, at string) (days [7]bool) {
	for i, name := range t.Days {
		d := slices.Index(weekdays(), name)
		if d < 0 {
			c.Add(fmt.Sprintf("%s[%d]", at, i), "%.64q is not a day: use %s", name, rules.List(weekdays(), "or"))
			continue
		}
		days[d] = true
	}
	c.Unique(at, t.Days)
	if len(t.Days) == 0 {
		return [7]bool{true, true, true, true, true, true, true}
	}
	return days
}

func (h *fileHours) bounds(c *rules.Checker, at string) (start, end time.Duration) {
	if !c.Clean(at) {
		return 0, day
	}
	if h.Start == nil {
		c.Add(at+".start", `is required, such as "22:00"`)
	}
	if h.End == nil {
		c.Add(at+".end", `is required, such as "06:00"`)
	}
	if h.Start == nil || h.End == nil {
		return 0, day
	}
	start, end = time.Duration(*h.Start), time.Duration(*h.End)
	switch {
	case start == day:
		c.Add(at+".start", "must be before 24:00: a window that begins at midnight starts at 00:00")
	case start == end:
		c.Add(at, "start and end are both %s, which is no time at all; for the whole day leave hours out", *h.Start)
	}
	return start, end
}

// zone loads an IANA time zone. "Local" is refused: it would mean something
// else on each machine.
func zone(c *rules.Checker, at, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" || loc == time.Local {
		c.Add(at, "%.64q is not a time zone: use an IANA name, such as America/New_York or UTC", name)
		return time.UTC
	}
	return loc
}
