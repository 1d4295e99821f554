package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"breakglass/internal/breakglass"
)

// acknowledged is everything that servers have said is done.
type acknowledged struct {
	mu      sync.Mutex
	invoked map[string]string // idempotency key → event id
	closed  map[string]bool   // by event id
	keys    map[string]string // access key id → event id
	total   int
	faults  []string // answers that no server may give
	// replayed counts retried keys whose first call had made the event after all.
	replayed int

	target  int           // of total
	reached chan struct{} // closed when total has got there
	cut     bool          // no more answers reach anybody
}

// errCut stands for an answer that got lost on its way.
var errCut = errors.New("cut off")

// cutOff makes every answer get lost from now on, or no longer.
func (a *acknowledged) cutOff(cut bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut = cut
}

// lost is the error of an answer that arrived after all were cut off.
func (a *acknowledged) lost(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && a.cut {
		return errCut
	}
	return err
}

func newAcknowledged() *acknowledged {
	return &acknowledged{invoked: map[string]string{}, closed: map[string]bool{}, keys: map[string]string{}, reached: make(chan struct{})}
}

// after returns a channel that is closed after n more acknowledgements.
func (a *acknowledged) after(n int) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.target, a.reached = a.total+n, make(chan struct{})
	if n == 0 {
		close(a.reached)
	}
	return a.reached
}

// ahead reports whether n more have been acknowledged than were waited for.
func (a *acknowledged) ahead(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total >= a.target+n
}

func (a *acknowledged) add(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	if a.total++; a.total == a.target {
		close(a.reached)
	}
}

func (a *acknowledged) fault(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

// engineer calls a server without pause: invokes, fetches credentials, closes.
// Answers that don't come are asked for again, from the next server too.
type engineer struct {
	name   string
	shared string // somebody for whom several engineers invoke at once
	random *rand.Rand
	acks   *acknowledged

	made    int
	open    []string        // acknowledged own events, not closed yet
	profile int             // the next own one
	pending *invocationCall // not answered yet
	closing string          // event whose close is not answered yet
}

// invocationCall is a call of POST /v1/breakglass that can be repeated.
type invocationCall struct {
	key, who, profile string
	seconds           int
}

// run works until no answer comes.
func (e *engineer) run(ctx context.Context, c caller) {
	for e.step(ctx, c) == nil {
	}
}

// settle finishes what was not answered.
func (e *engineer) settle(ctx context.Context, c caller) error {
	if e.pending != nil {
		if err := e.invoke(ctx, c, true); err != nil {
			return err
		}
	}
	if e.closing != "" {
		return e.close(ctx, c, true)
	}
	return nil
}

func (e *engineer) step(ctx context.Context, c caller) error {
	if err := e.settle(ctx, c); err != nil {
		return err
	}
	if len(e.open) == len(profileNames) || len(e.open) > 0 && e.random.IntN(4) == 0 {
		e.closing, e.open = e.open[0], e.open[1:]
		return e.close(ctx, c, false)
	}
	e.made++
	e.pending = &invocationCall{key: fmt.Sprintf("%s-%d", e.name, e.made), who: e.name, seconds: 3600}
	if e.random.IntN(6) == 0 {
		e.pending.who, e.pending.profile, e.pending.seconds = e.shared, profileNames[e.random.IntN(len(profileNames))], 1
	} else {
		e.pending.profile = profileNames[e.profile%len(profileNames)]
		e.profile++
	}
	return e.invoke(ctx, c, false)
}

// invoke sends the pending call. Events of one's own stand in nobody's way, and
// are never refused; of those for somebody shared only one at a time is granted.
func (e *engineer) invoke(ctx context.Context, c caller, again bool) error {
	p := *e.pending
	as, body := p.who, invocation(p.profile, p.seconds)
	if p.who == e.shared {
		as, body = "bot", strings.Replace(body, "{", fmt.Sprintf(`{"invoker":%q,`, p.who), 1)
	}
	a, err := c.do(ctx, as, http.MethodPost, "/v1/breakglass", body, "Idempotency-Key", p.key)
	if err = e.acks.lost(err); err != nil {
		return err
	}
	var ev breakglass.View
	switch {
	case a.status == http.StatusConflict && p.who == e.shared:
		e.pending = nil
		return nil
	case a.status != http.StatusCreated || json.Unmarshal(a.body, &ev) != nil:
		if !e.stopping(a) {
			e.acks.fault("%s invokes %s: %d %s", p.who, p.profile, a.status, a.body)
		}
		return fmt.Errorf("status %d", a.status)
	}
	e.acks.add(func() {
		e.acks.invoked[p.key] = ev.ID
		if again && a.header.Get("Idempotency-Replayed") == "true" {
			e.acks.replayed++
		}
	})
	e.pending = nil
	if p.who == e.shared {
		return nil
	}
	e.open = append(e.open, ev.ID)
	return e.credentials(ctx, c, ev.ID)
}

func (e *engineer) credentials(ctx context.Context, c caller, id string) error {
	a, err := c.do(ctx, e.name, http.MethodPost, "/v1/breakglass/"+id+"/credentials", "")
	if err = e.acks.lost(err); err != nil {
		return err
	}
	var keys struct {
		ID string `json:"access_key_id"`
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &keys) != nil {
		if !e.stopping(a) {
			e.acks.fault("credentials of %s: %d %s", id, a.status, a.body)
		}
		return fmt.Errorf("status %d", a.status)
	}
	e.acks.add(func() { e.acks.keys[keys.ID] = id })
	return nil
}

// close closes the event that is being closed; repeated, it may find that done.
func (e *engineer) close(ctx context.Context, c caller, again bool) error {
	id := e.closing
	a, err := c.close(ctx, e.name, id)
	if err = e.acks.lost(err); err != nil {
		return err
	}
	if a.status != http.StatusOK && !(again && a.code() == string(breakglass.CodeInvalidTransition)) {
		if !e.stopping(a) {
			e.acks.fault("close of %s: %d %s", id, a.status, a.body)
		}
		return fmt.Errorf("status %d", a.status)
	}
	e.acks.add(func() { e.acks.closed[id] = true })
	e.closing = ""
	return nil
}

// stopping reports an answer of a server that has lost its disk: that is no
// acknowledgement, and no fault either.
func (e *engineer) stopping(a answer) bool { return a.status == http.StatusServiceUnavailable }

// engineers are n callers; each four of them share somebody.
func engineers(n int, seed uint64, acks *acknowledged) []*engineer {
	all := make([]*engineer, n)
	for i := range all {
		all[i] = &engineer{name: user(i), shared: user(n + i/4), random: rand.New(rand.NewPCG(seed, uint64(i))), acks: acks}
	}
	return all
}

// each runs f for every engineer at once and waits for all.
func each(all []*engineer, f func(e *engineer)) {
	var wg sync.WaitGroup
	for _, e := range all {
		wg.Go(func() { f(e) })
	}
	wg.Wait()
}

// percentiles describes how long something took.
func percentiles(took []time.Duration) string {
	if len(took) == 0 {
		return "none"
	}
	at := func(p int) time.Duration { return took[min(len(took)-1, len(took)*p/100)].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %s, p90 %s, max %s of %d", at(50), at(90), at(100), len(took))
}
