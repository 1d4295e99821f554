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
// answered, and the answer is no.
func final(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "TransactionInProgressException", "InternalServerError", "InternalFailure", "ServiceUnavailable",
		"RequestLimitExceeded", "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling":
		return false
	}
	var response *awshttp.ResponseError
	return !errors.As(err, &response) || response.HTTPStatusCode() < 500
}

// ambiguous reports errors after which a write may have taken effect: no answer
// came, or one that doesn't tell.
func ambiguous(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return true
	}
	return !retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
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
	timer := time.NewTimer(b.last/2 + rand.N(b.last)) //nolint:gosec // spreads attempts, hides nothing
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

// unavailable is the answer when DynamoDB can't be asked.
func unavailable(err error) error {
	var told *breakglass.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, breakglass.ErrNotFound) || errors.As(err, &told) {
		return err
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
