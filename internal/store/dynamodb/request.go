package dynamodb

import (
	"context"
	"sync"

	"breakglass/internal/breakglass"
)

// request is one transaction on its way through the committer.
type request struct {
	ctx  context.Context
	keys breakglass.Keys
	fn   func(tx breakglass.Tx) error
	done chan error // capacity 1: the committer never waits for a caller

	// running is held while fn runs. Update takes it before it gives up, so
	// that fn never runs after Update has returned: what fn hands out through
	// its closure is then safe to read.
	running   sync.Mutex
	abandoned bool
	err       error // of the latest run
	rejected  bool  // its writes can't be made: it doesn't run again
}

// Update implements breakglass.Store.
func (s *Store) Update(ctx context.Context, keys breakglass.Keys, fn func(tx breakglass.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{ctx: ctx, keys: keys, fn: fn, done: make(chan error, 1)}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return ErrClosed
	}
	select {
	case s.requests <- r:
		s.mu.RUnlock()
	case <-ctx.Done():
		s.mu.RUnlock()
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		r.running.Lock()
		r.abandoned = true
		r.running.Unlock()
		select {
		case err := <-r.done: // the answer came at the same time
			return err
		default:
			return ctx.Err()
		}
	}
}
