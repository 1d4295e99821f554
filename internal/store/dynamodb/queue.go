package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
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
	err = s.deliveries(ctx, deliveryPrefix(sink, statePending), limit+16, func(it item) (bool, error) {
		d := decodeDelivery(it)
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
		err = s.fillIn(ctx, due)
	}
	if err != nil {
		return nil, time.Time{}, unavailable(err)
	}
	return due, next, nil
}

// deliveries goes through the deliveries under a prefix of the sort key.
func (s *Store) deliveries(ctx context.Context, prefix string, page int, each func(it item) (bool, error)) error {
	in := &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": text(pkDelivery)},
		Limit:                     aws.Int32(int32(min(page, 1000))), // bounded
	}
	if prefix != "" {
		in.KeyConditionExpression = aws.String("pk = :pk AND begins_with(sk, :prefix)")
		in.ExpressionAttributeValues[":prefix"] = text(prefix)
	}
	return s.query(ctx, in, each)
}

func decodeDelivery(it item) breakglass.Delivery {
	return breakglass.Delivery{
		Entry: breakglass.LogEntry{Seq: num(it["seq"])}, Sink: str(it["sink"]), Attempts: int(num(it["attempts"])),
		NextAttempt: fromMicros(num(it["due"])), Dead: isDead(it), LastError: str(it["last_error"]),
	}
}

func isDead(it item) bool {
	_, rest, _ := strings.Cut(str(it[attrSK]), "#")
	return strings.HasPrefix(rest, stateDead+"#")
}

// fillIn reads the entries that deliveries announce.
func (s *Store) fillIn(ctx context.Context, due []breakglass.Delivery) error {
	if len(due) == 0 {
		return nil
	}
	keys := make([]key, len(due))
	for i, d := range due {
		keys[i] = entryKey(d.Entry.Seq)
	}
	found, err := s.getAll(ctx, keys)
	if err != nil {
		return err
	}
	for i := range due {
		it := found[keys[i]]
		seq := due[i].Entry.Seq
		if due[i].Entry, err = decodeEntry(it); err != nil {
			return damaged(seq, err)
		}
		if snapshot := str(it["snapshot"]); snapshot != "" {
			if err := json.Unmarshal([]byte(snapshot), &due[i].Event); err != nil {
				return fmt.Errorf("the event of delivery %d is damaged: %w", seq, err)
			}
		}
	}
	return nil
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
	old, k := keyOfDelivery(from), keyOfDelivery(to)
	it := deliveryItem(to)
	there := aws.String("attribute_exists(pk)")
	items := []types.TransactWriteItem{
		{Delete: &types.Delete{TableName: &s.opts.Table, Key: old.item(), ConditionExpression: there}},
		s.putAction(it),
	}
	if old == k {
		items = []types.TransactWriteItem{{Put: &types.Put{TableName: &s.opts.Table, Item: it, ConditionExpression: there}}}
	}
	in := &ddb.TransactWriteItemsInput{TransactItems: items, ClientRequestToken: aws.String(newToken())}
	_, err := call(ctx, s, func(ctx context.Context) (*ddb.TransactWriteItemsOutput, error) {
		return s.client.TransactWriteItems(ctx, in)
	})
	return settled(err)
}

// DeliveryCounts returns how many deliveries each sink has waiting; a sink
// without any is left out.
func (s *Store) DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error) {
	counts := map[string]breakglass.DeliveryCount{}
	first := map[string]int64{}
	err := s.deliveries(ctx, "", 1000, func(it item) (bool, error) {
		d := decodeDelivery(it)
		c := counts[d.Sink]
		if d.Dead {
			c.Dead++
		} else {
			c.Pending++
			if seq := d.Entry.Seq; first[d.Sink] == 0 || seq < first[d.Sink] {
				first[d.Sink] = seq
			}
		}
		counts[d.Sink] = c
		return true, nil
	})
	if err != nil {
		return nil, unavailable(err)
	}
	for sink, seq := range first {
		it, err := s.get(ctx, entryKey(seq))
		if err != nil {
			return nil, unavailable(err)
		}
		e, err := decodeEntry(it)
		if err != nil {
			return nil, damaged(seq, err)
		}
		c := counts[sink]
		c.Oldest = e.Timestamp
		counts[sink] = c
	}
	return counts, nil
}

// DropDeliveries removes every delivery to the sink, waiting or dead, and
// returns how many there were. The entries stay.
func (s *Store) DropDeliveries(ctx context.Context, sink string) (int, error) {
	var all []types.WriteRequest
	err := s.deliveries(ctx, escape(sink)+"#", 1000, func(it item) (bool, error) {
		all = append(all, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: keyOf(it).item()}})
		return true, nil
	})
	if err == nil {
		err = s.writeAll(ctx, all)
	}
	if err != nil {
		return 0, unavailable(err)
	}
	return len(all), nil
}

// RetryDead makes the dead deliveries of the sink ("" for all) due again, with
// all their attempts, and returns how many there were. The head of the trail
// doesn't move, so a dispatcher that waits for it must be woken otherwise.
func (s *Store) RetryDead(ctx context.Context, sink string) (int, error) {
	prefix := ""
	if sink != "" {
		prefix = deliveryPrefix(sink, stateDead)
	}
	var dead []breakglass.Delivery
	err := s.deliveries(ctx, prefix, 1000, func(it item) (bool, error) {
		if isDead(it) {
			dead = append(dead, decodeDelivery(it))
		}
		return true, nil
	})
	if err != nil {
		return 0, unavailable(err)
	}
	total := 0
	for _, d := range dead {
		next := d
		next.Dead, next.Attempts, next.NextAttempt = false, 0, fromMicros(0)
		switch err := s.move(ctx, d, next); {
		case err == nil:
			total++
		case !errors.Is(err, breakglass.ErrNotFound): // somebody else did it
			return total, err
		}
	}
	return total, nil
}
