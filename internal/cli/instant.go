package cli

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// parseInstant reads a time as RFC 3339 writes it, or an age such as 90m, 24h
// or 7d before now. "" is the zero time.
func parseInstant(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			return now.UTC().AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.UTC().Add(-d), nil
	}
	return time.Time{}, errors.New("must be a time such as 2026-11-23T02:00:00Z, or an age such as 90m, 24h or 7d")
}
