package yamlfile

import (
	"fmt"
	"time"
)

// Duration is a length of time written as in Go: 90s, 30m, 1h30m.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler. A bare number is refused:
// nobody should have to guess its unit.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("must be a duration with its unit, such as 30m or 2h, not %.64q", text)
	}
	*d = Duration(v)
	return nil
}

// String writes d as UnmarshalText reads it.
func (d Duration) String() string { return time.Duration(d).String() }
