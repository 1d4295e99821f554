package dynamodb

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A server whose calls take longer than those of others would never be first at
// the head of the trail: by the time it has seen the head, that has moved. After
// a few losses it therefore puts its name on the head, with a write that
// depends on nothing. From then on no transaction of another server takes
// effect until this one has, or until the others have waited for long enough,
// each by its own clock: a server that dies over its turn holds up nobody for
// longer than that. A transaction removes the name by replacing the head.

const (
	// attrTurn is whose turn it is at the head.
	attrTurn = "turn"
	// asksAfter is how often a group loses before it asks for a turn.
	asksAfter = 3
	// yieldsFor is how long others wait for somebody's turn: several times as
	// long as it needs.
	yieldsFor = 400 * time.Millisecond
)

// turns is what a server knows of turns at the head. Only the committer uses it.
type turns struct {
	mine  string // what this server has asked for
	other string // the turn that it waits for
	since time.Time
}

// over reports whether there is no need to wait for that turn, any more.
func (t *turns) over(turn string) bool {
	if turn == "" || turn == t.mine {
		return true
	}
	if turn != t.other {
		t.other, t.since = turn, time.Now()
	}
	return time.Since(t.since) > yieldsFor
}

// whoseTurn is the condition under which the head may be replaced by somebody
// who has seen that turn on it.
func whoseTurn(turn string, values item) (string, item) {
	if turn == "" {
		return condRev + " AND attribute_not_exists(" + attrTurn + ")", values
	}
	return condRev + " AND (attribute_not_exists(" + attrTurn + ") OR " + attrTurn + " = :turn)", merge(values, item{":turn": text(turn)})
}

// yield waits while it is another server's turn. fits is as with reseal.
func (v *view) yield(ctx context.Context) (fits bool, err error) {
	pause := backoff{most: maxPause}
	for !v.s.turns.over(v.head.turn) {
		if !pause.sleep(ctx) {
			return false, nil
		}
		if fits, err := v.reseal(ctx, nil); err != nil || !fits {
			return fits, err
		}
	}
	return true, nil
}

// ask puts this server's name on the head, unless another one's is there. What
// it sees of the head meanwhile, the next attempt goes by. fits is as with
// reseal.
func (v *view) ask(ctx context.Context) (fits bool, err error) {
	turn := newToken()
	v.s.turns.mine = turn // before the call: its answer may be lost
	out, err := call(ctx, v.s, func(ctx context.Context) (*ddb.UpdateItemOutput, error) {
		return v.s.client.UpdateItem(ctx, &ddb.UpdateItemInput{TableName: &v.s.opts.Table, Key: keyHead.item(),
			UpdateExpression:                    aws.String("SET " + attrTurn + " = :turn"),
			ConditionExpression:                 aws.String("attribute_exists(" + attrRev + ") AND attribute_not_exists(" + attrTurn + ")"),
			ExpressionAttributeValues:           item{":turn": text(turn)},
			ReturnValues:                        types.ReturnValueAllNew,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld})
	})
	var taken *types.ConditionalCheckFailedException
	var conflict *types.TransactionConflictException
	switch {
	case err == nil:
		return v.reseal(ctx, out.Attributes)
	case errors.As(err, &taken):
		return v.reseal(ctx, taken.Item)
	case errors.As(err, &conflict): // a transaction is under way at the head: the next attempt sees
		return true, nil
	}
	return false, err
}
