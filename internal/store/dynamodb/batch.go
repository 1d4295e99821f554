package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// batchSize is DynamoDB's limit for one BatchWriteItem.
const batchSize = 25

// batcher makes many single writes, several batches at a time. No two that it
// has at hand may be for the same item; flush in between puts them in order.
type batcher struct {
	s        *Store
	patience time.Duration                   // without any item getting through
	permit   func(ctx context.Context) error // asked before each call, when there is one
	limit    time.Duration                   // of permit and call together; zero: none
	waiting  []types.WriteRequest
	slots    chan struct{}
	running  sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

func newBatcher(s *Store) *batcher {
	return &batcher{s: s, patience: time.Minute, slots: make(chan struct{}, 8)}
}

// put writes an item.
func (b *batcher) put(ctx context.Context, it item) error {
	return b.add(ctx, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
}

// add takes a write; the error may be that of an earlier one.
func (b *batcher) add(ctx context.Context, r types.WriteRequest) error {
	if b.waiting = append(b.waiting, r); len(b.waiting) == batchSize {
		b.send(ctx)
	}
	return b.failed()
}

func (b *batcher) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *batcher) send(ctx context.Context) {
	now := b.waiting
	b.waiting = nil
	b.slots <- struct{}{}
	b.running.Go(func() {
		defer func() { <-b.slots }()
		if err := b.write(ctx, now); err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.err == nil {
				b.err = err
			}
		}
	})
}

// flush waits until everything that was added is written.
func (b *batcher) flush(ctx context.Context) error {
	if len(b.waiting) > 0 {
		b.send(ctx)
	}
	b.running.Wait()
	return b.failed()
}

// drop forgets what was not sent and waits until nothing is under way.
func (b *batcher) drop() {
	b.waiting = nil
	b.running.Wait()
}

// write repeats what DynamoDB leaves undone, as it does when it is asked for
// more than the table may take.
func (b *batcher) write(ctx context.Context, left []types.WriteRequest) error {
	wait := backoff{}
	for moved := time.Now(); ; {
		rest, err := b.once(ctx, left)
		switch {
		case err == nil && len(rest) == 0:
			return nil
		case err == nil:
			if len(rest) < len(left) {
				moved = time.Now()
			}
			left, err = rest, errors.New("DynamoDB throttles writes")
		case final(err), errors.Is(err, errTakenOver), b.failed() != nil:
			return fmt.Errorf("write to the table: %w", err)
		}
		if time.Since(moved) > b.patience || !wait.sleep(ctx) {
			return fmt.Errorf("write to the table: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// once makes one call and returns what it left undone.
func (b *batcher) once(ctx context.Context, all []types.WriteRequest) (rest []types.WriteRequest, err error) {
	if err := b.failed(); err != nil {
		return nil, err
	}
	if b.limit > 0 {
		limited, cancel := context.WithTimeout(ctx, b.limit)
		defer cancel()
		ctx = limited
	}
	if b.permit != nil {
		if err := b.permit(ctx); err != nil {
			return nil, err
		}
	}
	out, err := call(ctx, b.s, func(ctx context.Context) (*ddb.BatchWriteItemOutput, error) {
		return b.s.client.BatchWriteItem(ctx, &ddb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{b.s.opts.Table: all}})
	})
	if err != nil {
		return nil, err
	}
	return out.UnprocessedItems[b.s.opts.Table], nil
}
