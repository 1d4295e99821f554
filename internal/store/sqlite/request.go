package sqlite

import (
	"context"
	"sync"

	"breakglass/internal/breakglass"
)

// request is one transaction on its way through the writer.
type request struct {
	ctx  context.Context
	keys breakglass.Keys
	fn   func(tx breakglass.Tx) error // runs over a view; its writes are applied afterwards
	op   func(c *conn) error          // or: a change by the store itself, applied as it runs
	done chan error                   // capacity 1: the writer never waits for a caller

	// running is held while fn runs. Update takes it before it gives up, so
	// that fn never runs after Update has returned: what fn hands out through
	// its closure is then safe to read.
	running   sync.Mutex
	abandoned bool
	err       error // of the latest run
}

// Update implements breakglass.Store.
func (s *Store) Update(ctx context.Context, keys breakglass.Keys, fn func(tx breakglass.Tx) error) error {
	return s.submit(&request{ctx: ctx, keys: keys, fn: fn, done: make(chan error, 1)})
}

// apply runs a change by the store itself through the writer.
func (s *Store) apply(ctx context.Context, op func(c *conn) error) error {
	return s.submit(&request{ctx: ctx, op: op, done: make(chan error, 1)})
}

func (s *Store) submit(r *request) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return ErrClosed
	}
	select {
	case s.requests <- r:
		s.mu.RUnlock()
	case <-r.ctx.Done():
		s.mu.RUnlock()
		return r.ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-r.ctx.Done():
		r.running.Lock()
		r.abandoned = true
		r.running.Unlock()
		select {
		case err := <-r.done: // the answer came at the same time
			return err
		default:
			return r.ctx.Err()
		}
	}
}
