package awsiam

import (
	"sync"
	"time"
)

// maxSpent bounds the nonces that are remembered here. The rest of what one
// minute brings is left to the store: it costs STS a question more.
const maxSpent = 8192

// spent remembers the nonces that STS was asked about, so that one nonce costs
// one question however often it is sent. It keeps nobody out: a second use of a
// nonce is refused by the store in any case. Safe for concurrent use.
type spent struct {
	mu    sync.Mutex
	until map[string]time.Time
	order []string // as they were put in, so the first ends first
}

// take reports whether nobody has taken the nonce before.
func (s *spent) take(nonce string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.order) > 0 && (len(s.order) >= maxSpent || !now.Before(s.until[s.order[0]])) {
		delete(s.until, s.order[0])
		s.order = s.order[1:]
	}
	if _, taken := s.until[nonce]; taken {
		return false
	}
	if s.until == nil {
		s.until = map[string]time.Time{}
	}
	s.until[nonce] = now.Add(NonceLife + nonceAhead)
	s.order = append(s.order, nonce)
	return true
}

// giveBack forgets a nonce that STS could not be asked about, so that the caller
// can try again with it.
func (s *spent) giveBack(nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.order) - 1; i >= 0; i-- {
		if s.order[i] == nonce {
			s.order = append(s.order[:i], s.order[i+1:]...)
			delete(s.until, nonce)
			return
		}
	}
}
