package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// TestAServerFarAwayGetsItsTurn: a server whose calls take several times as
// long as those of others, which keep the head of the trail moving, gets its
// transactions through, and within a time that callers wait.
func TestAServerFarAwayGetsItsTurn(t *testing.T) {
	o := newTable(t)
	o.PollEvery, o.CallTimeout, o.Patience = time.Hour, 2*time.Second, 8*time.Second
	near, far := testenv.Proxy(t, o.Endpoint), testenv.Proxy(t, o.Endpoint)
	near.Latency(2 * time.Millisecond)
	far.Latency(25 * time.Millisecond)
	at := func(p *testenv.FaultProxy) *Store {
		own := o
		own.Endpoint = p.URL()
		return openTest(t, own)
	}
	slow := at(far)
	ctx, stop := context.WithCancel(t.Context())
	var done, failed atomic.Int64
	var busy sync.WaitGroup
	t.Cleanup(busy.Wait)
	defer stop()
	for range 2 {
		s := at(near)
		for range 4 {
			busy.Go(func() {
				for ctx.Err() == nil {
					if err := appendOnly(ctx, s, "near"); err == nil {
						done.Add(1)
					} else if ctx.Err() == nil {
						failed.Add(1)
					}
				}
			})
		}
	}
	require.Eventually(t, func() bool { return done.Load() > 20 }, 10*time.Second, time.Millisecond)
	begun, before := time.Now(), done.Load()
	var worst time.Duration
	const transactions = 20
	for range transactions {
		one := time.Now()
		require.NoError(t, appendOnly(t.Context(), slow, "far"), "after %v", time.Since(one))
		worst = max(worst, time.Since(one))
	}
	took := time.Since(begun)
	t.Logf("far: mean %v, worst %v; near: %.0f/s, %d failed", took/transactions, worst, float64(done.Load()-before)/took.Seconds(), failed.Load())
	require.Greater(t, done.Load()-before, int64(transactions), "the others were busy all the while")
	require.Zero(t, failed.Load())
}

// A group whose trail has grown meanwhile is sealed again behind the new head,
// without another look at what it rests on; whether that still holds is for the
// conditions to say.
func TestOnlyTheHeadIsReadAgainWhenOnlyTheTrailHasGrown(t *testing.T) {
	for name, withItem := range map[string]bool{"DynamoDB shows the head": true, "it has to be read": false} {
		t.Run(name, func(t *testing.T) {
			o := newTable(t)
			other := openTest(t, o)
			var reads, writes, heads atomic.Int64
			s := openTest(t, newHook(t, o, func(w http.ResponseWriter, op, body string) bool {
				switch op {
				case "BatchGetItem":
					reads.Add(1)
				case "GetItem":
					heads.Add(1)
				case "TransactWriteItems":
					if writes.Add(1) > 2 {
						return false
					}
					require.NoError(t, appendOnly(context.Background(), other, "somebody"))
					if !withItem {
						w.Header().Set("Content-Type", "application/x-amz-json-1.0")
						w.WriteHeader(http.StatusBadRequest)
						_, _ = fmt.Fprint(w, headFailed(strings.Count(body, `"TableName"`), headAt(body)))
						return true
					}
				}
				return false
			}))
			heads.Store(0)
			e := sampleEvent("alice", "prod", noon)
			require.NoError(t, invoke(t, s, e))
			require.EqualValues(t, 1, reads.Load(), "the guards were read once")
			require.EqualValues(t, 3, writes.Load())
			if withItem {
				require.Zero(t, heads.Load())
			} else {
				require.EqualValues(t, 2, heads.Load())
			}
			entries, _, err := s.Entries(t.Context(), breakglass.EntryQuery{Limit: 10})
			require.NoError(t, err)
			require.Len(t, entries, 3)
			previous := audit.GenesisHash
			for i, e := range entries {
				require.EqualValues(t, i+1, e.Seq)
				require.Equal(t, previous, e.PrevHash)
				require.Equal(t, audit.Hash(e), e.Hash)
				previous = e.Hash
			}
			due, _, err := s.DueDeliveries(t.Context(), "siem", noon, 10)
			require.NoError(t, err)
			require.Len(t, due, 1, "one for the place where the entry was put")
			require.EqualValues(t, 3, due[0].Entry.Seq)
		})
	}
}

// headAt is the place of the head among the actions of a transaction.
func headAt(body string) int {
	before, _, _ := strings.Cut(body, `"S":"journal"`)
	return strings.Count(before, `"TableName"`)
}

// headFailed is DynamoDB's answer when the condition of one action of many
// fails, without its item.
func headFailed(actions, at int) string {
	reasons := make([]string, actions)
	for i := range reasons {
		if reasons[i] = `{"Code":"None"}`; i == at {
			reasons[i] = `{"Code":"ConditionalCheckFailed","Message":"The conditional request failed"}`
		}
	}
	return `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"Transaction cancelled",` +
		`"CancellationReasons":[` + strings.Join(reasons, ",") + `]}`
}

// A group that lies behind the trail by more than the tolerance of the clock is
// decided again over the new head.
func TestADecisionFarBehindTheTrailIsMadeAgain(t *testing.T) {
	o := newTable(t)
	other := openTest(t, o)
	var once sync.Once
	s := openTest(t, newHook(t, o, func(_ http.ResponseWriter, op, _ string) bool {
		if op == "TransactWriteItems" {
			once.Do(func() {
				require.NoError(t, other.Update(context.Background(), breakglass.Keys{}, func(tx breakglass.Tx) error {
					return tx.Append(breakglass.LogEntry{Timestamp: noon.Add(10 * time.Second), Event: breakglass.EntryDenied}, nil, nil)
				}))
			})
		}
		return false
	}))
	var seen []time.Time
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
		latest, err := tx.LatestEntryTime()
		seen = append(seen, latest)
		return errors.Join(err, tx.Append(breakglass.LogEntry{Timestamp: noon, Event: breakglass.EntryDenied}, nil, nil))
	}))
	require.Equal(t, []time.Time{{}, noon.Add(10 * time.Second)}, seen)
}

// A server that died over its turn at the head holds up others for a moment.
func TestATurnThatNobodyTakesIsWaitedOut(t *testing.T) {
	s := openTest(t, newTable(t))
	require.NoError(t, appendOnly(t.Context(), s, "first"))
	it := stored(t, s, keyHead)
	it[attrTurn] = text("of a server that is gone")
	plant(t, s, it)
	begun := time.Now()
	require.NoError(t, appendOnly(t.Context(), s, "second"))
	require.GreaterOrEqual(t, time.Since(begun), yieldsFor, "it might have come")
	require.Less(t, time.Since(begun), 3*time.Second)
	require.NotContains(t, stored(t, s, keyHead), attrTurn)
}
