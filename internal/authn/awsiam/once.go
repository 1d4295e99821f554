package awsiam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"breakglass/internal/breakglass"
)

// Store is the part of the domain's store that remembers used nonces. A nonce is
// used up by an idempotency record of a caller that nobody can be (names of
// people never begin with a colon), in a transaction: whichever replica commits
// first has it, on every engine. Records are kept for longer than a nonce lives.
type Store interface {
	// Update is that of breakglass.Store.
	Update(ctx context.Context, keys breakglass.Keys, fn func(tx breakglass.Tx) error) error
}

const loginCaller = ":login"

// use reports whether the nonce is used for the first time. Afterwards it never
// is again.
func use(ctx context.Context, store Store, nonce string, now time.Time) (first bool, err error) {
	sum := sha256.Sum256([]byte(nonce))
	key := "aws-" + hex.EncodeToString(sum[:])
	keys := breakglass.Keys{Caller: loginCaller, Idempotency: key}
	err = store.Update(ctx, keys, func(tx breakglass.Tx) error {
		first = false
		prior, err := tx.FindIdempotent(loginCaller, key)
		if err != nil || prior != nil {
			return err
		}
		first = true
		return tx.PutIdempotent(breakglass.Idempotent{Caller: loginCaller, Key: key, Fingerprint: "nonce",
			CreatedAt: now.UTC().Truncate(time.Microsecond)})
	})
	return first && err == nil, err
}
