package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"breakglass/internal/breakglass"
)

func (f *faulty) AccessRequest(ctx context.Context, id string) (breakglass.AccessRequest, error) {
	r, err := f.Store.AccessRequest(ctx, id)
	if err == nil && f.request != nil {
		r = f.request(r)
	}
	return r, err
}

func (f *faulty) Standing(ctx context.Context, p breakglass.Pair) (breakglass.Standing, error) {
	st, err := f.Store.Standing(ctx, p)
	if err == nil && f.standing != nil {
		st = f.standing(p, st)
	}
	return st, err
}

func (x faultyTx) FindOpenRequests(p breakglass.Pair) (breakglass.OpenRequests, error) {
	open, err := x.Tx.FindOpenRequests(p)
	if err == nil && x.open != nil {
		open = x.open(open)
	}
	return open, err
}

func (x faultyTx) AccessRequest(id string) (breakglass.AccessRequest, error) {
	r, err := x.Tx.AccessRequest(id)
	if err == nil && x.getRequest != nil {
		r = x.getRequest(r)
	}
	return r, err
}

func (x faultyTx) PutAccessRequest(r breakglass.AccessRequest) error {
	if x.putRequest != nil {
		var keep bool
		if r, keep = x.putRequest(r); !keep {
			return nil
		}
	}
	return x.Tx.PutAccessRequest(r)
}

// wrapTx is a store with a bug in its transactions.
func wrapTx(bug func(f *faulty, tx faultyTx) faultyTx) *faulty {
	return &faulty{tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx { return bug(f, faultyTx{Tx: tx}) }}
}

// oncePer drops a write once for each key, such as that an approval is lost.
type oncePer struct {
	mu   sync.Mutex
	done map[string]bool
}

func (o *oncePer) first(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		o.done = map[string]bool{}
	}
	first := !o.done[key]
	o.done[key] = true
	return first
}

// withdrawn keeps approved requests as they were, whatever became of them.
type withdrawn struct {
	mu   sync.Mutex
	seen map[string]breakglass.AccessRequest // by id
	of   map[breakglass.Pair]string
}

func (w *withdrawn) keep(r breakglass.AccessRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[r.ID] = r
	w.of[breakglass.Pair{Person: r.Requester, Profile: r.Profile}] = r.ID
}

func (w *withdrawn) last(p breakglass.Pair) *breakglass.AccessRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.seen[w.of[p]]
	if !ok {
		return nil
	}
	return &r
}

// ignoredByIssuance has issuance go on under approvals that were withdrawn.
func ignoredByIssuance() *faulty {
	w := &withdrawn{seen: map[string]breakglass.AccessRequest{}, of: map[breakglass.Pair]string{}}
	f := wrapTx(func(_ *faulty, tx faultyTx) faultyTx {
		var ended bool
		tx.getRequest = func(r breakglass.AccessRequest) breakglass.AccessRequest {
			w.mu.Lock()
			defer w.mu.Unlock()
			old, known := w.seen[r.ID]
			if ended = known && !r.Status.Open(); ended {
				return old
			}
			return r
		}
		tx.putRequest = func(r breakglass.AccessRequest) (breakglass.AccessRequest, bool) {
			if r.Status == breakglass.RequestApproved && !ended {
				w.keep(r)
			}
			return r, !ended // what is withdrawn stays so
		}
		return tx
	})
	f.standing = func(p breakglass.Pair, st breakglass.Standing) breakglass.Standing {
		if st.Approved == nil {
			st.Approved = w.last(p)
		}
		return st
	}
	return f
}

// countedTwice takes somebody who has approved for another person.
func countedTwice() *faulty {
	const other = "somebody-else"
	rename := func(r breakglass.AccessRequest, from, to func(by string) string) breakglass.AccessRequest {
		r.Approvals = slices.Clone(r.Approvals)
		for i := range r.Approvals {
			if r.Status == breakglass.RequestPending || len(r.Approvals) > 1 {
				r.Approvals[i].By = to(from(r.Approvals[i].By))
			}
		}
		return r
	}
	same := func(by string) string { return by }
	return wrapTx(func(_ *faulty, tx faultyTx) faultyTx {
		var real string
		tx.getRequest = func(r breakglass.AccessRequest) breakglass.AccessRequest {
			if r.Status != breakglass.RequestPending || len(r.Approvals) != 1 {
				return r
			}
			real = r.Approvals[0].By
			return rename(r, same, func(string) string { return other })
		}
		tx.putRequest = func(r breakglass.AccessRequest) (breakglass.AccessRequest, bool) {
			return rename(r, same, func(by string) string {
				if by == other {
					return real
				}
				return by
			}), true
		}
		return tx
	})
}

// TestTheCheckerCatchesPlantedBugsOfRequests shows that the check of access
// requests can fail.
func TestTheCheckerCatchesPlantedBugsOfRequests(t *testing.T) {
	var lost oncePer
	bugs := map[string]*faulty{
		"an approval that is acknowledged but lost": wrapTx(func(_ *faulty, tx faultyTx) faultyTx {
			tx.putRequest = func(r breakglass.AccessRequest) (breakglass.AccessRequest, bool) {
				return r, r.Status != breakglass.RequestPending || len(r.Approvals) == 0 || !lost.first(r.ID)
			}
			return tx
		}),
		"the same approver counted twice":          countedTwice(),
		"a withdrawal that issuance doesn't learn": ignoredByIssuance(),
		"a denial that is acknowledged but lost": wrapTx(func(f *faulty, tx faultyTx) faultyTx {
			tx.putRequest = func(r breakglass.AccessRequest) (breakglass.AccessRequest, bool) {
				return r, r.Status != breakglass.RequestDenied || !f.every(3)
			}
			return tx
		}),
		"two that wait at once": wrapTx(func(f *faulty, tx faultyTx) faultyTx {
			tx.open = func(open breakglass.OpenRequests) breakglass.OpenRequests {
				if open.Pending != nil && f.every(5) {
					early := *open.Pending
					early.ExpiresAt = early.CreatedAt
					open.Pending = &early
				}
				return open
			}
			return tx
		}),
		"a denied request that can be approved": wrapTx(func(_ *faulty, tx faultyTx) faultyTx {
			tx.getRequest = func(r breakglass.AccessRequest) breakglass.AccessRequest {
				if r.Status == breakglass.RequestDenied && r.ApprovedAt.IsZero() {
					r.Status = breakglass.RequestPending
				}
				return r
			}
			return tx
		}),
		"a request that ends half a second late": {request: func(r breakglass.AccessRequest) breakglass.AccessRequest {
			if r.Status.Open() || r.Status == breakglass.RequestExpired {
				r.ExpiresAt = r.ExpiresAt.Add(500 * time.Millisecond)
				if r.Status == breakglass.RequestExpired && !r.ApprovedAt.IsZero() {
					r.Status = breakglass.RequestApproved
				}
			}
			return r
		}},
		"a session that isn't counted": wrapTx(func(f *faulty, tx faultyTx) faultyTx {
			tx.putRequest = func(r breakglass.AccessRequest) (breakglass.AccessRequest, bool) {
				if r.Sessions > 0 && f.every(10) {
					r.Sessions--
				}
				return r, true
			}
			return tx
		}),
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			r := newRequestRecorder(serveOver(t, func(s breakglass.Store) breakglass.Store { bug.Store = s; return bug }, twoApprovals(t)))
			r.broken = true
			hunt(t, func() { r.record(t, 8, time.Second, func() bool { return true }) },
				func() porcupine.CheckResult { return r.check(patience) })
			t.Logf("%d operations: %v", len(r.history), r.kinds)
		})
	}
}
