package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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
	"breakglass/internal/testenv/teststore"
)

// The history of one (invoker, profile) is checked against a model of one
// event at a time. Time is part of it: the server's clock is this process's, so
// that the instant at which an operation took effect lies between its call and
// its return, and an event ends at the expires_at that the server gave it.

// crowd is how many people the servers of these tests know.
const crowd = 400

// keys is among how many people the clients choose, on two profiles each.
const keys = 4

type opKind int

const (
	opInvoke opKind = iota
	opClose
	opCheck
	opExtend // by a second
)

type opInput struct {
	kind opKind
	key  string // invoker and profile
	id   string // of close and check
	call time.Time
	tag  string // of invoke and close: in the event's own words, to recognise it by
}

type opOutput struct {
	status int
	view   breakglass.View
	other  string // the event in the way of a refused invocation
	done   time.Time
}

// modelState is the newest event, and what became of it.
type modelState struct {
	id       string
	expires  time.Time
	closed   bool
	extended int // how often
}

// mostExtensions is how often the policy of these tests lets an event be extended.
const mostExtensions = 3

func (s modelState) activeAt(t time.Time) bool { return s.id != "" && !s.closed && t.Before(s.expires) }

// step says whether the output is right in the state, and what comes next.
func step(s modelState, in opInput, out opOutput) (bool, modelState) {
	switch {
	case out.status == http.StatusNotFound: // an event that was acknowledged is gone
		return false, s
	case in.kind == opInvoke:
		if out.status == http.StatusConflict {
			return s.id == out.other && s.activeAt(in.call), s
		}
		within := !out.view.CreatedAt.Before(in.call.Truncate(time.Microsecond)) && !out.view.CreatedAt.After(out.done)
		return within && !s.activeAt(out.view.CreatedAt), modelState{id: out.view.ID, expires: out.view.ExpiresAt}
	case in.kind == opExtend:
		return s.extend(in, out)
	case in.kind == opClose:
		if out.status == http.StatusOK {
			s2 := s
			s2.closed = true
			return s.id == in.id && s.activeAt(in.call) && out.view.ClosedAt.Before(s.expires), s2
		}
		return s.id != in.id || s.closed || !s.activeAt(out.done), s
	default:
		switch out.view.Status {
		case breakglass.StatusActive:
			same := out.view.ExpiresAt.Equal(s.expires) && out.view.Extensions == s.extended
			return s.id == in.id && s.activeAt(in.call) && same, s
		case breakglass.StatusClosed:
			return s.id != in.id || s.closed, s
		default: // expired
			return s.id != in.id || !s.closed && !s.activeAt(out.done), s
		}
	}
}

// extend says the same of an extension.
func (s modelState) extend(in opInput, out opOutput) (bool, modelState) {
	switch out.status {
	case http.StatusConflict:
		return s.id != in.id || s.closed || !s.activeAt(out.done), s
	case http.StatusForbidden:
		return s.id == in.id && s.extended == mostExtensions, s
	}
	before := s
	s.expires, s.extended = s.expires.Add(time.Second), s.extended+1
	ok := before.id == in.id && before.activeAt(in.call) && within(out.view.UpdatedAt, in.call, out.done) && out.view.UpdatedAt.Before(before.expires)
	return ok && before.extended < mostExtensions && out.view.ExpiresAt.Equal(s.expires) && out.view.Extensions == s.extended, s
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
	servers interface{ at(i int) caller }
	mu      sync.Mutex
	history []porcupine.Operation
	known   map[string][]string // ids by key, the newest last
	kinds   map[string]int      // how often each kind of operation had each outcome
	lossy   *lossy              // what is known of calls without an answer; nil: each must have one
	keys    func() int          // the first of the people to choose from; nil: 0
	broken  bool                // the store may refuse what a planted bug would write
	closing int                 // how many of the operations on a known event there are for each close
	tags    atomic.Int64
}

func newRecorder(servers ...caller) *recorder {
	return &recorder{servers: cluster(servers), closing: 10, known: map[string][]string{}, kinds: map[string]int{}}
}

// record lets the clients work for that long, and then until enough of them,
// asked once in a while, says so; it may take patience in all.
func (r *recorder) record(t *testing.T, clients int, atLeast time.Duration, enough func() bool) {
	t.Helper()
	hammer(clients, uint64(len(r.history)), atLeast, enough, func(client int, rnd *rand.Rand) bool { return r.one(t, client, rnd) })
}

// hammer has the clients do one thing after the other for that long, and then
// until enough says so; it may take patience in all.
func hammer(clients int, piece uint64, atLeast time.Duration, enough func() bool, one func(client int, rnd *rand.Rand) bool) {
	begun := time.Now()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(client), piece)) // which operation comes next is no secret
			for !stop.Load() && one(client, rnd) {
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
	first := 0
	if r.keys != nil {
		first = r.keys()
	}
	who, profile := user(first+rnd.IntN(keys)), []string{"prod", "staging"}[rnd.IntN(2)]
	in := opInput{kind: opInvoke, key: who + "/" + profile, tag: fmt.Sprintf("call %d of the recorder", r.tags.Add(1))}
	r.mu.Lock()
	if ids := r.known[in.key]; len(ids) > 0 && rnd.IntN(3) > 0 {
		if in.kind = opCheck; profile == "prod" && rnd.IntN(r.closing) == 0 {
			in.kind = opClose
		}
		if r.lossy == nil && rnd.IntN(8) == 0 { // whether a lost one took effect can't be told by its own words
			in.kind = opExtend
		}
		in.id = ids[max(0, len(ids)-1-rnd.IntN(2))]
	}
	r.mu.Unlock()
	in.call = time.Now().UTC()
	out, err := perform(t, r.servers.at(rnd.IntN(60)), in, who, profile, 1+rnd.IntN(2))
	out.done = time.Now().UTC()
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: in.call.UnixNano(), Return: out.done.UnixNano()}
	if r.lossy != nil && err != nil {
		r.lossy.add(op, err)
		return true
	}
	if r.broken && unmadeBy(err) {
		return true
	}
	if !assert.NoError(t, err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.kind == opInvoke && out.status == http.StatusCreated {
		r.known[in.key] = append(r.known[in.key], out.view.ID)
	}
	r.kinds[fmt.Sprintf("%d %d %s", in.kind, out.status, out.view.Status)]++
	r.history = append(r.history, op)
	return true
}

// unmadeBy reports an answer by which nothing was changed, for want of the store.
func unmadeBy(err error) bool {
	var refused *refusedAnswer
	return errors.As(err, &refused) && refused.status == http.StatusServiceUnavailable
}

// seen says whether every outcome of importance came up that often.
func (r *recorder) seen(times int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := outcomes
	if r.lossy == nil {
		wanted = append(slices.Clone(outcomes), extensions...)
	}
	for _, outcome := range wanted {
		if r.kinds[outcome] < times {
			return false
		}
	}
	return true
}

// outcomes are the kinds of operation, their status and the event's: all that
// the model tells apart.
var outcomes = []string{"0 201 active", "0 409 ", "1 200 closed", "1 409 ", "2 200 active", "2 200 closed", "2 200 expired"}

// extensions are those of an extension, where there are such.
var extensions = []string{"3 200 active", "3 403 ", "3 409 "}

func perform(t *testing.T, c caller, in opInput, who, profile string, seconds int) (opOutput, error) {
	var a answer
	var err error
	switch in.kind {
	case opInvoke:
		a, err = c.do(t.Context(), who, http.MethodPost, "/v1/breakglass", strings.Replace(invocation(profile, seconds), justification, in.tag, 1))
	case opClose:
		a, err = c.do(t.Context(), who, http.MethodPost, "/v1/breakglass/"+in.id+"/close", fmt.Sprintf(`{"reason":%q}`, in.tag))
	case opExtend:
		a, err = c.do(t.Context(), who, http.MethodPost, "/v1/breakglass/"+in.id+"/extend", fmt.Sprintf(`{"justification":%q,"duration_seconds":1}`, in.tag+", which takes longer"))
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
	case http.StatusForbidden:
		if a.code() != string(breakglass.CodeExtensionRefused) {
			err = &refusedAnswer{a}
		}
	case http.StatusNotFound:
		if in.kind == opInvoke {
			err = fmt.Errorf("unexpected answer %d: %s", a.status, a.body)
		}
	default:
		err = &refusedAnswer{a}
	}
	return out, err
}

// serveOver runs the real API and service over a store of its own.
func serveOver(t *testing.T, wrap func(breakglass.Store) breakglass.Store, change ...func(*breakglass.Config)) caller {
	t.Helper()
	return serveOn(t, teststore.Open(t, t.TempDir()), wrap, change...)
}

func serveOn(t *testing.T, st teststore.Store, wrap func(breakglass.Store) breakglass.Store, change ...func(*breakglass.Config)) caller {
	t.Helper()
	pol, err := policy.Parse("policy.yaml", []byte(strings.Replace(openPolicy, "}", fmt.Sprintf(", max_extensions: %d}", mostExtensions), 1)))
	require.NoError(t, err)
	auth, err := authn.New(people(crowd), nil)
	require.NoError(t, err)
	cfg := breakglass.Config{
		Store: wrap(st), Journal: st, Issuer: issuer.Dev{}, Directory: auth,
		Profiles: []breakglass.Profile{{Name: "prod"}, {Name: "staging"}},
		Policy:   func() (breakglass.Policy, error) { return pol, nil },
		Limits:   func() (breakglass.RateLimiter, error) { return ratelimit.None{}, nil },
		Sinks:    func(breakglass.EntryType, string) []string { return nil },
		Now:      time.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	svc := breakglass.New(cfg)
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

func TestInvokeExtendCloseAndExpireAreLinearizable(t *testing.T) {
	r := newRecorder(serveOver(t, func(s breakglass.Store) breakglass.Store { return s }))
	r.record(t, 8, time.Duration(rounds(4, 60))*time.Second, func() bool { return r.seen(20) })
	assert.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(eventModel, r.history, 2*time.Minute), "%d operations", len(r.history))
	assert.True(t, r.seen(20), "the history exercises everything: %v", r.kinds)
}
