package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// conflict says that somebody else changed what a group had read.
type conflict struct {
	// existing are events that were taken for new and are there.
	existing []string
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
				out = append(out, v.s.putAction(merge(pageKey(h.key, p.number).item(), encodePage(p))))
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

// guardAction writes a guard that changes, or checks one that a decision rests on.
func (s *Store) guardAction(g guarded) (types.TransactWriteItem, bool) {
	self := g.self()
	condition, values := aws.String(condAbsent), map[string]types.AttributeValue(nil)
	if self.rev > 0 {
		condition, values = aws.String(condRev), item{":rev": number(self.rev)}
	}
	switch {
	case self.dirty:
		it := merge(self.key.item(), g.encode())
		it[attrRev] = number(self.rev + 1)
		return types.TransactWriteItem{Put: &types.Put{TableName: &s.opts.Table, Item: it,
			ConditionExpression: condition, ExpressionAttributeValues: values}}, true
	case self.used:
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{TableName: &s.opts.Table, Key: self.key.item(),
			ConditionExpression: condition, ExpressionAttributeValues: values}}, true
	}
	return types.TransactWriteItem{}, false
}

// commit writes the view in one transaction. A lost answer is asked for again
// under the same token until it is known or ctx ends.
func (v *view) commit(ctx context.Context) error {
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
		_, err := call(ctx, v.s, func(ctx context.Context) (*ddb.TransactWriteItemsOutput, error) {
			return v.s.client.TransactWriteItems(ctx, in, once)
		})
		if err == nil {
			return nil
		}
		lost := v.conflict(err, actions)
		switch {
		case lost != nil && !uncertain:
			return lost
		case lost != nil || final(err):
			// An attempt whose answer was lost may have been the one that made
			// the conditions fail: the trail knows.
			return v.resolve(ctx, uncertain, lost, err)
		}
		uncertain = uncertain || ambiguous(err)
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

// conflict reads the reasons of a cancelled transaction; nil when err is
// something else.
func (v *view) conflict(err error, actions []types.TransactWriteItem) *conflict {
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) {
		return nil
	}
	c := &conflict{}
	for i, r := range cancelled.CancellationReasons {
		switch aws.ToString(r.Code) {
		case "ConditionalCheckFailed":
			if put := actions[i].Put; put != nil && aws.ToString(put.ConditionExpression) == condAbsent {
				if id := str(put.Item["event_id"]); id != "" && keyOf(put.Item) == eventKey(id) {
					c.existing = append(c.existing, id)
				}
			}
		case "None", "TransactionConflict":
		case "ThrottlingError", "ProvisionedThroughputExceeded":
		default: // ValidationError, ItemCollectionSizeLimitExceeded: no repetition helps
			return nil
		}
	}
	return c
}

// once leaves repetitions to us: whether an answer was lost must not be hidden.
func once(o *ddb.Options) { o.Retryer = aws.NopRetryer{} }

func newToken() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:])
}

// call makes one call under the time limit of a single call.
func call[T any](ctx context.Context, s *Store, f func(ctx context.Context) (T, error)) (out T, err error) {
	select {
	case <-s.done: // what was accepted before Close still needs its calls
		return out, ErrClosed
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	return f(ctx)
}

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = 250 * time.Millisecond
)
