package show

import (
	"fmt"
	"strings"
	"time"
)

// Duration writes a duration with its two largest units, such as 1h 5m, 59m 3s
// or 2d 3h. It rounds up, so that 0s means that nothing is left.
func Duration(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	seconds := int64((d + time.Second - 1) / time.Second)
	units := []struct {
		size int64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}}
	var parts []string
	for _, u := range units {
		n := seconds / u.size
		seconds %= u.size
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.name))
		} else if len(parts) > 0 {
			break
		}
		if len(parts) == 2 {
			break
		}
	}
	if len(parts) == 0 {
		return "0s"
	}
	return strings.Join(parts, " ")
}

// Seconds writes a whole number of seconds as Duration does.
func Seconds(n int64) string { return Duration(time.Duration(min(n, 1<<33)) * time.Second) }

// Clock is a countdown with fixed width, such as 0:59:30.
func Clock(d time.Duration) string {
	s := int64((max(d, 0) + time.Second - 1) / time.Second)
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Time writes an instant in UTC, and in the local zone where that differs.
func Time(t time.Time, local *time.Location) string {
	u, l := t.UTC(), t.In(local)
	s := u.Format("2006-01-02 15:04:05") + " UTC"
	if _, offset := l.Zone(); offset == 0 {
		return s
	}
	if l.Day() != u.Day() {
		return s + l.Format(" (2006-01-02 15:04 MST)")
	}
	return s + l.Format(" (15:04 MST)")
}

// Relative says how far t lies from now.
func Relative(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d > 0:
		return "in " + Duration(d)
	case d > -time.Second:
		return "now"
	}
	return Duration(d.Truncate(time.Second)) + " ago"
}
