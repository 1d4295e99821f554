package issuer

import (
	"time"

	"breakglass/internal/breakglass"
)

// Bounds of DurationSeconds (AWS STS API reference, AssumeRole), in seconds.
const (
	minSession     = 900   // STS refuses less
	maxSession     = 43200 // STS refuses more, whatever the role's own maximum
	defaultSession = 3600  // MaxSessionDuration of a role unless somebody changes it
	chainedSession = 3600  // most for a caller that is itself a role session
)

// minUseful is the shortest time to the end for which credentials are worth
// making at all.
const minUseful = time.Second

// sessionEnd returns when credentials for the grant end: g.Ends rounded down to
// the second, because IAM compares dates and SDKs print expirations in whole
// seconds. Rounding up would let them outlive the grant. A grant without an end
// gets none.
func sessionEnd(g breakglass.Grant, now time.Time) (time.Time, error) {
	end := g.Ends.UTC().Truncate(time.Second)
	if end.Sub(now) < minUseful {
		return time.Time{}, tooLate(g)
	}
	return end, nil
}

// roleMaximum is the longest session of the profile's role, in seconds.
func roleMaximum(p breakglass.Profile) int32 {
	if p.MaxSession <= 0 {
		return defaultSession
	}
	seconds := int64(p.MaxSession / time.Second)
	return int32(min(max(seconds, minSession), maxSession))
}

// durationSeconds is what to ask STS for: the whole seconds that are left,
// within what STS takes. Under 900 seconds it asks for more than is left, and
// the session policy makes the end exact.
func durationSeconds(end, now time.Time, limit int32) int32 {
	left := int64(end.Sub(now) / time.Second)
	return int32(min(max(left, minSession), int64(limit)))
}

// earlier returns the earlier of two times in UTC and whole seconds, rounded down.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		a = b
	}
	return a.UTC().Truncate(time.Second)
}
