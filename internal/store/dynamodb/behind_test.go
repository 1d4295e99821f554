package dynamodb

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// TestAHeadBehindItsEntriesStopsEverything: a restore or a replication of single
// items can bring an older head than the entries. No entry may then be
// overwritten, and readiness says what is wrong.
func TestAHeadBehindItsEntriesStopsEverything(t *testing.T) {
	for name, second := range map[string]bool{"as the server runs": false, "before it starts": true} {
		t.Run(name, func(t *testing.T) {
			clock := noon
			o := newTable(t)
			o.Now = func() time.Time { return clock }
			s := openTest(t, o)
			require.NoError(t, appendOnly(t.Context(), s, "first"))
			behind := stored(t, s, keyHead)
			require.NoError(t, appendOnly(t.Context(), s, "second"))
			now := stored(t, s, keyHead)
			plant(t, s, behind)
			if second {
				s = openTest(t, o)
				require.ErrorIs(t, s.Ping(t.Context()), ErrBehind)
			}
			was := stored(t, s, entryKey(2))
			begun := time.Now()
			err := appendOnly(t.Context(), s, "forger")
			require.ErrorIs(t, err, ErrBehind)
			require.Less(t, time.Since(begun), 5*time.Second, "there is nothing to wait for")
			var told *breakglass.Error
			require.ErrorAs(t, err, &told)
			require.Contains(t, told.Message, "Nothing was changed")
			require.False(t, told.Temporary)
			require.Equal(t, was, stored(t, s, entryKey(2)), "nothing was overwritten")

			refused := errors.New("refused")
			require.ErrorIs(t, s.Update(t.Context(), breakglass.Keys{}, func(breakglass.Tx) error { return refused }), refused)
			require.ErrorIs(t, s.Ping(t.Context()), ErrBehind, "a refusal doesn't prove that the trail can grow")
			plant(t, s, now)
			require.NoError(t, s.Ping(t.Context()))
			require.NoError(t, appendOnly(t.Context(), s, "third"))
		})
	}
}

// A history whose next page is there already is damaged; that page stays, and
// others in the group aren't hurt.
func TestAPageIsNeverOverwritten(t *testing.T) {
	s := openTest(t, newTable(t))
	h := &history{}
	for i := range int64(historyKept - 1) {
		h.add(micros(noon.Add(-time.Hour)) + i)
	}
	plant(t, s, merge(userKey("mallory").item(), merge(h.encode(), item{attrRev: number(1)})))
	later := merge(pageKey(userKey("mallory"), 1).item(), encodePage(page{1, []int64{7}, 0}))
	plant(t, s, later)
	var calls []func() error
	for i := range 5 {
		who := fmt.Sprint("user-", i)
		if i == 2 {
			who = "mallory"
		}
		e := sampleEvent(who, "prod", noon)
		calls = append(calls, func() error {
			return s.Update(t.Context(), breakglass.Keys{Invoker: who, Profile: "prod"}, func(tx breakglass.Tx) error { return tx.PutEvent(e) })
		})
	}
	errs := together(t, s, calls...)
	require.ErrorIs(t, errs[2], errDamaged)
	errs[2] = nil
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, later, stored(t, s, pageKey(userKey("mallory"), 1)))
}
