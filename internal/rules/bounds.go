package rules

import (
	"time"

	"breakglass/internal/yamlfile"
)

// Bounds of what rules say about credentials. A session can be shorter than the
// 900 seconds that STS gives at least: a policy of the session ends it before.
const (
	MinSession  = time.Minute
	MaxSession  = 12 * time.Hour // as long as any role's session at AWS
	MaxRenewals = 1000
)

// Duration checks a length of time; one that isn't there is that of absent.
func (c *Checker) Duration(at string, d *yamlfile.Duration, absent, least, most time.Duration) time.Duration {
	if d == nil {
		return absent
	}
	v := time.Duration(*d)
	if v < least || v > most || v%time.Second != 0 {
		c.Add(at, "must be whole seconds from %s to %s, not %s", Words(least), Words(most), v)
	}
	return v
}

// Session checks the longest session of a rule.
func (c *Checker) Session(at string, d *yamlfile.Duration, absent time.Duration) time.Duration {
	return c.Duration(at, d, absent, MinSession, MaxSession)
}

// Count checks a number; one that isn't there is that of absent.
func (c *Checker) Count(at string, n *int, absent, least, most int) int {
	if n == nil {
		return absent
	}
	if *n < least || *n > most {
		c.Add(at, "must be from %d to %d, not %d", least, most, *n)
	}
	return *n
}

// Renewals checks how often credentials can be renewed; nil is any number.
func (c *Checker) Renewals(at string, n *int) *int {
	if n != nil {
		c.Count(at, n, 0, 0, MaxRenewals)
	}
	return n
}
