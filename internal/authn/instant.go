package authn

import (
	"fmt"
	"time"
)

// Instant is a time in the configuration: as in RFC 3339, or a date alone,
// which means its beginning in UTC.
type Instant time.Time

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Instant) UnmarshalText(text []byte) error {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, string(text)); err == nil && t.Year() >= 1970 { // the zero time means that there is none
			*i = Instant(t.UTC())
			return nil
		}
	}
	return fmt.Errorf("must be a date such as 2026-12-31 (its beginning in UTC) or a time such as 2026-12-31T18:00:00Z, not %.64q", text)
}

// IsZero reports whether there is none.
func (i Instant) IsZero() bool { return time.Time(i).IsZero() }
