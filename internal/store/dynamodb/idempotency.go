package dynamodb

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// purging is how many records are forgotten side by side.
const purging = 16

// PurgeIdempotent implements breakglass.Store. A record that was made anew
// under a purged key meanwhile stays: each deletion looks at the age again.
func (s *Store) PurgeIdempotent(ctx context.Context, before time.Time) error {
	old := item{":before": number(micros(before))}
	forget := func(k key) error {
		_, err := call(ctx, s, func(ctx context.Context) (*ddb.DeleteItemOutput, error) {
			return s.client.DeleteItem(ctx, &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: k.item(),
				ConditionExpression: aws.String("made < :before"), ExpressionAttributeValues: old})
		})
		var stays *types.ConditionalCheckFailedException // or is gone
		if errors.As(err, &stays) {
			return nil
		}
		return err
	}
	var batch []key
	flush := func() error {
		errs := make([]error, len(batch))
		var wg sync.WaitGroup
		for i, k := range batch {
			wg.Go(func() { errs[i] = forget(k) })
		}
		wg.Wait()
		batch = batch[:0]
		return errors.Join(errs...)
	}
	err := s.query(ctx, &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		FilterExpression:          aws.String("made < :before"),
		ProjectionExpression:      aws.String("pk, sk"),
		ExpressionAttributeValues: merge(item{":pk": text(pkIdempotency)}, old),
	}, func(it item) (bool, error) {
		if batch = append(batch, keyOf(it)); len(batch) < purging {
			return true, nil
		}
		return true, flush()
	})
	if err == nil {
		err = flush()
	}
	return unavailableOrNil(err)
}
