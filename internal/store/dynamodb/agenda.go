package dynamodb

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// ActiveByExpiry implements breakglass.Store. It reads consistently: what was
// invoked a moment ago is in it. An item of the agenda that doesn't lead to an
// active event delays nobody: the look goes on behind it.
func (s *Store) ActiveByExpiry(ctx context.Context, limit int) ([]breakglass.Event, error) {
	if limit < 1 {
		return nil, errLimit
	}
	var events []breakglass.Event
	var waiting []key
	size := min(limit, maxKeys)
	look := func() error {
		found, err := s.standing(ctx, waiting)
		if len(found) < len(waiting) { // the front is strewn: bigger steps
			size = min(2*size, maxKeys)
		}
		events, waiting = append(events, found...), nil
		return err
	}
	err := s.query(ctx, &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: item{":pk": text(pkActive)},
		Limit:                     aws.Int32(int32(min(limit+15, 1000))), // bounded
	}, func(it item) (bool, error) {
		if waiting = append(waiting, keyOf(it)); len(waiting) < size {
			return true, nil
		}
		err := look()
		return len(events) < limit, err
	})
	if err == nil && len(waiting) > 0 {
		err = look()
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return events[:min(len(events), limit)], nil
}

var (
	// errEnded and errElsewhere are what an item of the agenda can say wrongly.
	errEnded     = errors.New("the event has ended or isn't there")
	errElsewhere = errors.New("the event expires at another time")
)

// standing returns the events that these items of the agenda lead to. What
// leads nowhere is left out, and removed when it is met again: the first time
// the event may just have ended between two reads.
func (s *Store) standing(ctx context.Context, agenda []key) ([]breakglass.Event, error) {
	var keys []key
	asked := map[key]bool{} // two items may lead to one event; a batch may not ask twice
	for _, k := range agenda {
		if e := eventOf(k); !asked[e] {
			asked[e] = true
			keys = append(keys, e)
		}
	}
	found, err := s.getAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	var events []breakglass.Event
	tidying := true
	for _, k := range agenda {
		e, err := promised(k, found[eventOf(k)])
		if err == nil {
			events = append(events, e)
			continue
		}
		again := s.doubts.met(k)
		switch wrong := errors.Is(err, errEnded) || errors.Is(err, errElsewhere); {
		case !wrong && !again:
			s.opts.Log.Error("an active event can't be read, so its expiry isn't recorded: its item was changed in the table behind the server's back",
				"item", eventOf(k).pk, "error", err)
		case wrong && again && tidying:
			// It doesn't matter now whether that works; the next look tries again.
			tidying = s.tidy(ctx, k, e, err) == nil
		}
	}
	return events, nil
}

func eventOf(agenda key) key {
	_, id, _ := strings.Cut(agenda.sk, "#")
	return eventKey(id)
}

// promised is the event if it is active and expires when the agenda says.
func promised(agenda key, it item) (breakglass.Event, error) {
	if it == nil {
		return breakglass.Event{}, errEnded
	}
	e, err := decodeEvent(it)
	switch {
	case err != nil:
		return e, err
	case e.Status != breakglass.StatusActive:
		return e, errEnded
	case activeKey(e.ExpiresAt, e.ID) != agenda:
		return e, errElsewhere
	}
	return e, nil
}

// tidy removes an item of the agenda that leads nowhere, or puts it in its
// place, provided that the event still is as it was read.
func (s *Store) tidy(ctx context.Context, agenda key, e breakglass.Event, why error) error {
	check := &types.ConditionCheck{TableName: &s.opts.Table, Key: eventOf(agenda).item(),
		ConditionExpression:       aws.String("attribute_not_exists(pk) OR #status <> :active"),
		ExpressionAttributeNames:  map[string]string{"#status": attrStatus},
		ExpressionAttributeValues: item{":active": text(string(breakglass.StatusActive))}}
	items := []types.TransactWriteItem{{ConditionCheck: check},
		{Delete: &types.Delete{TableName: &s.opts.Table, Key: agenda.item()}}}
	if errors.Is(why, errElsewhere) {
		check.ConditionExpression = aws.String("#status = :active AND expires_at = :at")
		check.ExpressionAttributeValues[":at"] = text(stamp(e.ExpiresAt))
		items = append(items, s.putAction(activeKey(e.ExpiresAt, e.ID).item()))
	}
	_, err := call(ctx, s, func(ctx context.Context) (*ddb.TransactWriteItemsOutput, error) {
		return s.client.TransactWriteItems(ctx, &ddb.TransactWriteItemsInput{TransactItems: items, ClientRequestToken: aws.String(newToken())})
	})
	if err == nil {
		s.opts.Log.Warn("tidied an item of the agenda that led to no active event", "item", agenda.sk, "cause", why)
	}
	return err
}

// doubts remembers which items of the agenda were met that lead nowhere, so
// that each is logged once and removed only when it is met again.
type doubts struct {
	mu  sync.Mutex
	had map[key]bool
}

// maxDoubts bounds what is remembered; beyond it everything is forgotten.
const maxDoubts = 1000

func (d *doubts) met(k key) (again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.had == nil || len(d.had) >= maxDoubts && !d.had[k] {
		d.had = map[key]bool{}
	}
	again = d.had[k]
	d.had[k] = true
	return again
}
