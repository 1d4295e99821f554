package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// health is what the latest transaction says about the table.
type health struct {
	mu  sync.Mutex
	err error
	at  time.Time
}

// note remembers how a group ended. A conflict says that the table works.
func (h *health) note(now time.Time, err error) {
	var c *conflict
	if errors.As(err, &c) || errors.Is(err, errBroken) {
		err = nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && errors.Is(h.err, ErrBehind) {
		return // a refusal proves nothing about the trail; Ping looks at it
	}
	h.err, h.at = err, now
}

// note remembers how a group ended, and says so when people have to act.
func (s *Store) note(err error) {
	if errors.Is(err, ErrBehind) {
		s.opts.Log.Error("nothing can be written: " + ErrBehind.Error() +
			"; restore the whole table to one instant, or the head (item journal/head) to that of the newest entry, and run bgctl verify")
	}
	s.health.note(s.opts.Now(), err)
}

// behind reports that the trail goes on where its head says that it ends.
func (s *Store) behind(ctx context.Context) (bool, error) {
	var seq int64
	for look := 1; ; look++ { // the trail may grow between two looks
		it, err := s.get(ctx, keyHead)
		if err != nil {
			return false, err
		}
		if look == 2 {
			return num(it["seq"]) == seq, nil
		}
		seq = num(it["seq"])
		if it, err = s.get(ctx, entryKey(seq+1)); err != nil || it == nil {
			return false, err
		}
	}
}

// provenFor is how long a transaction proves that the table takes more.
const provenFor = 10 * time.Second

func (h *health) proven(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := now.Sub(h.at)
	return h.err == nil && since >= 0 && since < provenFor
}

// forget makes the next note count, whatever came before.
func (h *health) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.at = nil, time.Time{}
}

// Ping reports whether the store can commit now: it writes an item of its own,
// unless a transaction has just succeeded.
func (s *Store) Ping(ctx context.Context) error {
	s.mu.RLock()
	closed := s.closed
	s.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if s.health.proven(s.opts.Now()) {
		return nil
	}
	if behind, err := s.behind(ctx); err != nil || behind {
		err = either(err, ErrBehind)
		s.health.note(s.opts.Now(), err)
		return fmt.Errorf("table %s: %w", s.opts.Table, err)
	}
	s.health.forget()
	v := newView(s, nil)
	v.extra = []item{merge(key{"meta", "probe"}.item(), item{"at": text(stamp(s.opts.Now()))})}
	err := v.commit(ctx)
	s.health.note(s.opts.Now(), err)
	if err != nil {
		return fmt.Errorf("a write to table %s: %w", s.opts.Table, err)
	}
	return nil
}

// maxIdle keeps connections for as many calls as there are at once.
func maxIdle(t *http.Transport) {
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 128, 128
}
