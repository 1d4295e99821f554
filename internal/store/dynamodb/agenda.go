package dynamodb

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/breakglass"
)

// Agenda implements breakglass.Store. It reads consistently: what was invoked a
// moment ago is in it. An item of the agenda that doesn't lead to something open
// delays nobody: the look goes on behind it.
func (s *Store) Agenda(ctx context.Context, limit int) ([]breakglass.Task, error) {
	if limit < 1 {
		return nil, errLimit
	}
	var tasks []breakglass.Task
	var waiting []key
	size := min(limit, maxKeys)
	look := func() error {
		found, err := s.kept(ctx, waiting)
		if len(found) < len(waiting) { // the front is strewn: bigger steps
			size = min(2*size, maxKeys)
		}
		tasks, waiting = append(tasks, found...), nil
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
		return len(tasks) < limit, err
	})
	if err == nil && len(waiting) > 0 {
		err = look()
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return tasks[:min(len(tasks), limit)], nil
}

// Claim implements breakglass.Store.
func (s *Store) Claim(ctx context.Context, t breakglass.Task, now, until time.Time) error {
	return s.claim(ctx, agendaKey(t), now, until)
}

var (
	// errEnded and errElsewhere are what an item of the agenda can say wrongly.
	errEnded     = errors.New("it has ended or isn't there")
	errElsewhere = errors.New("it is due at another time")
)

// kept returns the tasks of these items of the agenda. What leads nowhere is
// left out, and removed when it is met again: the first time the event or
// request may just have ended between two reads.
func (s *Store) kept(ctx context.Context, agenda []key) ([]breakglass.Task, error) {
	var keys []key
	asked := map[key]bool{} // two items may lead to the same; a batch may not ask twice
	for _, k := range agenda {
		if e := promiser(k); !asked[e] {
			asked[e] = true
			keys = append(keys, e)
		}
	}
	found, err := s.getAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	var tasks []breakglass.Task
	tidying := true
	for _, k := range agenda {
		it := found[promiser(k)]
		t, err := promised(k, it)
		if err == nil {
			tasks = append(tasks, t)
			continue
		}
		again := s.doubts.met(k)
		switch wrong := errors.Is(err, errEnded) || errors.Is(err, errElsewhere); {
		case !wrong && !again:
			s.opts.Log.Error("an active event or open request can't be read, so its end isn't recorded: its item was changed in the table behind the server's back",
				"item", promiser(k).pk, "error", err)
		case wrong && again && tidying:
			// It doesn't matter now whether that works; the next look tries again.
			tidying = s.tidy(ctx, k, it, t, err) == nil
		}
	}
	return tasks, nil
}

// promised is the task that an item of the agenda stands for, if the event or
// request is open; the error says if it isn't, or is due at another time.
func promised(agenda key, it item) (breakglass.Task, error) {
	if it == nil {
		return breakglass.Task{}, errEnded
	}
	var t breakglass.Task
	var open bool
	if strings.HasPrefix(promiser(agenda).pk, requestPrefix) {
		r, err := decodeRequest(it)
		if err != nil {
			return t, err
		}
		t, open = breakglass.Task{At: r.ExpiresAt, RequestID: r.ID}, r.Status.Open()
	} else {
		e, err := decodeEvent(it)
		if err != nil {
			return t, err
		}
		t, open = breakglass.Task{At: e.DueAt(), EventID: e.ID}, e.Status == breakglass.StatusActive
	}
	switch {
	case !open:
		return t, errEnded
	case agendaKey(t) != agenda:
		return t, errElsewhere
	}
	return t, nil
}

// tidy removes an item of the agenda that leads nowhere, or puts it in its
// place, provided that what it leads to still is as it was read.
func (s *Store) tidy(ctx context.Context, agenda key, it item, t breakglass.Task, why error) error {
	check := &types.ConditionCheck{TableName: &s.opts.Table, Key: promiser(agenda).item(), ConditionExpression: aws.String(condAbsent)}
	if it != nil {
		check.ConditionExpression, check.ExpressionAttributeValues = aws.String(condRev), item{":rev": number(num(it[attrRev]))}
	}
	items := []types.TransactWriteItem{{ConditionCheck: check},
		{Delete: &types.Delete{TableName: &s.opts.Table, Key: agenda.item()}}}
	if errors.Is(why, errElsewhere) {
		items = append(items, s.putAction(agendaKey(t).item()))
	}
	_, err := call(ctx, s, func(ctx context.Context) (*ddb.TransactWriteItemsOutput, error) {
		return s.client.TransactWriteItems(ctx, &ddb.TransactWriteItemsInput{TransactItems: items, ClientRequestToken: aws.String(newToken())})
	})
	if err == nil {
		s.opts.Log.Warn("tidied an item of the agenda that led to nothing open", "item", agenda.sk, "cause", why)
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
