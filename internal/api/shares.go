package api

import (
	"net/netip"
	"sync"
	"time"

	"breakglass/internal/breakglass"
)

// awsShare is how many logins with AWS identities one address can have under
// way. Each is a question to STS, of which there are awsiam.MaxAsking at a time
// for everybody: one address alone can't use them up.
const awsShare = 4

// shares bounds what is under way by address. It is safe for concurrent use.
type shares struct {
	mu   sync.Mutex
	each int
	busy map[netip.Addr]int // only of addresses that have something under way
}

func newShares(each int) *shares { return &shares{each: each, busy: map[netip.Addr]int{}} }

// take begins something for an address; done ends it. It is nil when the
// address has its share under way already.
func (s *shares) take(from netip.Addr) (done func()) {
	from = neighbours(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[from] >= s.each {
		return nil
	}
	s.busy[from]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy[from]--; s.busy[from] == 0 {
			delete(s.busy, from)
		}
	}
}

// wait returns how long an address that has used up its failures should wait;
// zero while it has some left. It counts nothing.
func (l *logins) wait(from netip.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byAddr[neighbours(from)]
	if !ok {
		return 0
	}
	return max(0, e.Value.(*failures).until.Add(loginRefill).Sub(now)-loginFailures*loginRefill)
}

func tooManyAWSLogins(wait time.Duration) error {
	return &breakglass.Error{Code: breakglass.CodeRateLimited, Temporary: true, RetryAfter: wait,
		Message: "Too many logins with AWS identities that were no good, or that are still being checked, came from this address. Other ways in are not affected."}
}
