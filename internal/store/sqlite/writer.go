package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	sqlite3 "modernc.org/sqlite/lib"

	"breakglass/internal/breakglass"
)

// writer owns the only writing connection. Everything but connect and
// disconnect runs in its goroutine.
type writer struct {
	s     *Store
	steps []migration
	c     *conn // nil after a failure that the connection didn't survive
	head  head
	taken []*request // from the channel; not all of them answered yet
	body  []byte     // reused
	wrote bool       // the transaction in progress changed something
}

// loop runs until the requests channel is closed and drained.
func (w *writer) loop() {
	finished := false
	defer func() {
		if finished {
			close(w.s.done)
			return
		}
		// Only runtime.Goexit comes here (a test's FailNow inside fn). The
		// callers of this group are answered, the others keep their writer.
		w.fail(errors.New("the writer stopped in the middle of a transaction"))
		w.rollback()
		go w.loop()
	}()
	for r := range w.s.requests {
		w.taken = append(w.taken[:0], r)
		w.commitGroup()
	}
	finished = true
}

// commitGroup commits the request in w.taken and others that wait together
// with it.
func (w *writer) commitGroup() {
	err := w.transact(w.runGroup)
	if err == nil || len(w.taken) == 1 {
		answer(w.taken, err)
		return
	}
	for i, r := range w.taken {
		answer(w.taken[i:i+1], w.transact(func() error { return w.run(r) }))
	}
}

// answer tells each caller the outcome of its own transaction, or the failure
// of the commit.
func answer(group []*request, failure error) {
	for _, r := range group {
		if r.err == nil {
			r.err = failure
		}
		r.done <- r.err
	}
}

// fail answers everybody who has no answer yet.
func (w *writer) fail(err error) {
	for _, r := range w.taken {
		select {
		case r.done <- err:
		default:
		}
	}
}

// runGroup runs the first request and whatever else waits, until the group is
// full or nobody waits any more.
func (w *writer) runGroup() error {
	yielded := false
	for i := 0; ; i++ {
		if err := w.run(w.taken[i]); err != nil {
			return err
		}
		if len(w.taken) == w.s.opts.MaxGroup {
			return nil
		}
		if r := w.poll(); r != nil {
			w.taken = append(w.taken, r)
			yielded = false
			continue
		}
		if yielded {
			return nil
		}
		// Callers that were answered a moment ago get one chance to come back
		// with their next request before the disk is asked.
		runtime.Gosched()
		yielded = true
		r := w.poll()
		if r == nil {
			return nil
		}
		w.taken = append(w.taken, r)
	}
}

func (w *writer) poll() *request {
	select {
	case r := <-w.s.requests:
		return r // nil once the channel is closed and drained
	default:
		return nil
	}
}

// run runs one request inside the transaction in progress. The error is that
// of the transaction as a whole; the request's own goes to r.err.
func (w *writer) run(r *request) error {
	r.running.Lock()
	defer r.running.Unlock()
	r.err = nil
	if r.abandoned || r.ctx.Err() != nil {
		if r.err = r.ctx.Err(); r.err == nil {
			r.err = context.Canceled
		}
		return nil
	}
	if r.op != nil {
		w.wrote = true
		return r.op(w.c)
	}
	t := tx{w: w, keys: &r.keys}
	r.err = t.call(r.fn)
	if r.err != nil {
		return t.broken
	}
	for i := range t.writes {
		w.wrote = true
		if err := t.writes[i].apply(w); err != nil {
			return err
		}
	}
	return nil
}

// call runs fn and turns a panic into an error: the writer serves everybody.
func (t *tx) call(fn func(tx breakglass.Tx) error) (err error) {
	defer func() {
		t.over = true
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

// transact runs body between BEGIN and COMMIT. When anything fails nothing is
// written, and the writer is ready for the next transaction.
func (w *writer) transact(body func() error) error {
	err := w.begin()
	if err == nil {
		before := w.head
		if err = body(); err == nil {
			err = w.c.commit.exec()
		}
		if err == nil {
			w.committed(before)
			return nil
		}
		w.rollback()
	}
	if !requestFault(err) {
		w.s.health.failed(w.s.opts.Now(), err)
	}
	return fmt.Errorf("write to the store: %w", explainWrite(err))
}

func (w *writer) committed(before head) {
	if w.wrote {
		w.s.health.succeeded(w.s.opts.Now())
	}
	if w.head.seq != before.seq {
		w.s.publish(w.head)
	}
}

func (w *writer) begin() error {
	w.wrote = false
	if w.c == nil {
		if err := w.reconnect(); err != nil {
			return err
		}
	}
	err := w.c.begin.exec()
	if err != nil && code(err) != sqlite3.SQLITE_BUSY {
		// A connection that can't even begin, be it because a transaction is
		// still open, isn't worth reasoning about: the next one is new.
		_ = w.disconnect()
	}
	return err
}

// rollback ends the transaction, if SQLite hasn't done so itself, and reads the
// head anew: the one known by heart belongs to what was just undone.
func (w *writer) rollback() {
	if w.c == nil {
		return
	}
	// An error says no more than that SQLite has rolled back already; should a
	// transaction be left open, the BEGIN that follows finds out.
	_ = w.c.rollback.exec()
	if err := w.loadHead(); err != nil {
		_ = w.disconnect()
	}
}
