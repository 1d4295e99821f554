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
	h.err, h.at = err, now
}

// provenFor is how long a transaction proves that the table takes more.
const provenFor = 10 * time.Second

func (h *health) proven(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := now.Sub(h.at)
	return h.err == nil && since >= 0 && since < provenFor
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
