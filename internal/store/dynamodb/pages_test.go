package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// longHistory lays n instants into the history of the profile "prod".
func longHistory(t *testing.T, s *Store, n int64) {
	t.Helper()
	h := &history{}
	for i := range n {
		h.add(micros(noon.Add(-20*time.Hour)) + i)
	}
	b := newBatcher(s)
	for _, p := range h.fresh {
		require.NoError(t, b.put(t.Context(), merge(pageKey(profileKey("prod"), p.number).item(), encodePage(p))))
	}
	require.NoError(t, b.put(t.Context(), merge(profileKey("prod").item(), merge(h.encode(), item{attrRev: number(1)}))))
	require.NoError(t, b.flush(t.Context()))
}

// TestALargeQuotaDelaysNobody: a quota of 10,000 with 5,000 events in its window
// is legal. Whoever it counts for, and everybody in the same group, is served
// in time.
func TestALargeQuotaDelaysNobody(t *testing.T) {
	o := newTable(t)
	o.PollEvery, o.CallTimeout, o.Patience = time.Hour, 2*time.Second, 8*time.Second
	far := testenv.Proxy(t, o.Endpoint)
	far.Latency(4 * time.Millisecond)
	longHistory(t, openTest(t, o), 5000)
	c := newCounter(t, far.URL())
	o.Endpoint = c.URL
	s := openTest(t, o)
	const callers = 48
	errs := make([]error, callers+1)
	begun := time.Now()
	calls := c.of(t, func() error {
		var wg sync.WaitGroup
		for i := range callers {
			who := fmt.Sprint("user-", i)
			wg.Go(func() {
				errs[i] = s.Update(t.Context(), breakglass.Keys{Invoker: who, Profile: "prod"}, func(tx breakglass.Tx) error {
					tally, err := tx.CountByProfileSince("prod", noon.Add(-24*time.Hour), 10_000)
					if err != nil || tally.Count < 5000 {
						return errors.Join(err, fmt.Errorf("counted %d", tally.Count))
					}
					return tx.PutEvent(sampleEvent(who, "prod", noon))
				})
			})
		}
		wg.Go(func() { errs[callers] = appendOnly(t.Context(), s, "innocent") })
		wg.Wait()
		return nil
	})
	require.NoError(t, errors.Join(errs...))
	t.Logf("%v, %v", time.Since(begun), calls)
	require.Less(t, time.Since(begun), 8*time.Second)
	require.LessOrEqual(t, calls["BatchGetItem"], 2*calls["TransactWriteItems"]+1, "the pages were read once: %v", calls)
	require.Zero(t, calls["GetItem"])
	h := &history{}
	require.NoError(t, h.decode(stored(t, s, profileKey("prod"))))
	tally, err := h.count(t.Context(), 0, 10_000, func(ctx context.Context, n int64) (page, error) { return s.page(ctx, profileKey("prod"), n, 1000) })
	require.NoError(t, err)
	require.Equal(t, 5000+callers, tally.Count)
}

func TestThePagesInMemoryAreBounded(t *testing.T) {
	var c pages
	at := func(n int64) key { return pageKey(userKey("alice"), n) }
	for n := range int64(pagesKept) {
		c.put(at(n), page{number: n})
	}
	_, ok := c.get(at(0)) // used: the next oldest goes
	require.True(t, ok)
	c.put(at(pagesKept), page{})
	require.Len(t, c.byKey, pagesKept)
	require.Equal(t, pagesKept, c.order.Len())
	_, ok = c.get(at(1))
	require.False(t, ok)
	p, ok := c.get(at(0))
	require.True(t, ok)
	require.Zero(t, p.number)
}
