package dynamodb

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"
)

// TestTheEmulatorKeepsThePromisesThatTheTestsRestOn: what is shown on an
// emulator holds for DynamoDB as far as the emulator behaves like it.
func TestTheEmulatorKeepsThePromisesThatTheTestsRestOn(t *testing.T) {
	o := newTable(t)
	s := openTest(t, o)
	put := func(sk, value string) types.TransactWriteItem {
		return s.putAction(merge(key{"test", sk}.item(), item{"value": text(value)}))
	}
	write := func(token string, items ...types.TransactWriteItem) error {
		_, err := s.client.TransactWriteItems(t.Context(), &ddb.TransactWriteItemsInput{TransactItems: items, ClientRequestToken: &token}, once)
		return err
	}
	value := func(sk string) string {
		it, err := s.get(t.Context(), key{"test", sk})
		require.NoError(t, err)
		return str(it["value"])
	}

	t.Run("a repeated token is recognised", func(t *testing.T) {
		token := newToken()
		create := put("once", "first")
		create.Put.ConditionExpression = aws.String(condAbsent)
		require.NoError(t, write(token, create))
		require.NoError(t, write(token, create), "its own success, not a failed condition")
		require.NoError(t, write(newToken(), put("once", "second")))
		require.NoError(t, write(token, create))
		require.Equal(t, "second", value("once"), "and not carried out again")
		var mismatch *types.IdempotentParameterMismatchException
		require.ErrorAs(t, write(token, put("once", "third")), &mismatch)
	})
	t.Run("a failed condition leaves nothing and is named", func(t *testing.T) {
		require.NoError(t, write(newToken(), put("there", "old")))
		create := put("there", "new")
		create.Put.ConditionExpression = aws.String(condAbsent)
		var cancelled *types.TransactionCanceledException
		require.ErrorAs(t, write(newToken(), put("other", "new"), create), &cancelled)
		require.Equal(t, "None", aws.ToString(cancelled.CancellationReasons[0].Code))
		require.Equal(t, "ConditionalCheckFailed", aws.ToString(cancelled.CancellationReasons[1].Code))
		require.Equal(t, "old", value("there"))
		require.Empty(t, value("other"))
	})
	t.Run("limits are enforced", func(t *testing.T) {
		var many []types.TransactWriteItem
		for i := range maxActions + 1 {
			many = append(many, put(stamp(fromMicros(int64(i))), "x"))
		}
		require.Error(t, write(newToken(), many...))
		require.NoError(t, write(newToken(), many[:maxActions]...))
		require.Error(t, write(newToken(), put("twice", "a"), put("twice", "b")), "one action an item")
		_, err := s.client.Query(t.Context(), &ddb.QueryInput{TableName: &o.Table, IndexName: aws.String("gsi-invoker"), ConsistentRead: aws.Bool(true),
			KeyConditionExpression: aws.String("invoker = :i"), ExpressionAttributeValues: item{":i": text("alice")}})
		require.Error(t, err, "an index can't be read consistently")
		_, err = s.client.Query(t.Context(), &ddb.QueryInput{TableName: &o.Table, IndexName: aws.String("gsi-invoker"),
			KeyConditionExpression: aws.String("invoker = :i"), FilterExpression: aws.String("created_at > :t"),
			ExpressionAttributeValues: item{":i": text("alice"), ":t": text("2026")}})
		require.Error(t, err, "a filter can't name a key of the index")
	})
}
