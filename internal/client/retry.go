package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	maxAttempts = 4
	firstWait   = 200 * time.Millisecond
	// maxWait is the longest single wait: a person is looking at the screen. A
	// server that asks for more gets no further attempt, and its answer is shown.
	maxWait = 5 * time.Second
)

// retry runs attempt until it succeeds, fails for good, or the attempts are
// used up. safe says that repeating the call can't do anything twice; what never
// reached the server is repeated in any case.
func (c *Client) retry(ctx context.Context, safe bool, attempt func() error) error {
	for n := 1; ; n++ {
		err := attempt()
		if err == nil || n == maxAttempts || ctx.Err() != nil {
			return err
		}
		wait, again := nextTry(err, safe, n)
		if !again || !fits(ctx, wait) {
			return err
		}
		if c.retrying != nil {
			c.retrying(err, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// nextTry says whether err may be gone at the next attempt, and when that
// should be.
func nextTry(err error, safe bool, n int) (wait time.Duration, again bool) {
	backoff := firstWait << (n - 1)
	wait = backoff/2 + rand.N(backoff) // #nosec G404 -- so that many clients don't come back together
	var unreachable *UnreachableError
	if errors.As(err, &unreachable) {
		return wait, (safe || !unreachable.Sent) && !unreachable.permanent
	}
	var temporary *temporaryError
	if !safe || !errors.As(err, &temporary) {
		return 0, false
	}
	wait = max(wait, temporary.after)
	return wait, wait <= maxWait
}

func fits(ctx context.Context, wait time.Duration) bool {
	end, ok := ctx.Deadline()
	return !ok || time.Until(end) > wait
}

// temporaryError wraps an answer that another attempt may change: 502, 503, 504.
type temporaryError struct {
	error
	after time.Duration
}

func (e *temporaryError) Unwrap() error { return e.error }

// settled takes the wrapping off: callers get the plain error.
func settled(err error) error {
	var t *temporaryError
	if errors.As(err, &t) {
		return t.error
	}
	return err
}

func isTemporary(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}
