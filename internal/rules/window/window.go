// Package window has times of the week, as rules bound themselves with.
package window

import (
	"fmt"
	"time"

	"breakglass/internal/rules"
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

// always reports whether the window never closes. No other one is without a gap
// in every day or week of the wall clock: start and end differ.
func (w *Window) always() bool {
	return w == nil || w.length() == day && w.days == [7]bool{true, true, true, true, true, true, true}
}

// length is how long the window is open on one day, while the wall clock runs
// evenly.
func (w *Window) length() time.Duration {
	if w.overnight() {
		return w.end + day - w.start
	}
	return w.end - w.start
}

// wall returns what the clock on the wall shows, as an instant of UTC that never
// jumps, and how far it is ahead.
func (w *Window) wall(t time.Time) (wall time.Time, offset time.Duration) {
	_, seconds := t.In(w.zone).Zone()
	offset = time.Duration(seconds) * time.Second
	return t.UTC().Add(offset), offset
}

// on returns the hours of the day that lies that many days from the wall's; ok
// is false where it has none.
func (w *Window) on(wall time.Time, days int) (opens, closes time.Time, ok bool) {
	date := time.Date(wall.Year(), wall.Month(), wall.Day()+days, 0, 0, 0, 0, time.UTC)
	opens = date.Add(w.start)
	return opens, opens.Add(w.length()), w.days[date.Weekday()]
}

// maxChanges bounds how many changes of a zone's offset are looked at, for zones
// that change all the time.
const maxChanges = 64

// NextWindow returns the first instant from t on at which the window is open,
// in UTC; zero when there is none in sight.
func (w *Window) NextWindow(t time.Time) time.Time {
	// Between two changes of the zone's offset the wall clock runs evenly. A
	// week of that is enough.
	for range maxChanges {
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
	wall, offset := w.wall(t)
	for i := -1; i <= 7; i++ { // yesterday's window may still be open
		opens, closes, ok := w.on(wall, i)
		if !ok || !wall.Before(closes) {
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

// Until returns the first instant after t at which the window, open at t, is
// closed, in UTC: where one day's hours adjoin the next one's it is the end of
// the whole stretch. Zero when the window never closes, or isn't open at t.
func (w *Window) Until(t time.Time) time.Time {
	if w.always() || !w.Contains(t) {
		return time.Time{}
	}
	for range maxChanges {
		_, change := t.In(w.zone).ZoneBounds()
		t = w.closesBefore(change, t)
		if !t.Equal(change) || !w.Contains(t) {
			break
		}
	}
	return t.UTC()
}

// closesBefore is Until up to the next change of the offset, and that change
// where the window is open all the time before it; a zero change is none.
func (w *Window) closesBefore(change, t time.Time) time.Time {
	wall, offset := w.wall(t)
	for range 9 { // a week of whole days, and its ends
		end := w.endOf(wall)
		if end.IsZero() {
			break
		}
		wall = end
		if !change.IsZero() && !wall.Add(-offset).Before(change) {
			return change
		}
	}
	return wall.Add(-offset)
}

// endOf returns when the hours that the wall clock is in end; zero when it is in
// none.
func (w *Window) endOf(wall time.Time) time.Time {
	for _, i := range []int{-1, 0} {
		if opens, closes, ok := w.on(wall, i); ok && !wall.Before(opens) && wall.Before(closes) {
			return closes
		}
	}
	return time.Time{}
}

// format is how instants are written to people who live by the window's zone.
const format = "Monday 2006-01-02 15:04 MST"

// In writes an instant as the clock on the wall shows it.
func (w *Window) In(t time.Time) string { return t.In(w.zone).Format(format) }

// Closed says when the window is open, what time it is there now and when it
// opens next: at night nobody converts zones well.
func (w *Window) Closed(at time.Time) string {
	words := fmt.Sprintf("It is open only %s; there it is %s now.", w, w.In(at))
	if next := w.NextWindow(at); !next.IsZero() {
		words += fmt.Sprintf(" It opens next in %s, on %s.", rules.Words(next.Sub(at)), w.In(next))
	}
	return words
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
	words := "on " + rules.List(names, "and")
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
