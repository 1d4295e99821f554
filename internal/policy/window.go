package policy

import (
	"fmt"
	"time"
)

const day = 24 * time.Hour

// Window is a time of the week as the clock on the wall shows it in one zone.
// That clock alone decides, which settles daylight saving too: an hour that is
// repeated in autumn counts both times, and one that is skipped in spring
// doesn't exist. A nil *Window is always open.
type Window struct {
	days       [7]bool       // by time.Weekday
	start, end time.Duration // since midnight; end is up to 24 h, and before start when it is on the next day
	zone       *time.Location
}

// overnight reports whether the window ends on the day after its start.
func (w *Window) overnight() bool { return w.end < w.start }

// Contains reports whether the window is open at t: from its start on, and no
// longer at its end.
func (w *Window) Contains(t time.Time) bool {
	if w == nil {
		return true
	}
	t = t.In(w.zone)
	hour, minute, _ := t.Clock()
	now := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
	today, yesterday := w.days[t.Weekday()], w.days[(t.Weekday()+6)%7]
	if w.overnight() {
		return today && now >= w.start || yesterday && now < w.end
	}
	return today && w.start <= now && now < w.end
}

// NextWindow returns the first instant from t on at which the window is open,
// in UTC; zero when there is none in sight.
func (w *Window) NextWindow(t time.Time) time.Time {
	// Between two changes of the zone's offset the wall clock runs evenly. A
	// week of that is enough; the bound is for zones that change all the time.
	for range 64 {
		_, change := t.In(w.zone).ZoneBounds()
		if next, ok := w.nextBefore(change, t); ok {
			return next.UTC()
		}
		if change.IsZero() {
			break
		}
		t = change
	}
	return time.Time{}
}

// nextBefore is NextWindow up to the next change of the offset; a zero change
// is none.
func (w *Window) nextBefore(change, t time.Time) (time.Time, bool) {
	_, seconds := t.In(w.zone).Zone()
	offset := time.Duration(seconds) * time.Second
	wall := t.UTC().Add(offset) // reads as the wall clock, but never jumps
	midnight := time.Date(wall.Year(), wall.Month(), wall.Day(), 0, 0, 0, 0, time.UTC)
	length := w.end - w.start
	if w.overnight() {
		length += day
	}
	for i := -1; i <= 7; i++ { // yesterday's window may still be open
		date := midnight.Add(time.Duration(i) * day)
		opens := date.Add(w.start)
		if !w.days[date.Weekday()] || !wall.Before(opens.Add(length)) {
			continue
		}
		if opens.Before(wall) {
			opens = wall
		}
		next := opens.Add(-offset)
		return next, change.IsZero() || next.Before(change)
	}
	return time.Time{}, false
}

// String describes the window for people; "" for one that is always open.
func (w *Window) String() string {
	if w == nil {
		return ""
	}
	var names []string
	for d := range 7 {
		if weekday := time.Weekday((d + 1) % 7); w.days[weekday] { // a week begins on Monday (ISO 8601)
			names = append(names, weekday.String())
		}
	}
	words := "on " + list(names, "and")
	if len(names) == 7 {
		words = "every day"
	}
	switch {
	case w.start == 0 && w.end == day:
		words += ", all day"
	case w.overnight() && w.end > 0:
		words += fmt.Sprintf(" from %s to %s of the next day", clock(w.start), clock(w.end))
	default:
		words += fmt.Sprintf(" from %s to %s", clock(w.start), clock(w.end))
	}
	return words + " (" + w.zone.String() + ")"
}
