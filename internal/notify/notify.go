// Package notify tells other systems what happened: it sends the deliveries
// that the store committed together with audit entries to their sinks. Each
// sink is served on its own, at least once, with retries; nothing here can
// fail or delay an invocation.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Notifier makes one attempt to hand a notification to one target.
type Notifier interface {
	// Notify returns nil when the target has taken n. A *Failure says what to
	// do next; any other error means that a later attempt may succeed. The
	// same n may come again, also after it was taken. It must return soon
	// after ctx is done, and its errors must be safe to log and to show:
	// no secrets, no part of a URL beyond its host, nothing the target said.
	Notify(ctx context.Context, n Notification) error
}

// Verdict says what a failed attempt means for the next one.
type Verdict int

// The verdicts.
const (
	Retry     Verdict = iota // a later attempt may succeed
	Permanent                // this notification will never be taken
	Disable                  // the target wants no notifications any more
)

func (v Verdict) String() string {
	switch v {
	case Retry:
		return "retry"
	case Permanent:
		return "permanent"
	case Disable:
		return "disable"
	}
	return fmt.Sprintf("verdict %d", int(v))
}

// Failure is an attempt that failed. Message is safe to log and to show.
type Failure struct {
	Verdict    Verdict
	RetryAfter time.Duration // the target asked for at least this long; zero: it didn't
	Message    string
}

func (f *Failure) Error() string { return f.Message }

// asFailure returns err as a *Failure; an error that isn't one is retried.
func asFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Verdict: Retry, Message: printable(err.Error(), maxMessage)}
}

// verdictOf is the one table from HTTP status to meaning, for every notifier
// that speaks HTTP. Standard Webhooks 1.0.0: only 2xx is success, 410 Gone
// disables the endpoint, everything else is tried again; that holds for 3xx
// (redirects are not followed) and for other 4xx too, because a receiver that
// is being repaired answers 401, 403 or 404. Only a body that is too large
// stays too large: it must be the same on every attempt.
func verdictOf(status int) (v Verdict, taken bool) {
	switch {
	case status >= 200 && status <= 299:
		return 0, true
	case status == http.StatusGone:
		return Disable, false
	case status == http.StatusRequestEntityTooLarge:
		return Permanent, false
	default:
		return Retry, false
	}
}

// honoursRetryAfter reports the statuses whose Retry-After is a request to wait
// (RFC 6585 section 4, RFC 9110 section 15.6.4).
func honoursRetryAfter(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// contained calls n.Notify and turns a panic into a failure. The panic value
// is not part of the error: it may hold anything.
func contained(ctx context.Context, log *slog.Logger, sink string, n Notifier, msg Notification) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("notifier panicked", "sink", sink, "panic_type", fmt.Sprintf("%T", p), "entry_seq", msg.Seq)
			err = &Failure{Verdict: Retry, Message: "the notifier panicked"}
		}
	}()
	return n.Notify(ctx, msg)
}
