package dynamodb

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// batchSize is DynamoDB's limit for one BatchWriteItem.
const batchSize = 25

// PurgeIdempotent implements breakglass.Store.
func (s *Store) PurgeIdempotent(ctx context.Context, before time.Time) error {
	var batch []types.WriteRequest
	err := s.query(ctx, &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		FilterExpression:          aws.String("made < :before"),
		ProjectionExpression:      aws.String("pk, sk"),
		ExpressionAttributeValues: item{":pk": text(pkIdempotency), ":before": number(micros(before))},
	}, func(it item) (bool, error) {
		batch = append(batch, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: it}})
		return true, nil
	})
	if err != nil {
		return unavailable(err)
	}
	return unavailableOrNil(s.writeAll(ctx, batch))
}

// writeAll makes single writes, in batches that are not transactions.
func (s *Store) writeAll(ctx context.Context, all []types.WriteRequest) error {
	wait := backoff{}
	for len(all) > 0 {
		now := all[:min(len(all), batchSize)]
		all = all[len(now):]
		out, err := call(ctx, s, func(ctx context.Context) (*ddb.BatchWriteItemOutput, error) {
			return s.client.BatchWriteItem(ctx, &ddb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{s.opts.Table: now}})
		})
		if err != nil {
			return err
		}
		left := out.UnprocessedItems[s.opts.Table]
		all = append(left, all...)
		if len(left) > 0 && !wait.sleep(ctx) {
			return errors.New("DynamoDB throttles writes")
		}
	}
	return nil
}
