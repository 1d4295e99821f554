package storetest

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// testUseOnce is how the nonce of a login is used up: a record of a caller that
// nobody can be, of no event, in a transaction that touches nothing else.
func testUseOnce(t *testing.T, e Engine) {
	var firsts atomic.Int64
	keys := breakglass.Keys{Caller: ":login", Idempotency: "nonce"}
	for _, err := range inParallel(contenders, func(int) error {
		first := false
		err := e.Update(t.Context(), keys, func(tx breakglass.Tx) error {
			first = false
			prior, err := tx.FindIdempotent(keys.Caller, keys.Idempotency)
			if err != nil || prior != nil {
				return err
			}
			first = true
			return tx.PutIdempotent(breakglass.Idempotent{Caller: keys.Caller, Key: keys.Idempotency, Fingerprint: "nonce", CreatedAt: at(0)})
		})
		if err == nil && first {
			firsts.Add(1)
		}
		return err
	}) {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, firsts.Load())
	head, err := e.Head(t.Context())
	require.NoError(t, err)
	require.Zero(t, head, "the trail is not touched")
}
