package api

import (
	"log/slog"
	"net/netip"
	"time"
)

// What the tests of the package reach beside its API.

func NewLineLimit(log *slog.Logger, what string) *lineLimit { return newLineLimit(log, what) }

func (l *lineLimit) Allow(kind string) bool { return l.allow(kind) }

func NewLogins() *logins { return newLogins() }

func (l *logins) Failed(addr string, now time.Time) time.Duration {
	return l.failed(netip.MustParseAddr(addr), now)
}

func NewBudgets(requests, emergency int) *budgets { return newBudgets(requests, emergency) }

func (b *budgets) SpendRequest(name string, now time.Time) time.Duration {
	return b.requests.spend(name, now)
}

func (b *budgets) Len() int { return min(b.requests.recent.Len(), len(b.requests.byName)) }

func (l *logins) Len() int { return min(l.recent.Len(), len(l.byAddr)) }

// CheckHeads feeds data in pieces of a size, as a connection does.
func CheckHeads(data []byte, size int) (good int, ok bool) {
	var h head
	for at := 0; at < len(data); at += size {
		n, ok := h.check(data[at:min(at+size, len(data))])
		if !ok {
			return at + n, false
		}
	}
	return len(data), true
}
