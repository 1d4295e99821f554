package dynamodb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAHistoryCountsAsIfItKeptEverything compares a history that moves instants
// out to pages with a plain list, also for events that arrive late.
func TestAHistoryCountsAsIfItKeptEverything(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7)) // which instants come is no secret
			h, pages, all := &history{}, map[int64]page{}, []int64{}
			for i := range int64(700) {
				at := i*1000 - rnd.Int64N(1+int64(seed)*2000) // out of order, by more and more
				h.add(at)
				all = append(all, at)
				for _, p := range h.fresh {
					it, err := decodePage(p.number, encodePage(p))
					require.NoError(t, err)
					pages[p.number] = it
				}
				h.fresh = nil
				stored := &history{}
				require.NoError(t, stored.decode(h.encode()))
				require.Less(t, len(stored.stamps), historyKept, "what each invocation writes stays small")
				if i%50 > 0 {
					continue
				}
				slices.Sort(all)
				since, atMost := at-rnd.Int64N(800_000), 1+rnd.IntN(400)
				after, _ := slices.BinarySearch(all, since+1)
				want := all[max(after, len(all)-atMost):]
				got, err := stored.count(t.Context(), since, atMost, func(_ context.Context, n int64) (page, error) { return pages[n], nil })
				require.NoError(t, err)
				require.Equal(t, len(want), got.Count)
				if len(want) > 0 {
					require.Equal(t, fromMicros(want[0]), got.Oldest)
				}
			}
		})
	}
}

func TestACountReadsNoMorePagesThanItNeeds(t *testing.T) {
	h, pages := &history{}, map[int64]page{}
	for i := range int64(1000) {
		h.add(i + 1)
	}
	for _, p := range h.fresh {
		pages[p.number] = p
	}
	reads := 0
	get := func(_ context.Context, n int64) (page, error) { reads++; return pages[n], nil }
	tally, err := h.count(t.Context(), 0, pageSize, get)
	require.NoError(t, err)
	require.Equal(t, pageSize, tally.Count)
	require.Zero(t, reads, "the guard alone answers for quotas up to the size of a page")
	tally, err = h.count(t.Context(), 0, 1000, get)
	require.NoError(t, err)
	require.Equal(t, 1000, tally.Count)
	require.Equal(t, fromMicros(1), tally.Oldest)
	require.EqualValues(t, h.pages, reads)
}
