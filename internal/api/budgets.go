package api

import (
	"container/list"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"breakglass/internal/breakglass"
)

// What one caller may ask for in a second when the configuration doesn't say.
// Both are far beyond what people and honest programs do.
const (
	DefaultRequestsPerCaller       = 100
	DefaultEmergencyCallsPerCaller = 20
)

const (
	// burstSeconds is how many seconds' worth a caller may use at once.
	burstSeconds = 10
	// maxCallers bounds what is remembered: those who called last.
	maxCallers = 4096
)

// budgets bound the requests of each caller who is known, so that one program
// that runs wild doesn't take the server from the others. A dashboard and an
// engineer may share a name; what an emergency needs therefore has a budget of
// its own, which no amount of polling uses up. It is safe for concurrent use.
type budgets struct {
	requests, emergency budget
}

func newBudgets(requests, emergency int) *budgets {
	if requests <= 0 {
		requests = DefaultRequestsPerCaller
	}
	if emergency <= 0 {
		emergency = DefaultEmergencyCallsPerCaller
	}
	return &budgets{newBudget(requests), newBudget(emergency)}
}

// budget is one kind of request for every caller.
type budget struct {
	each time.Duration // after which a caller gets one more request
	full time.Duration // of that, what can be saved up

	mu     *sync.Mutex
	byName map[string]*list.Element
	recent *list.List // of *spending, the latest first
}

type spending struct {
	name  string
	until time.Time // up to which the caller's budget is used up
}

func newBudget(perSecond int) budget {
	each := time.Second / time.Duration(perSecond)
	return budget{each: each, full: burstSeconds * time.Second, mu: &sync.Mutex{}, byName: map[string]*list.Element{}, recent: list.New()}
}

// spend takes one request from a caller's budget, or returns how long it takes
// until there is one: never longer than one request takes to come back, so
// nobody is locked out for their past.
func (b *budget) spend(name string, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(name)
	if s.until.Before(now) {
		s.until = now
	}
	if wait = s.until.Add(b.each).Sub(now) - b.full; wait > 0 {
		return wait
	}
	s.until = s.until.Add(b.each)
	return 0
}

// of returns what a caller has spent; who called longest ago makes room.
func (b *budget) of(name string) *spending {
	if e, ok := b.byName[name]; ok {
		b.recent.MoveToFront(e)
		return e.Value.(*spending)
	}
	if b.recent.Len() >= maxCallers {
		delete(b.byName, b.recent.Remove(b.recent.Back()).(*spending).name)
	}
	s := &spending{name: name}
	b.byName[name] = b.recent.PushFront(s)
	return s
}

// withinBudget takes the request from its caller's budget, or refuses it.
func (c *call) withinBudget() error {
	b, what := &c.h.budgets.requests, "requests"
	if c.isEmergency() {
		b, what = &c.h.budgets.emergency, "invocations, extensions, closes, withdrawals and credentials"
	}
	wait := b.spend(c.caller.Name, time.Now())
	if wait == 0 {
		return nil
	}
	c.overBudget = true
	e := &breakglass.Error{Code: breakglass.CodeRateLimited, Temporary: true, RetryAfter: wait,
		Message: fmt.Sprintf("Too many %s in quick succession by this caller: the server takes %d a second.", what, time.Second/b.each)}
	ctx, cancel := c.context(0)
	defer cancel()
	c.h.cfg.Service.RecordOverBudget(ctx, c.caller, c.id, e)
	return e
}

// isEmergency tells what an emergency can't do without from what only looks.
// A dry run is a question.
func (c *call) isEmergency() bool {
	path := c.r.URL.Path
	taking := strings.HasPrefix(path, "/v1/requests/") && (strings.HasSuffix(path, "/deny") || strings.HasSuffix(path, "/cancel"))
	return c.r.Method == http.MethodPost && (strings.HasPrefix(path, "/v1/breakglass") || path == "/v1/credentials" || taking) &&
		(c.r.URL.RawQuery == "" || c.r.URL.Query().Get("dry_run") != "true")
}
