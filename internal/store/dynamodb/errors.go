package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"breakglass/internal/breakglass"
)

// final reports errors that the same call would get again: DynamoDB has
// answered, and the answer is no; or this store is closed.
func final(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return errors.Is(err, ErrClosed)
	}
	switch api.ErrorCode() {
	case inProgress, "InternalServerError", "InternalFailure", "ServiceUnavailable",
		"RequestLimitExceeded", "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling":
		return false
	}
	var response *awshttp.ResponseError
	return !errors.As(err, &response) || response.HTTPStatusCode() < 500
}

// inProgress is the answer while an earlier attempt under the same token is
// still under way. The SDK takes it for throttling.
const inProgress = "TransactionInProgressException"

// ambiguous reports errors after which a write that was sent may have taken
// effect: no answer came, or one that doesn't tell.
func ambiguous(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() == inProgress {
		return true
	}
	return !retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
}

// throttled says that DynamoDB takes no more calls at this moment: nobody was
// faster, and it is no sign that the table works.
type throttled struct{ cause error }

func (e *throttled) Error() string { return "DynamoDB throttles: " + e.cause.Error() }
func (e *throttled) Unwrap() error { return e.cause }

// defect says that DynamoDB finds fault with the call itself.
type defect struct{ cause error }

func (e *defect) Error() string { return "DynamoDB refuses what it was asked: " + e.cause.Error() }
func (e *defect) Unwrap() error { return e.cause }

func isThrottled(err error) bool {
	var t *throttled
	return errors.As(err, &t)
}

// classified gives DynamoDB's answers that need an answer of their own a type.
func classified(err error) error {
	var api smithy.APIError
	switch {
	case err == nil || !errors.As(err, &api) || api.ErrorCode() == inProgress:
		return err
	case retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool():
		return &throttled{err}
	case api.ErrorCode() == "ValidationException":
		return &defect{err}
	}
	return err
}

// backoff is the growing, jittered wait between attempts.
type backoff struct{ last, most time.Duration } // most is maxBackoff when zero

// sleep waits and reports whether there is time for another attempt.
func (b *backoff) sleep(ctx context.Context) bool {
	most := b.most
	if most == 0 {
		most = maxBackoff
	}
	b.last = min(max(2*b.last, minBackoff), most)
	timer := time.NewTimer(b.last/2 + rand.N(b.last)) // #nosec G404 -- spreads attempts, hides nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// ErrBehind is what nothing can be written for until somebody has looked at the
// table: the next audit entry is there, and the head doesn't know it. A restore
// or a replication of single items leaves that behind. Going on would overwrite
// a part of the trail.
var ErrBehind = errors.New("the head of the trail is behind its entries")

// failure is the answer to callers whose transaction didn't succeed.
func failure(err error) error {
	var u *unresolved
	var c *conflict
	switch {
	case errors.As(err, &u) && u.uncertain:
		return &breakglass.Error{Code: breakglass.CodeUnavailable, Temporary: true, RetryAfter: 2 * time.Second, Cause: err, Unknown: true,
			Message: "The store did not say whether the change was made. Look it up, or repeat the call with the same Idempotency-Key."}
	case errors.As(err, &c):
		return &breakglass.Error{Code: breakglass.CodeUnavailable, Temporary: true, RetryAfter: time.Second, Cause: err,
			Message: "Too many calls change the same records at this moment. Nothing was changed; try again."}
	case errors.Is(err, ErrBehind):
		return &breakglass.Error{Code: breakglass.CodeUnavailable, Cause: err,
			Message: "The head of the audit trail is behind its entries, as after a partial restore. Nothing was changed, and nothing can be " +
				"until an operator has looked at the table."}
	case errors.Is(err, errBroken):
		return err
	}
	return unavailable(err)
}

// throttledFor is when to try again: capacity grows within seconds, and callers
// who hurry make it worse.
const throttledFor = 5 * time.Second

// unavailable is the answer when DynamoDB can't be asked.
func unavailable(err error) error {
	var told *breakglass.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) || errors.Is(err, breakglass.ErrNotFound) || errors.As(err, &told) {
		return err
	}
	var t *throttled
	var d *defect
	switch {
	case errors.As(err, &t):
		return &breakglass.Error{Code: breakglass.CodeUnavailable, Temporary: true, RetryAfter: throttledFor, Cause: fmt.Errorf("dynamodb: %w", err),
			Message: "The service's table takes no more calls at this moment. Nothing was changed; try again in some seconds."}
	case errors.As(err, &d):
		return &breakglass.Error{Code: breakglass.CodeUnavailable, Cause: fmt.Errorf("dynamodb: %w", err),
			Message: "The service has asked its store for something that the store refuses: that is a defect of the service, and trying again " +
				"doesn't help. Nothing was changed. An operator has to look at the server's log."}
	}
	wait := 2 * time.Second
	var missing *types.ResourceNotFoundException
	message := "The service can't reach its store right now. Nothing was changed; try again."
	if errors.As(err, &missing) {
		message, wait = "The service's table is missing. An operator has to look at the server's log.", time.Minute
	}
	return &breakglass.Error{Code: breakglass.CodeUnavailable, Temporary: true, RetryAfter: wait, Message: message,
		Cause: fmt.Errorf("dynamodb: %w", err)}
}
