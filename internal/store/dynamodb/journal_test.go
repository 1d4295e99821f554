package dynamodb

import (
	"strconv"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// An entry that somebody has removed shows as a gap in the trail, at once and
// to every reader; the others can still be read.
func TestARemovedEntryIsAGapThatEveryReaderSees(t *testing.T) {
	o := newTable(t)
	s := openTest(t, o)
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	for i := range 7 {
		e := breakglass.LogEntry{Timestamp: at.Add(time.Duration(i) * time.Minute), Event: breakglass.EntryDenied, Actor: "alice", Reason: strconv.Itoa(i)}
		require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { return tx.Append(e, nil, nil) }))
	}
	for _, seq := range []int64{4, 7} { // the middle one, at which a search by time looks first, and the newest
		_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &o.Table, Key: entryKey(seq).item()})
		require.NoError(t, err)
	}
	for _, q := range []breakglass.EntryQuery{{Limit: 100}, {Limit: 100, Since: at}} {
		begun := time.Now()
		entries, through, err := s.Entries(t.Context(), q)
		require.NoError(t, err)
		var seqs []int64
		for _, e := range entries {
			seqs = append(seqs, e.Seq)
		}
		require.Equal(t, []int64{1, 2, 3, 5, 6}, seqs)
		require.EqualValues(t, 7, through)
		require.Less(t, time.Since(begun), 10*time.Second)
	}
}
