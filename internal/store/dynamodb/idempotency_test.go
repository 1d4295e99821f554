package dynamodb

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// TestAPurgeLeavesARecordThatWasMadeMeanwhile: another server has purged the
// key, too, and somebody has used it again.
func TestAPurgeLeavesARecordThatWasMadeMeanwhile(t *testing.T) {
	o := newTable(t)
	other := openTest(t, o)
	put := func(name string, at time.Time) error {
		return other.Update(context.Background(), breakglass.Keys{Caller: "alice", Idempotency: name}, func(tx breakglass.Tx) error {
			return tx.PutIdempotent(breakglass.Idempotent{Caller: "alice", Key: name, EventID: "x", CreatedAt: at})
		})
	}
	for i := range 3 * purging {
		require.NoError(t, put(fmt.Sprint(i), noon))
	}
	require.NoError(t, put("young", noon.Add(2*time.Hour)))
	var once sync.Once
	s := openTest(t, newHook(t, o, func(_ http.ResponseWriter, op, _ string) bool {
		if op == "DeleteItem" || op == "BatchWriteItem" {
			once.Do(func() {
				require.NoError(t, other.PurgeIdempotent(context.Background(), noon.Add(time.Hour)))
				require.NoError(t, put("7", noon.Add(48*time.Hour)))
			})
		}
		return false
	}))
	require.NoError(t, s.PurgeIdempotent(t.Context(), noon.Add(time.Hour)))
	require.NotNil(t, stored(t, s, idempotencyKey("alice", "7")))
	require.NotNil(t, stored(t, s, idempotencyKey("alice", "young")))
	for i := range 3 * purging {
		if i != 7 {
			require.Nil(t, stored(t, s, idempotencyKey("alice", fmt.Sprint(i))))
		}
	}
}
