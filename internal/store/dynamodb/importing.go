package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// attrImport marks the head of a table that an import fills, with a token of
// that run. Every transaction of a server reads the head and depends on it, so
// even one that was started before can't write in between.
const attrImport = "import_run"

// ErrImporting is what a table answers until an import into it is finished. The
// message is for callers of a server that already runs on the table.
var ErrImporting error = &breakglass.Error{
	Code: breakglass.CodeUnavailable, Temporary: true, RetryAfter: time.Minute,
	Message: "The service's store is being filled by an import. Nothing was changed; try again once an operator has finished it.",
	Cause: errors.New("the table holds an import that isn't finished: run breakglassd import again to finish it, " +
		"or delete the table and create it anew"),
}

// errImporting says the same to operators.
var errImporting error = importing{ErrImporting}

type importing struct{ error }

func (i importing) Error() string { return errors.Unwrap(i.error).Error() }
func (i importing) Unwrap() error { return i.error }

// errTakenOver ends an import that isn't alone.
var errTakenOver = errors.New("another import has taken the table over, or the table was changed: this one has stopped")

// begin takes an empty table for the import, or one in which an earlier import
// has ended before its end; then it removes what that one has left.
func (s *restore) begin(ctx context.Context) error {
	it, err := s.get(ctx, keyHead)
	if err != nil {
		return err
	}
	earlier := str(it[attrImport])
	if it != nil && earlier == "" {
		return errNotEmpty
	}
	condition, values := condAbsent, item(nil)
	if earlier != "" {
		condition, values = attrImport+" = :run", item{":run": text(earlier)}
	} else if any, err := s.holds(ctx); err != nil || any {
		return errors.Join(err, errNotEmpty)
	}
	err = s.putHead(ctx, item{attrImport: text(s.run)}, condition, values)
	if err == nil && earlier != "" {
		s.opts.Log.Warn("removing what an import that didn't finish has left, once it can't be writing any more", "table", s.opts.Table, "wait", s.bounds.quiet.String())
		if err = s.outlast(ctx); err == nil {
			err = s.clear(ctx)
		}
	}
	return err
}

// outlast waits until whatever the import before this one was about to write,
// when it still held the table, is written.
func (s *restore) outlast(ctx context.Context) error {
	select {
	case <-time.After(s.bounds.quiet):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNotEmpty = errors.New("the table already holds events or audit entries; an import needs an empty one")

// putHead writes the head under a condition; errTakenOver when it fails.
func (s *restore) putHead(ctx context.Context, content item, condition string, values item) error {
	_, err := call(ctx, s.Store, func(ctx context.Context) (*ddb.PutItemOutput, error) {
		return s.client.PutItem(ctx, &ddb.PutItemInput{TableName: &s.opts.Table, Item: merge(keyHead.item(), content),
			ConditionExpression: &condition, ExpressionAttributeValues: values})
	})
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return err
	}
	// The SDK repeats a call whose answer was lost, and the repetition fails.
	it, err := s.get(ctx, keyHead)
	if err == nil && (str(it[attrImport]) != str(content[attrImport]) || str(it["hash"]) != str(content["hash"])) {
		err = errTakenOver
	}
	return err
}

// mine ends an import that was overtaken.
func (s *restore) mine(ctx context.Context) error {
	it, err := s.get(ctx, keyHead)
	if err == nil && str(it[attrImport]) != s.run {
		err = errTakenOver
	}
	return err
}

// finish makes the table usable: the mark goes as the head comes.
func (s *restore) finish(ctx context.Context) error {
	condition, values := attrImport+" = :run", item{":run": text(s.run)}
	if s.head.seq > 0 {
		return s.putHead(ctx, merge(s.head.encode(), item{attrRev: number(1)}), condition, values)
	}
	_, err := call(ctx, s.Store, func(ctx context.Context) (*ddb.DeleteItemOutput, error) {
		return s.client.DeleteItem(ctx, &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: keyHead.item(),
			ConditionExpression: &condition, ExpressionAttributeValues: values})
	})
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return err
	}
	it, err := s.get(ctx, keyHead)
	if err == nil && it != nil { // else the mark is gone: the first answer was lost
		err = errTakenOver
	}
	return err
}

// holds reports whether the table has any item of a store.
func (s *restore) holds(ctx context.Context) (any bool, err error) {
	err = s.scan(ctx, func(k key) error {
		any = any || keeps(k)
		return nil
	})
	return any, err
}

func keeps(k key) bool { return k.pk != keyLayout.pk && k != keyHead }

// clear empties the table but for its marks.
func (s *restore) clear(ctx context.Context) error {
	err := s.scan(ctx, func(k key) error {
		if !keeps(k) {
			return nil
		}
		return s.batch.add(ctx, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: k.item()}})
	})
	return errors.Join(err, s.batch.flush(ctx))
}

func (s *restore) scan(ctx context.Context, each func(k key) error) error {
	in := &ddb.ScanInput{TableName: &s.opts.Table, ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String("pk, sk")}
	for {
		out, err := call(ctx, s.Store, func(ctx context.Context) (*ddb.ScanOutput, error) { return s.client.Scan(ctx, in) })
		if err != nil {
			return fmt.Errorf("scan the table: %w", err)
		}
		for _, it := range out.Items {
			if err := each(keyOf(it)); err != nil {
				return err
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}
