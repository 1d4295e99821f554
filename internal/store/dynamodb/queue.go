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

// DueDeliveries returns the deliveries to the sink that are due at now and that
// nobody has claimed, by (next attempt, seq), at most limit of them. next is
// when the first of the others that wait for this sink is due or falls back
// from whoever claimed it; zero when there is none.
//
// A new delivery is due at once, whatever the clock says: its next attempt is
// the beginning of Unix time.
func (s *Store) DueDeliveries(ctx context.Context, sink string, now time.Time, limit int) (due []breakglass.Delivery, next time.Time, err error) {
	if limit < 1 {
		return nil, time.Time{}, errLimit
	}
	soon := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	err = s.deliveries(ctx, sink, statePending, limit+16, func(d breakglass.Delivery, it item) (bool, error) {
		claimed := fromMicros(num(it["claimed_until"]))
		switch {
		case d.NextAttempt.After(now), len(due) == limit:
			soon(d.NextAttempt)
			return false, nil
		case claimed.After(now):
			soon(claimed)
		default:
			due = append(due, d)
		}
		return true, nil
	})
	if err == nil {
		due, err = s.fillIn(ctx, due)
	}
	if err != nil {
		return nil, time.Time{}, unavailable(err)
	}
	return due, next, nil
}

// deliveries goes through the deliveries to a sink in one state ("" for both).
// An item that no server has written is logged and left alone: it must not
// silence the sink.
func (s *Store) deliveries(ctx context.Context, sink, state string, page int, each func(d breakglass.Delivery, it item) (bool, error)) error {
	return s.query(ctx, deliveryQuery(sink, state, page), func(it item) (bool, error) {
		d, err := decodeDelivery(sink, it)
		if err != nil {
			s.opts.Log.Error("a notification can't be read; breakglassd deliveries drop removes it with all others of its sink", "sink", sink, "error", err)
			return true, nil
		}
		return each(d, it)
	})
}

func deliveryQuery(sink, state string, page int) *ddb.QueryInput {
	in := &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": text(deliveryPK(sink))},
		Limit:                     aws.Int32(int32(min(page, 1000))), // bounded
	}
	if state != "" {
		in.KeyConditionExpression = aws.String("pk = :pk AND begins_with(sk, :prefix)")
		in.ExpressionAttributeValues[":prefix"] = text(state + "#")
	}
	return in
}

// decodeDelivery takes from the key whatever the key tells, so that the item is
// found again under it.
func decodeDelivery(sink string, it item) (breakglass.Delivery, error) {
	state, due, seq, ok := parseDelivery(str(it[attrSK]))
	if !ok {
		return breakglass.Delivery{}, fmt.Errorf("%q is not the key of a delivery", str(it[attrSK]))
	}
	return breakglass.Delivery{
		Entry: breakglass.LogEntry{Seq: seq}, Sink: sink, Attempts: int(num(it["attempts"])),
		NextAttempt: fromMicros(due), Dead: state == stateDead, LastError: str(it["last_error"]),
	}, nil
}

func keyOfDelivery(d breakglass.Delivery) key {
	state := statePending
	if d.Dead {
		state = stateDead
	}
	return deliveryKey(d.Sink, state, micros(d.NextAttempt), d.Entry.Seq)
}

// deliveryItem is a delivery that nobody has claimed.
func deliveryItem(d breakglass.Delivery) item {
	return merge(keyOfDelivery(d).item(), item{"sink": text(d.Sink), "seq": number(d.Entry.Seq), "due": number(micros(d.NextAttempt)),
		"attempts": number(int64(d.Attempts)), "last_error": text(d.LastError)})
}

// ClaimDelivery takes the delivery for one attempt: until the given instant no
// server gets it from DueDeliveries. breakglass.ErrNotFound means that another
// one has it, or that it is settled.
func (s *Store) ClaimDelivery(ctx context.Context, d breakglass.Delivery, now, until time.Time) error {
	return s.claim(ctx, keyOfDelivery(d), now, until)
}

// claim leases an item of work: breakglass.ErrNotFound when somebody else has
// it at now, or when it is done. A lease whose answer was lost is asked for
// again, and is ours: otherwise nobody would do the work before it ends.
func (s *Store) claim(ctx context.Context, k key, now, until time.Time) error {
	me := newToken()
	in := &ddb.UpdateItemInput{
		TableName: &s.opts.Table, Key: k.item(),
		UpdateExpression:          aws.String("SET claimed_until = :until, claimed_by = :me"),
		ConditionExpression:       aws.String("attribute_exists(pk) AND (attribute_not_exists(claimed_until) OR claimed_until <= :now OR claimed_by = :me)"),
		ExpressionAttributeValues: item{":until": number(micros(until)), ":now": number(micros(now)), ":me": text(me)},
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	for wait := (backoff{}); ; {
		_, err := call(ctx, s, func(ctx context.Context) (*ddb.UpdateItemOutput, error) { return s.client.UpdateItem(ctx, in) })
		if err == nil || final(err) || !wait.sleep(ctx) {
			return settled(err)
		}
	}
}

// settled turns a condition that failed into ErrNotFound.
func settled(err error) error {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return breakglass.ErrNotFound
	}
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		for _, r := range cancelled.CancellationReasons {
			if aws.ToString(r.Code) == "ConditionalCheckFailed" {
				return breakglass.ErrNotFound
			}
		}
	}
	return unavailableOrNil(err)
}

// SettleDelivery records the outcome of an attempt at a delivery as
// DueDeliveries has returned it. One that isn't there any more was settled
// before: then there is nothing to do when it was delivered, and
// breakglass.ErrNotFound otherwise.
func (s *Store) SettleDelivery(ctx context.Context, d breakglass.Delivery, o breakglass.DeliveryOutcome) error {
	if o.Delivered {
		_, err := call(ctx, s, func(ctx context.Context) (*ddb.DeleteItemOutput, error) {
			return s.client.DeleteItem(ctx, &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: keyOfDelivery(d).item()})
		})
		return unavailableOrNil(err)
	}
	next := d
	next.Dead, next.Attempts, next.LastError = o.Dead, o.Attempts, o.LastError
	next.NextAttempt = fromMicros(max(0, micros(o.NextAttempt)))
	return s.move(ctx, d, next)
}

// move gives a delivery another place in the queue.
func (s *Store) move(ctx context.Context, from, to breakglass.Delivery) error {
	return s.transact(ctx, s.moveActions(from, to))
}

func (s *Store) moveActions(from, to breakglass.Delivery) []types.TransactWriteItem {
	old, k := keyOfDelivery(from), keyOfDelivery(to)
	it := deliveryItem(to)
	there := aws.String("attribute_exists(pk)")
	if old == k {
		return []types.TransactWriteItem{{Put: &types.Put{TableName: &s.opts.Table, Item: it, ConditionExpression: there}}}
	}
	return []types.TransactWriteItem{
		{Delete: &types.Delete{TableName: &s.opts.Table, Key: old.item(), ConditionExpression: there}},
		s.putAction(it),
	}
}

// transact makes a transaction of the queue. breakglass.ErrNotFound means that a
// delivery in it isn't there any more. Claims of others stand in its way for a
// moment only, and a lost answer is asked for again under the same token.
func (s *Store) transact(ctx context.Context, actions []types.TransactWriteItem) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	in := &ddb.TransactWriteItemsInput{TransactItems: actions, ClientRequestToken: aws.String(newToken())}
	for wait := (backoff{}); ; {
		_, err := call(ctx, s, func(ctx context.Context) (*ddb.TransactWriteItemsOutput, error) {
			return s.client.TransactWriteItems(ctx, in)
		})
		if err == nil || final(err) && !crossed(err) || !wait.sleep(ctx) {
			return settled(err)
		}
	}
}

// crossed reports a transaction that was cancelled only because others were
// under way.
func crossed(err error) bool {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return false
	}
	for _, r := range cancelled.CancellationReasons {
		switch aws.ToString(r.Code) {
		case "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
		default:
			return false
		}
	}
	return true
}
