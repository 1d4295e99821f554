package dynamodb

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// register makes the sinks of deliveries known before the first of them is
// written: those of a sink that no configuration names any more are then still
// found. Names stay, so each is written once in the life of a process.
func (s *Store) register(ctx context.Context, items []item) error {
	for _, it := range items {
		sink := str(it["sink"])
		if !strings.HasPrefix(str(it[attrPK]), deliveryPK("")) {
			continue
		}
		if _, known := s.sinks.Load(sink); known {
			continue
		}
		in := &ddb.PutItemInput{TableName: &s.opts.Table, Item: sinkItem(sink)}
		for wait := (backoff{}); ; {
			_, err := call(ctx, s, func(ctx context.Context) (*ddb.PutItemOutput, error) { return s.client.PutItem(ctx, in) })
			if err == nil {
				break
			}
			if final(err) || !wait.sleep(ctx) {
				return err
			}
		}
		s.sinks.Store(sink, true)
	}
	return nil
}

func sinkItem(sink string) item { return merge(sinkKey(sink).item(), item{"sink": text(sink)}) }

// everySink is each sink that has, or once had, deliveries.
func (s *Store) everySink(ctx context.Context) (sinks []string, err error) {
	err = s.query(ctx, &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND begins_with(sk, :prefix)"),
		ExpressionAttributeValues: item{":pk": text(keyLayout.pk), ":prefix": text(sinkPrefix)},
	}, func(it item) (bool, error) {
		sinks = append(sinks, str(it["sink"]))
		return true, nil
	})
	return sinks, err
}
