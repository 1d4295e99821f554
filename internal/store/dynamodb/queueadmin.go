package dynamodb

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// maxCounted bounds what counting costs: about 300 read units for each sink and
// state.
const maxCounted = 10_000

// DeliveryCounts returns how many deliveries each sink has waiting; a sink
// without any is left out. A count of 10,000 means at least so many, and the
// oldest is then that of those which are due first.
func (s *Store) DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error) {
	sinks, err := s.everySink(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	counts := map[string]breakglass.DeliveryCount{}
	for _, sink := range sinks {
		c, err := s.deliveryCount(ctx, sink)
		if err != nil {
			return nil, unavailable(err)
		}
		if c != (breakglass.DeliveryCount{}) {
			counts[sink] = c
		}
	}
	return counts, nil
}

func (s *Store) deliveryCount(ctx context.Context, sink string) (c breakglass.DeliveryCount, err error) {
	if c.Dead, err = s.countDead(ctx, sink, maxCounted); err != nil {
		return c, err
	}
	oldest := int64(0)
	in := deliveryQuery(sink, statePending, 1000)
	in.ProjectionExpression = aws.String("pk, sk")
	err = s.query(ctx, in, func(it item) (bool, error) {
		c.Pending++
		if _, _, seq, ok := parseDelivery(str(it[attrSK])); ok && (oldest == 0 || seq < oldest) {
			oldest = seq
		}
		return c.Pending < maxCounted, nil
	})
	if err != nil || oldest == 0 {
		return c, err
	}
	it, err := s.get(ctx, entryKey(oldest))
	if err != nil {
		return c, err
	}
	if e, err := decodeEntry(it); err == nil { // else it becomes a dead letter as soon as it is looked at
		c.Oldest = e.Timestamp
	}
	return c, nil
}

// countDead has DynamoDB count, up to a bound.
func (s *Store) countDead(ctx context.Context, sink string, atMost int64) (n int64, err error) {
	in := deliveryQuery(sink, stateDead, 1000)
	in.TableName, in.Select = &s.opts.Table, types.SelectCount
	for {
		out, err := call(ctx, s, func(ctx context.Context) (*ddb.QueryOutput, error) { return s.client.Query(ctx, in) })
		if err != nil {
			return 0, err
		}
		n += int64(out.Count)
		if n >= atMost || len(out.LastEvaluatedKey) == 0 {
			return min(n, atMost), nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// DropDeliveries removes every delivery to the sink, waiting or dead, and
// returns how many there were. The entries stay.
func (s *Store) DropDeliveries(ctx context.Context, sink string) (int, error) {
	total, b := 0, newBatcher(s)
	in := deliveryQuery(sink, "", 1000)
	in.ProjectionExpression = aws.String("pk, sk")
	err := s.query(ctx, in, func(it item) (bool, error) {
		total++
		return true, b.add(ctx, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: keyOf(it).item()}})
	})
	if flushed := b.flush(ctx); err == nil {
		err = flushed
	}
	if err != nil {
		return 0, unavailable(err)
	}
	return total, nil
}

// RetryDead makes the dead deliveries of the sink ("" for all) due again, with
// all their attempts, and returns how many there were. The head of the trail
// doesn't move, so a dispatcher that waits for it must be woken otherwise.
func (s *Store) RetryDead(ctx context.Context, sink string) (total int, err error) {
	sinks := []string{sink}
	if sink == "" {
		if sinks, err = s.everySink(ctx); err != nil {
			return 0, unavailable(err)
		}
	}
	for _, sink := range sinks {
		var dead []breakglass.Delivery
		err := s.deliveries(ctx, sink, stateDead, 1000, func(d breakglass.Delivery, _ item) (bool, error) {
			dead = append(dead, d)
			return true, nil
		})
		if err != nil {
			return total, unavailable(err)
		}
		n, err := s.revive(ctx, dead)
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// revive makes dead deliveries due again, many in one transaction. Where one of
// them isn't dead any more, because somebody else does the same, they go one by
// one.
func (s *Store) revive(ctx context.Context, dead []breakglass.Delivery) (total int, err error) {
	for len(dead) > 0 {
		now := dead[:min(len(dead), maxActions/2)]
		dead = dead[len(now):]
		var actions []types.TransactWriteItem
		for _, d := range now {
			actions = append(actions, s.moveActions(d, revived(d))...)
		}
		switch err := s.transact(ctx, actions); {
		case err == nil:
			total += len(now)
			continue
		case !errors.Is(err, breakglass.ErrNotFound):
			return total, err
		}
		for _, d := range now {
			switch err := s.move(ctx, d, revived(d)); {
			case err == nil:
				total++
			case !errors.Is(err, breakglass.ErrNotFound): // somebody else did it
				return total, err
			}
		}
	}
	return total, nil
}

func revived(d breakglass.Delivery) breakglass.Delivery {
	d.Dead, d.Attempts, d.NextAttempt = false, 0, fromMicros(0)
	return d
}
