package ratelimit

import (
	"time"

	"breakglass/internal/breakglass"
)

// None permits everything: for a server without a rate-limit file.
type None struct{}

// CheckRateLimit permits.
func (None) CheckRateLimit(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
	return breakglass.LimitDecision{Permit: true}, nil
}

// SHA256 is empty: there is no file.
func (None) SHA256() string { return "" }
