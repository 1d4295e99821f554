package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	spec "breakglass"
	"breakglass/internal/api"
	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
	"breakglass/internal/issuer"
	"breakglass/internal/policy"
	"breakglass/internal/ratelimit"
	"breakglass/internal/store/sqlite"
)

// The history of one (invoker, profile) is checked against a model of one
// event at a time. Time is part of it: the server's clock is this process's, so
// that the instant at which an operation took effect lies between its call and
// its return, and an event ends at the expires_at that the server gave it.

// keys is among how many people the clients choose, on two profiles each.
const keys = 4

type opKind int

const (
	opInvoke opKind = iota
	opClose
	opCheck
)

type opInput struct {
	kind opKind
	key  string // invoker and profile
	id   string // of close and check
	call time.Time
}

type opOutput struct {
	status int
	view   breakglass.View
	other  string // the event in the way of a refused invocation
	done   time.Time
}

// modelState is the newest event and whether it was closed.
type modelState struct {
	id      string
	expires time.Time
	closed  bool
}

func (s modelState) activeAt(t time.Time) bool { return s.id != "" && !s.closed && t.Before(s.expires) }

// step says whether the output is right in the state, and what comes next.
func step(s modelState, in opInput, out opOutput) (bool, modelState) {
	switch in.kind {
	case opInvoke:
		if out.status == http.StatusConflict {
			return s.id == out.other && s.activeAt(in.call), s
		}
		within := !out.view.CreatedAt.Before(in.call.Truncate(time.Microsecond)) && !out.view.CreatedAt.After(out.done)
		return within && !s.activeAt(out.view.CreatedAt), modelState{id: out.view.ID, expires: out.view.ExpiresAt}
	case opClose:
		if out.status == http.StatusOK {
			s2 := s
			s2.closed = true
			return s.id == in.id && s.activeAt(in.call) && out.view.ClosedAt.Before(s.expires), s2
		}
		return s.id != in.id || s.closed || !s.activeAt(out.done), s
	default:
		switch out.view.Status {
		case breakglass.StatusActive:
			return s.id == in.id && s.activeAt(in.call), s
		case breakglass.StatusClosed:
			return s.id != in.id || s.closed, s
		default: // expired
			return s.id != in.id || !s.closed && !s.activeAt(out.done), s
		}
	}
}

var eventModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(opInput).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return modelState{} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(modelState), input.(opInput), output.(opOutput))
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v → %+v", input, output)
	},
}

// recorder lets clients work on few keys and keeps what they saw. Events on
// staging are never closed: however fast the clients are, those end by
// themselves.
type recorder struct {
	c       caller
	mu      sync.Mutex
	history []porcupine.Operation
	known   map[string][]string // ids by key, the newest last
	kinds   map[string]int      // how often each kind of operation had each outcome
}

func newRecorder(c caller) *recorder {
	return &recorder{c: c, known: map[string][]string{}, kinds: map[string]int{}}
}

// record lets the clients work for that long, and then until enough of them,
// asked once in a while, says so; it may take patience in all.
func (r *recorder) record(t *testing.T, clients int, atLeast time.Duration, enough func() bool) {
	t.Helper()
	begun, piece := time.Now(), uint64(len(r.history))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(client), piece)) //nolint:gosec // which operation comes next is no secret
			for !stop.Load() && r.one(t, client, rnd) {
			}
		})
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(begun) < atLeast || !enough() && time.Since(begun) < patience {
		<-tick.C
	}
	stop.Store(true)
	wg.Wait()
}

// one performs one operation; false when no answer came.
func (r *recorder) one(t *testing.T, client int, rnd *rand.Rand) bool {
	who, profile := user(rnd.IntN(keys)), []string{"prod", "staging"}[rnd.IntN(2)]
	in := opInput{kind: opInvoke, key: who + "/" + profile}
	r.mu.Lock()
	if ids := r.known[in.key]; len(ids) > 0 && rnd.IntN(3) > 0 {
		if in.kind = opCheck; profile == "prod" && rnd.IntN(10) == 0 {
			in.kind = opClose
		}
		in.id = ids[max(0, len(ids)-1-rnd.IntN(2))]
	}
	r.mu.Unlock()
	in.call = time.Now().UTC()
	out, err := perform(t, r.c, in, who, profile, 1+rnd.IntN(2))
	out.done = time.Now().UTC()
	if !assert.NoError(t, err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.kind == opInvoke && out.status == http.StatusCreated {
		r.known[in.key] = append(r.known[in.key], out.view.ID)
	}
	r.kinds[fmt.Sprintf("%d %d %s", in.kind, out.status, out.view.Status)]++
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Output: out,
		Call: in.call.UnixNano(), Return: out.done.UnixNano()})
	return true
}

// seen says whether every outcome of importance came up that often.
func (r *recorder) seen(times int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, outcome := range outcomes {
		if r.kinds[outcome] < times {
			return false
		}
	}
	return true
}

// outcomes are the kinds of operation, their status and the event's: all that
// the model tells apart.
var outcomes = []string{"0 201 active", "0 409 ", "1 200 closed", "1 409 ", "2 200 active", "2 200 closed", "2 200 expired"}

func perform(t *testing.T, c caller, in opInput, who, profile string, seconds int) (opOutput, error) {
	var a answer
	var err error
	switch in.kind {
	case opInvoke:
		a, err = c.invoke(t.Context(), who, profile, seconds)
	case opClose:
		a, err = c.close(t.Context(), who, in.id)
	default:
		a, err = c.do(t.Context(), who, http.MethodGet, "/v1/breakglass/"+in.id, "")
	}
	if err != nil {
		return opOutput{}, err
	}
	out := opOutput{status: a.status}
	switch a.status {
	case http.StatusOK, http.StatusCreated:
		out.view = decode[breakglass.View](t, a)
	case http.StatusConflict:
		out.other = decode[struct {
			ID string `json:"event_id"`
		}](t, a).ID
	default:
		err = fmt.Errorf("unexpected answer %d: %s", a.status, a.body)
	}
	return out, err
}

// serveOver runs the real API and service over a store.
func serveOver(t *testing.T, wrap func(breakglass.Store) breakglass.Store) caller {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "b.db"), sqlite.Options{})
	require.NoError(t, err)
	pol, err := policy.Parse("policy.yaml", []byte(openPolicy))
	require.NoError(t, err)
	auth, err := authn.New(people(4), nil)
	require.NoError(t, err)
	svc := breakglass.New(breakglass.Config{
		Store: wrap(st), Journal: st, Issuer: issuer.Dev{}, Directory: auth,
		Profiles: []breakglass.Profile{{Name: "prod"}, {Name: "staging"}},
		Policy:   func() (breakglass.Policy, error) { return pol, nil },
		Limits:   func() (breakglass.RateLimiter, error) { return ratelimit.None{}, nil },
		Sinks:    func(breakglass.EntryType, string) []string { return nil },
		Now:      time.Now,
	})
	h, err := api.New(api.Config{Service: svc, Authenticator: auth, Spec: spec.OpenAPI(), Log: slog.New(slog.DiscardHandler),
		RequestsPerCaller: fast, EmergencyCallsPerCaller: fast})
	require.NoError(t, err)
	server := httptest.NewServer(h)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { svc.Run(ctx) })
	c := newCaller(server.URL)
	t.Cleanup(func() {
		c.client.CloseIdleConnections()
		server.Close()
		cancel()
		wg.Wait()
		require.NoError(t, st.Close())
	})
	return c
}

func TestInvokeCloseAndExpireAreLinearizable(t *testing.T) {
	r := newRecorder(serveOver(t, func(s breakglass.Store) breakglass.Store { return s }))
	r.record(t, 8, time.Duration(rounds(4, 60))*time.Second, func() bool { return r.seen(20) })
	assert.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(eventModel, r.history, 2*time.Minute), "%d operations", len(r.history))
	assert.True(t, r.seen(20), "the history exercises everything: %v", r.kinds)
}

// faulty is a store with a bug planted in it.
type faulty struct {
	breakglass.Store
	mu    sync.Mutex
	calls int
	tx    func(f *faulty, tx breakglass.Tx) breakglass.Tx
	event func(f *faulty, ev breakglass.Event) breakglass.Event
}

func (f *faulty) Update(ctx context.Context, k breakglass.Keys, fn func(breakglass.Tx) error) error {
	if f.tx == nil {
		return f.Store.Update(ctx, k, fn)
	}
	return f.Store.Update(ctx, k, func(tx breakglass.Tx) error { return fn(f.tx(f, tx)) })
}

func (f *faulty) Event(ctx context.Context, id string) (breakglass.Event, error) {
	ev, err := f.Store.Event(ctx, id)
	if err == nil && f.event != nil {
		ev = f.event(f, ev)
	}
	return ev, err
}

// every reports true for each nth call.
func (f *faulty) every(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	return f.calls%n == 0
}

type faultyTx struct {
	breakglass.Tx
	find func(ev *breakglass.Event) *breakglass.Event
	get  func(ev breakglass.Event) breakglass.Event
	put  func(ev breakglass.Event) (breakglass.Event, bool)
}

func (x faultyTx) FindActiveByInvokerAndProfile(invoker, profile string) (*breakglass.Event, error) {
	ev, err := x.Tx.FindActiveByInvokerAndProfile(invoker, profile)
	if x.find != nil && ev != nil {
		ev = x.find(ev)
	}
	return ev, err
}

func (x faultyTx) Event(id string) (breakglass.Event, error) {
	ev, err := x.Tx.Event(id)
	if x.get != nil && err == nil {
		ev = x.get(ev)
	}
	return ev, err
}

func (x faultyTx) PutEvent(ev breakglass.Event) error {
	if x.put != nil {
		var keep bool
		if ev, keep = x.put(ev); !keep {
			return nil
		}
	}
	return x.Tx.PutEvent(ev)
}

// TestTheCheckerCatchesPlantedBugs shows that the test above can fail.
func TestTheCheckerCatchesPlantedBugs(t *testing.T) {
	var mu sync.Mutex
	stale := map[string]breakglass.Event{}
	bugs := map[string]*faulty{
		"an active event taken for a lapsed one": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, find: func(ev *breakglass.Event) *breakglass.Event {
				if f.every(10) {
					early := *ev
					early.ExpiresAt = early.CreatedAt
					return &early
				}
				return ev
			}}
		}},
		"a close that is acknowledged but lost": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				return ev, ev.Status != breakglass.StatusClosed || !f.every(5)
			}}
		}},
		"an invocation that is acknowledged but lost": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, put: func(ev breakglass.Event) (breakglass.Event, bool) {
				if ev.Status == breakglass.StatusActive && f.every(5) {
					ev.Status, ev.ClosedAt = breakglass.StatusClosed, ev.CreatedAt
				}
				return ev, true
			}}
		}},
		"closing twice": {tx: func(f *faulty, tx breakglass.Tx) breakglass.Tx {
			return faultyTx{Tx: tx, get: func(ev breakglass.Event) breakglass.Event {
				if ev.Status == breakglass.StatusClosed && time.Now().Before(ev.ExpiresAt) {
					ev.Status = breakglass.StatusActive
				}
				return ev
			}}
		}},
		"a check that reads an old copy": {event: func(_ *faulty, ev breakglass.Event) breakglass.Event {
			mu.Lock()
			defer mu.Unlock()
			if old, ok := stale[ev.ID]; ok {
				return old
			}
			stale[ev.ID] = ev
			return ev
		}},
		"an event that ends half a second late": {event: func(_ *faulty, ev breakglass.Event) breakglass.Event {
			if ev.Status != breakglass.StatusClosed {
				ev.Status, ev.ExpiresAt = breakglass.StatusActive, ev.ExpiresAt.Add(500*time.Millisecond)
			}
			return ev
		}},
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(serveOver(t, func(s breakglass.Store) breakglass.Store { bug.Store = s; return bug }))
			// Each piece ends with every call answered, and is long enough for an
			// event to end in it; the first in which the bug shows is the last.
			result := porcupine.Ok
			for begun := time.Now(); result != porcupine.Illegal && time.Since(begun) < 2*patience; {
				r.record(t, 8, 1500*time.Millisecond, func() bool { return true })
				result = porcupine.CheckOperationsTimeout(eventModel, r.history, patience)
			}
			assert.Equal(t, porcupine.Illegal, result, "%d operations: %v", len(r.history), r.kinds)
		})
	}
}
