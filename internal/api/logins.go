package api

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"breakglass/internal/breakglass"
)

const (
	// Wrong tokens from one address that are answered with 401, at once and a
	// minute. The others get 429. Tokens are looked at before anything is
	// counted, so whoever has a valid one always gets in, also from an address
	// that somebody else has used up.
	loginFailures = 100
	loginRefill   = time.Minute / loginFailures
	// maxAddresses bounds what is remembered: the addresses that failed last.
	maxAddresses = 4096
)

// logins counts failed logins by address. It is safe for concurrent use.
type logins struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]*list.Element
	recent list.List // of *failures, the latest first
}

type failures struct {
	from  netip.Addr
	until time.Time // up to which the address has used up its failures
}

func newLogins() *logins { return &logins{byAddr: map[netip.Addr]*list.Element{}} }

// failed counts a failure and returns how long the address should wait; zero
// while it has failures left.
func (l *logins) failed(from netip.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.of(neighbours(from))
	const full = loginFailures * loginRefill
	if f.until.Before(now) {
		f.until = now
	}
	if wait := f.until.Add(loginRefill).Sub(now) - full; wait > 0 {
		return wait
	}
	f.until = f.until.Add(loginRefill)
	return 0
}

// of returns the entry of an address; the one that failed longest ago makes
// room for a new one.
func (l *logins) of(from netip.Addr) *failures {
	if e, ok := l.byAddr[from]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*failures)
	}
	if l.recent.Len() >= maxAddresses {
		oldest := l.recent.Back()
		delete(l.byAddr, l.recent.Remove(oldest).(*failures).from)
	}
	f := &failures{from: from}
	l.byAddr[from] = l.recent.PushFront(f)
	return f
}

func tooManyLogins(wait time.Duration) error {
	return &breakglass.Error{Code: breakglass.CodeRateLimited, Temporary: true, RetryAfter: wait,
		Message: "Too many invalid bearer tokens came from this address. A valid one is taken at any time."}
}
