package notify

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// DefaultSchedule is the schedule that Standard Webhooks 1.0.0 suggests: the
// wait before each attempt, counted from the attempt before. Its length is the
// number of attempts; after about three days a delivery is dead.
func DefaultSchedule() []time.Duration {
	return []time.Duration{
		0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

const (
	// maxRetryAfter caps what a target may ask for, for one delivery: a wrong
	// header must not silence alerts for days.
	maxRetryAfter = time.Hour
	// maxPause caps for how long such an answer holds back the sink's other
	// deliveries. A limit on requests concerns them all, but a new alert isn't
	// kept back for long without trying.
	maxPause = time.Minute
	// jitter is the share by which a wait is prolonged at most, so that the
	// backlog of an outage doesn't come back all at the same instant.
	jitter = 0.1
)

// nextDelay is the wait before the next attempt after attempts of them, or ok
// = false when the schedule is over. random is in [0, 1). A wait is never
// shorter than the schedule's nor than the target asked for, within its cap.
func nextDelay(schedule []time.Duration, attempts int, retryAfter time.Duration, random float64) (d time.Duration, ok bool) {
	if attempts >= len(schedule) {
		return 0, false
	}
	d = max(schedule[attempts], min(retryAfter, maxRetryAfter))
	return d + time.Duration(float64(d)*jitter*random), true
}

// parseRetryAfter reads a Retry-After header: seconds or an HTTP date
// (RFC 9110 section 10.2.3). What can't be read, or lies in the past, is zero.
func parseRetryAfter(h string, now time.Time) time.Duration {
	h = strings.TrimSpace(h)
	if h == "" {
		return 0
	}
	if strings.Trim(h, "0123456789") == "" {
		s, err := strconv.ParseInt(h, 10, 32)
		if err != nil { // more digits than fit: a very long time
			return maxRetryAfter
		}
		return min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(h)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
