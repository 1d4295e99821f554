package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/transfer"
)

// Dump writes everything in the table. DynamoDB has no snapshot over many
// items, so no server may write meanwhile: when the trail has grown, or the
// records don't add up, the export ends with an error and without its trailer.
//
// Events and access requests are found through the trail, in the order in which
// they began, and read consistently. In memory are at most a page of entries, the deliveries
// that wait, the idempotency records, which are forgotten after a day, and one
// second factor for each person.
func Dump(ctx context.Context, cfg aws.Config, opts Options, out io.Writer) (transfer.Header, error) {
	s := offline(cfg, opts)
	d := dump{s: s}
	if err := s.ready(ctx); err != nil {
		return d.header, err
	}
	if err := d.run(ctx, out); err != nil {
		return d.header, fmt.Errorf("export table %s: %w", s.opts.Table, err)
	}
	return d.header, nil
}

// offline is a store for commands: nothing runs in its background, and nobody
// waits for its calls.
func offline(cfg aws.Config, opts Options) *Store {
	if opts.CallTimeout <= 0 {
		opts.CallTimeout = 20 * time.Second
	}
	s := &Store{client: newClient(cfg, opts), opts: opts.withDefaults()}
	first := make(chan struct{})
	s.changed.Store(&first)
	return s
}

type dump struct {
	s          *Store
	header     transfer.Header
	deliveries map[int64][]transfer.Delivery // by seq
	idempotent []breakglass.Idempotent
	factors    []breakglass.Factor
	out        *transfer.Writer
}

func (d *dump) run(ctx context.Context, out io.Writer) error {
	begun, err := d.s.readHead(ctx)
	if err != nil {
		return err
	}
	d.header = transfer.Header{Source: "dynamodb", Counts: transfer.Counts{Entries: begun.seq}}
	if begun.seq > 0 {
		d.header.Head = audit.Anchor{Seq: begun.seq, Hash: begun.hash}
	}
	for _, collect := range []func(context.Context) error{d.readDeliveries, d.readIdempotent, d.readFactors, d.countRecords} {
		if err := collect(ctx); err != nil {
			return err
		}
	}
	if d.out, err = transfer.NewWriter(out, d.header); err != nil {
		return err
	}
	if err := d.entries(ctx, begun.seq); err != nil {
		return err
	}
	for _, r := range d.idempotent {
		if err := d.out.Idempotent(r); err != nil {
			return err
		}
	}
	for _, f := range d.factors {
		if err := d.out.Factor(f); err != nil {
			return err
		}
	}
	ended, err := d.s.readHead(ctx)
	if err != nil {
		return err
	}
	if ended.seq != begun.seq || ended.hash != begun.hash {
		return fmt.Errorf("the audit trail has grown from entry %d to %d meanwhile: stop every server and export again", begun.seq, ended.seq)
	}
	return d.out.Close()
}

func (d *dump) readDeliveries(ctx context.Context) error {
	d.deliveries = map[int64][]transfer.Delivery{}
	sinks, err := d.s.everySink(ctx)
	if err != nil {
		return err
	}
	for _, sink := range sinks {
		err := d.s.query(ctx, deliveryQuery(sink, "", 1000), func(it item) (bool, error) {
			v, err := decodeDelivery(sink, it)
			if err != nil {
				return false, fmt.Errorf("notifications to %s: %w", sink, err)
			}
			seq := v.Entry.Seq
			d.deliveries[seq] = append(d.deliveries[seq], transfer.Delivery{Sink: v.Sink, NextAttempt: v.NextAttempt,
				Attempts: v.Attempts, Dead: v.Dead, LastError: v.LastError})
			d.header.Counts.Deliveries++
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	for _, list := range d.deliveries {
		slices.SortFunc(list, func(a, b transfer.Delivery) int { return strings.Compare(a.Sink, b.Sink) })
	}
	return nil
}

func (d *dump) readIdempotent(ctx context.Context) error {
	err := d.s.query(ctx, &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": text(pkIdempotency)},
	}, func(it item) (bool, error) {
		var i idempotent
		err := i.decode(it)
		d.idempotent = append(d.idempotent, i.value)
		return true, err
	})
	slices.SortFunc(d.idempotent, func(a, b breakglass.Idempotent) int {
		if c := strings.Compare(a.Caller, b.Caller); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	d.header.Counts.Idempotency = int64(len(d.idempotent))
	return err
}

func (d *dump) readFactors(ctx context.Context) error {
	err := d.s.query(ctx, &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": text(pkFactor)},
	}, func(it item) (bool, error) {
		var f factor
		err := f.decode(it)
		if f.value != nil { // not one that was removed
			d.factors = append(d.factors, *f.value)
		}
		return true, err
	})
	slices.SortFunc(d.factors, func(a, b breakglass.Factor) int { return strings.Compare(a.Name, b.Name) })
	d.header.Counts.Factors = int64(len(d.factors))
	return err
}

// countRecords asks an index, which lags behind a server that worked a moment
// ago; that shows at the end, when the trail has named another number of events
// or access requests.
func (d *dump) countRecords(ctx context.Context) error {
	for _, c := range []struct {
		states []string
		count  *int64
	}{{listedEvents.states, &d.header.Counts.Events}, {listedRequests.states, &d.header.Counts.Requests}} {
		for _, state := range c.states {
			n, err := d.count(ctx, state)
			if err != nil {
				return err
			}
			*c.count += n
		}
	}
	return nil
}

func (d *dump) count(ctx context.Context, state string) (n int64, err error) {
	in := &ddb.QueryInput{
		TableName: &d.s.opts.Table, IndexName: aws.String("gsi-status"), Select: types.SelectCount,
		KeyConditionExpression:    aws.String("#status = :status"),
		ExpressionAttributeNames:  map[string]string{"#status": attrStatus},
		ExpressionAttributeValues: item{":status": text(state)},
	}
	for {
		out, err := call(ctx, d.s, func(ctx context.Context) (*ddb.QueryOutput, error) { return d.s.client.Query(ctx, in) })
		if err != nil {
			return 0, err
		}
		n += int64(out.Count)
		if len(out.LastEvaluatedKey) == 0 {
			return n, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// entries writes the trail up to head, one query for each bucket.
func (d *dump) entries(ctx context.Context, head int64) error {
	for after := int64(0); after < head; {
		first, end := entryKey(after+1), min(head, after+bucketSize)
		var page []transfer.Entry
		err := d.s.query(ctx, &ddb.QueryInput{
			ConsistentRead:            aws.Bool(true),
			KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :first AND :last"),
			ExpressionAttributeValues: item{":pk": text(first.pk), ":first": text(first.sk), ":last": text(entryKey(end).sk)},
		}, func(it item) (bool, error) {
			after++
			log, err := decodeEntry(it)
			if err != nil {
				return false, damaged(after, err)
			}
			e := transfer.Entry{Body: []byte(str(it["body"])), Hash: str(it["hash"]), Log: log}
			if e.Deliveries = d.deliveries[after]; len(e.Deliveries) > 0 {
				e.Snapshot = str(it["snapshot"])
			}
			page = append(page, e)
			if len(page) < maxKeys {
				return true, nil
			}
			err = d.write(ctx, page)
			page = page[:0]
			return true, err
		})
		if err == nil {
			err = d.write(ctx, page)
		}
		if err != nil {
			return err
		}
		if after != end { // what comes after a gap would go by a wrong number
			return damaged(after+1, errors.New("the bucket that holds it lacks an entry"))
		}
	}
	return nil
}

// write writes entries with the events and access requests that they began.
func (d *dump) write(ctx context.Context, page []transfer.Entry) error {
	var keys []key
	for _, e := range page {
		if k, ok := begun(e.Log); ok {
			keys = append(keys, k)
		}
	}
	found, err := d.s.getAll(ctx, keys)
	if err != nil {
		return err
	}
	for _, e := range page {
		if k, ok := begun(e.Log); ok && found[k] != nil {
			if err := addRecord(&e, found[k]); err != nil {
				return err
			}
		}
		if err := d.out.Entry(e); err != nil {
			return err
		}
	}
	return nil
}

// begun is the item of the event or access request that an entry tells the
// beginning of.
func begun(l breakglass.LogEntry) (k key, ok bool) {
	switch l.Event {
	case breakglass.EntryInvoked:
		return eventKey(l.EventID), true
	case breakglass.EntryRequestCreated:
		return requestKey(l.Detail[breakglass.DetailAccessRequestID]), true
	}
	return k, false
}

func addRecord(e *transfer.Entry, it item) error {
	if e.Log.Event == breakglass.EntryInvoked {
		ev, err := decodeEvent(it)
		e.Event = &ev
		return err
	}
	r, err := decodeRequest(it)
	e.Request = &r
	return err
}
