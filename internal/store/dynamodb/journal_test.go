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

// A search by time goes on beside an entry that isn't there, and begins close to
// what it looks for; what an entry itself says about its time counts.
func TestASearchByTimeCopesWithWhatWasTamperedWith(t *testing.T) {
	o := newTable(t)
	s := openTest(t, o)
	const n = 64
	for i := range n {
		e := breakglass.LogEntry{Timestamp: noon.Add(time.Duration(i) * time.Minute), Event: breakglass.EntryDenied}
		require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { return tx.Append(e, nil, nil) }))
	}
	for name, c := range map[string]struct {
		tamper func(seq int64)
		seqs   []int64
	}{
		"an entry is gone": {func(seq int64) {
			_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &o.Table, Key: entryKey(seq).item()})
			require.NoError(t, err)
		}, []int64{32, 33, 48}},
		"its time is lowered": {func(seq int64) { plant(t, s, merge(stored(t, s, entryKey(seq)), item{"high": number(0)})) }, []int64{60, 61, 62}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, seq := range c.seqs {
				c.tamper(seq)
			}
			for want := int64(1); want <= n; want++ {
				from, end, err := s.bisect(t.Context(), 0, n, micros(noon.Add(time.Duration(want-1)*time.Minute)))
				require.NoError(t, err)
				require.LessOrEqual(t, from, want-1, "nothing is missed")
				require.GreaterOrEqual(t, end, want, "nor at the end of a search")
				require.GreaterOrEqual(t, from, want-1-4, "the search begins near %d", want)
			}
		})
	}
}
