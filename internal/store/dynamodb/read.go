package dynamodb

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// get is one consistent read; nil when there is no such item.
func (s *Store) get(ctx context.Context, k key) (item, error) {
	out, err := call(ctx, s, func(ctx context.Context) (*ddb.GetItemOutput, error) {
		return s.client.GetItem(ctx, &ddb.GetItemInput{TableName: &s.opts.Table, Key: k.item(), ConsistentRead: aws.Bool(true)})
	})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// getAll reads items consistently, each at an instant of its own, in one call
// unless they are more than DynamoDB hands out at once.
func (s *Store) getAll(ctx context.Context, keys []key) (map[key]item, error) {
	found := make(map[key]item, len(keys))
	wait := backoff{}
	for len(keys) > 0 {
		now := keys[:min(len(keys), maxKeys)]
		keys = keys[len(now):]
		request := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
		for _, k := range now {
			request.Keys = append(request.Keys, k.item())
		}
		out, err := call(ctx, s, func(ctx context.Context) (*ddb.BatchGetItemOutput, error) {
			return s.client.BatchGetItem(ctx, &ddb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{s.opts.Table: request}})
		})
		if err != nil {
			return nil, err
		}
		for _, it := range out.Responses[s.opts.Table] {
			found[keyOf(it)] = it
		}
		left := out.UnprocessedKeys[s.opts.Table].Keys
		for _, it := range left {
			keys = append(keys, keyOf(it))
		}
		if len(left) > 0 && !wait.sleep(ctx) {
			return nil, &throttled{errors.New("reads are left undone")}
		}
	}
	return found, nil
}

// query goes through the items of a query in order until each returns false.
func (s *Store) query(ctx context.Context, in *ddb.QueryInput, each func(it item) (bool, error)) error {
	in.TableName = &s.opts.Table
	for {
		out, err := call(ctx, s, func(ctx context.Context) (*ddb.QueryOutput, error) { return s.client.Query(ctx, in) })
		if err != nil {
			return err
		}
		for _, it := range out.Items {
			if more, err := each(it); err != nil || !more {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 { // an empty page with a key is normal
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}
