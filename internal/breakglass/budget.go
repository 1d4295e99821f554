package breakglass

import (
	"sync"
	"time"
)

// budget gives each key so many uses at once, and one more in each refill. It
// is a token bucket, kept as the time up to which a key is used up.
type budget struct {
	burst  int
	refill time.Duration

	mu    sync.Mutex
	until map[string]time.Time
}

func newBudget(burst int, refill time.Duration) *budget {
	return &budget{burst: burst, refill: refill, until: map[string]time.Time{}}
}

// spend takes one use and returns zero, or how long until there is one.
func (b *budget) spend(key string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	full := time.Duration(b.burst) * b.refill
	until := b.until[key]
	if until.Before(now) || until.Sub(now) > full { // the latter: the clock was set back
		until = now
	}
	until = until.Add(b.refill)
	if wait := until.Sub(now) - full; wait > 0 {
		return wait
	}
	if len(b.until) > 1000 {
		b.forget(now)
	}
	b.until[key] = until
	return 0
}

// forget drops the keys that have all their uses again.
func (b *budget) forget(now time.Time) {
	for key, until := range b.until {
		if until.Before(now) {
			delete(b.until, key)
		}
	}
}
