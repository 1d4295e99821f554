package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// conflict says that somebody else changed what a group had read.
type conflict struct {
	// existing are events and access requests that were taken for new and are
	// there, or that their pair knows in another revision than they have.
	existing []key
	// atHead says that the trail has grown and nothing else was seen to have
	// changed; head is its head, as far as DynamoDB has told it.
	atHead bool
	head   item
	// damaged are guards that contradict what is stored.
	damaged []key
	// behind says that an entry is stored where the head says that the trail ends.
	behind bool
	// busy says that another transaction was under way on the same items, and
	// that no condition has failed yet.
	busy bool
}

func (*conflict) Error() string { return "another transaction was faster" }

// errTooMany says that a group needs more actions than a transaction can have.
var errTooMany = errors.New("more than 100 actions in one transaction")

// maxActions is DynamoDB's limit for one TransactWriteItems.
const maxActions = 100

const (
	condAbsent = "attribute_not_exists(" + attrPK + ")"
	condRev    = attrRev + " = :rev"
)

// actions is the whole transaction: guards under their conditions, then what
// nothing guards.
func (v *view) actions() []types.TransactWriteItem {
	var out []types.TransactWriteItem
	for _, k := range slices.SortedFunc(maps.Keys(v.guards), compareKeys) {
		g := v.guards[k]
		if a, ok := v.s.guardAction(g); ok {
			out = append(out, a)
		}
		if h, ok := g.(*history); ok {
			for _, p := range h.fresh {
				out = append(out, v.s.createAction(merge(pageKey(h.key, p.number).item(), encodePage(p))))
			}
		}
	}
	for k, there := range v.agenda {
		if there {
			out = append(out, v.s.putAction(k.item()))
			continue
		}
		out = append(out, types.TransactWriteItem{Delete: &types.Delete{TableName: &v.s.opts.Table, Key: k.item()}})
	}
	for _, it := range v.created {
		out = append(out, v.s.createAction(it))
	}
	for _, it := range v.extra {
		out = append(out, v.s.putAction(it))
	}
	return out
}

func compareKeys(a, b key) int {
	if c := strings.Compare(a.pk, b.pk); c != 0 {
		return c
	}
	return strings.Compare(a.sk, b.sk)
}

func merge(dst, src item) item {
	maps.Copy(dst, src)
	return dst
}

func (s *Store) putAction(it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &s.opts.Table, Item: it}}
}

// createAction puts what must not be there yet: entries and pages never change.
func (s *Store) createAction(it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{TableName: &s.opts.Table, Item: it, ConditionExpression: aws.String(condAbsent)}}
}

// guardAction writes a guard that changes, or checks one that a decision rests on.
func (s *Store) guardAction(g guarded) (types.TransactWriteItem, bool) {
	self := g.self()
	condition, values := aws.String(condAbsent), map[string]types.AttributeValue(nil)
	if self.rev > 0 {
		condition, values = aws.String(condRev), item{":rev": number(self.rev)}
	}
	if h, ok := g.(*head); ok && self.rev > 0 {
		*condition, values = whoseTurn(h.turn, values)
	}
	switch {
	case self.dirty:
		it := merge(self.key.item(), g.encode())
		it[attrRev] = number(self.rev + 1)
		put := &types.Put{TableName: &s.opts.Table, Item: it, ConditionExpression: condition, ExpressionAttributeValues: values}
		if self.key == keyHead {
			put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld // for reseal
		}
		return types.TransactWriteItem{Put: put}, true
	case self.used:
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &s.opts.Table, Key: self.key.item(),
			ConditionExpression: condition, ExpressionAttributeValues: values}}, true
	}
	return types.TransactWriteItem{}, false
}

// commit writes the view in one transaction. While nobody has changed what it
// rests on, and only the trail has grown, it is tried again at once: a server
// that is farther away than others would hardly ever be the first one after a
// look at everything.
func (v *view) commit(ctx context.Context) error {
	pause := backoff{most: maxPause}
	for try := 1; ; try++ {
		if v.head.dirty {
			if fits, err := v.yield(ctx); err != nil || !fits {
				return either(err, &conflict{})
			}
		}
		err := v.send(ctx)
		var lost *conflict
		if !errors.As(err, &lost) || !lost.atHead && !lost.busy || try == maxTries || ctx.Err() != nil {
			return err
		}
		fits := true
		switch {
		case v.head.dirty && try >= asksAfter && v.head.turn == "":
			fits, err = v.ask(ctx)
		case lost.atHead:
			fits, err = v.reseal(ctx, lost.head)
		default:
			fits, err = pause.sleep(ctx), nil
		}
		if err != nil || !fits {
			return either(err, lost)
		}
	}
}

// either is err if there is one.
func either(err error, other error) error {
	if err != nil {
		return err
	}
	return other
}

const (
	// maxTries bounds how often one decision is tried.
	maxTries = 32
	// trailAhead is how far the trail may have got ahead of a group that is
	// sealed again. The functions have compared their clock with the head that
	// was read, with a tolerance of 5 seconds: up to here the new head would
	// have given the same answer.
	trailAhead = 4 * time.Second
)

// reseal puts the entries of the view behind another head. Everything else
// stays conditional on what was read. fits is false when the functions must
// look at the new head themselves.
func (v *view) reseal(ctx context.Context, it item) (fits bool, err error) {
	if it == nil {
		if it, err = v.s.get(ctx, keyHead); err != nil {
			return false, err
		}
	}
	h := head{guard: guard{key: keyHead, rev: num(it[attrRev])}}
	if err := h.decode(it); err != nil {
		return false, err
	}
	for _, w := range v.entries {
		if micros(w.entry.Timestamp) < h.high-trailAhead.Microseconds() {
			return false, nil
		}
	}
	*v.head, v.created, v.extra = h, nil, nil
	for _, w := range v.entries {
		v.seal(w)
	}
	v.s.publish(num(it["seq"]))
	return true, nil
}

// send makes one transaction of the view. A lost answer is asked for again
// under the same token until it is known or ctx ends.
func (v *view) send(ctx context.Context) error {
	actions := v.actions()
	if len(actions) > maxActions {
		return errTooMany
	}
	if err := v.s.register(ctx, v.extra); err != nil {
		return err
	}
	in := &ddb.TransactWriteItemsInput{TransactItems: actions, ClientRequestToken: aws.String(newToken())}
	uncertain := false
	wait := backoff{}
	for {
		var sent atomic.Bool
		_, err := call(ctx, v.s, func(ctx context.Context) (*ddb.TransactWriteItemsOutput, error) {
			return v.s.client.TransactWriteItems(watched(ctx, &sent), in, once)
		})
		if err == nil {
			return nil
		}
		lost, refusal := v.conflict(err, actions)
		if refusal != nil {
			err = refusal
		}
		if lost != nil && lost.behind && !uncertain {
			if behind, err := v.s.behind(ctx); err != nil || behind {
				return either(err, ErrBehind)
			}
		}
		switch {
		case lost != nil && !uncertain:
			return lost
		case refusal != nil && !uncertain:
			return refusal
		case lost != nil || final(err):
			// An attempt whose answer was lost may have been the one that made
			// the conditions fail: the trail knows.
			return v.resolve(ctx, uncertain, lost, err)
		}
		uncertain = uncertain || sent.Load() && ambiguous(err)
		if isThrottled(err) && !uncertain {
			return err
		}
		if !wait.sleep(ctx) {
			return &unresolved{cause: err, uncertain: uncertain}
		}
	}
}

// resolve tells whether a transaction whose answer was lost took effect: its
// last audit entry is in the trail, or it isn't.
func (v *view) resolve(ctx context.Context, uncertain bool, lost *conflict, err error) error {
	if uncertain && v.head.dirty {
		it, readErr := v.s.get(ctx, entryKey(v.head.seq))
		if readErr != nil {
			return &unresolved{cause: errors.Join(err, readErr), uncertain: true}
		}
		if str(it["hash"]) == v.head.hash {
			return nil
		}
	}
	if lost != nil {
		return lost
	}
	return err
}

// unresolved is the failure of a transaction that DynamoDB gave no answer to.
type unresolved struct {
	cause     error
	uncertain bool // it may have taken effect
}

func (u *unresolved) Error() string { return u.cause.Error() }
func (u *unresolved) Unwrap() error { return u.cause }

// conflict reads the reasons of a cancelled transaction: somebody else was
// faster, or DynamoDB refuses it. Both are nil when err is something else.
func (v *view) conflict(err error, actions []types.TransactWriteItem) (c *conflict, refusal error) {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return nil, nil
	}
	c = &conflict{}
	failed, trailFailed, busy := 0, 0, false
	var overgrown []key // histories whose next page is there
	for i, r := range cancelled.CancellationReasons {
		switch aws.ToString(r.Code) {
		case "ConditionalCheckFailed":
			failed++
			if actions[i].Put != nil && strings.HasPrefix(keyOf(actions[i].Put.Item).pk, "journal") {
				trailFailed++
			}
			put := actions[i].Put
			if put == nil {
				break
			}
			switch k := keyOf(put.Item); {
			case k == keyHead:
				c.atHead, c.head = true, r.Item
			case k == eventKey(str(put.Item["event_id"])), k == requestKey(str(put.Item["access_request_id"])):
				c.existing = append(c.existing, k)
			case put.Item["body"] != nil:
				c.behind = true
			case put.Item["before"] != nil:
				overgrown = append(overgrown, key{keyOf(put.Item).pk, "history"})
			}
		case "TransactionConflict":
			busy = true
		case "None":
		case "ThrottlingError", "ProvisionedThroughputExceeded":
			refusal = &throttled{err}
		default: // ValidationError, ItemCollectionSizeLimitExceeded: no repetition helps
			return nil, &defect{err}
		}
	}
	if failed == 0 && refusal != nil {
		return nil, refusal
	}
	if failed == len(overgrown) { // else the histories have merely moved on
		c.damaged = overgrown
	}
	c.behind = c.behind && !c.atHead
	c.atHead = c.atHead && failed == trailFailed
	c.busy = busy && failed == 0
	return c, nil
}

// watched notes whether a connection was had for a call: without one nothing
// can have been sent, whatever the error is.
func watched(ctx context.Context, sent *atomic.Bool) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
}

// once leaves repetitions to us: whether an answer was lost must not be hidden.
func once(o *ddb.Options) { o.Retryer = aws.NopRetryer{} }

func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:])
}

// ended is ErrClosed after Close.
func (s *Store) ended() error {
	select {
	case <-s.done: // what was accepted before Close still needs its calls
		return ErrClosed
	default:
		return nil
	}
}

// call makes one call under the time limit of a single call.
func call[T any](ctx context.Context, s *Store, f func(ctx context.Context) (T, error)) (out T, err error) {
	if err := s.ended(); err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	out, err = f(ctx)
	return out, classified(err)
}

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = 250 * time.Millisecond
	// maxPause is the longest wait after another server was faster: it is done
	// by then, and waiting longer only leaves the turn to others.
	maxPause = 20 * time.Millisecond
)
