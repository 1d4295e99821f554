package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// bounded is how long a call may take while the table can't be reached: the 20
// seconds that the API gives a call, and something for a machine that is busy.
const bounded = 25 * time.Second

// operation is a call of the API, prepared so that it would succeed.
type operation struct {
	name, as, method, path, body string
}

// operations are one of each kind, each on somebody of its own.
func operations(t *testing.T, c caller) []operation {
	t.Helper()
	event := func(who string) string {
		t.Helper()
		return decode[breakglass.View](t, c.must(t, 201, who, http.MethodPost, "/v1/breakglass", invocation("prod", 3600))).ID
	}
	return []operation{
		{"invoke", user(10), http.MethodPost, "/v1/breakglass", invocation("prod", 3600)},
		{"close", user(11), http.MethodPost, "/v1/breakglass/" + event(user(11)) + "/close", `{"reason":"over"}`},
		{"credentials", user(12), http.MethodPost, "/v1/breakglass/" + event(user(12)) + "/credentials", ""},
		{"check", user(13), http.MethodGet, "/v1/breakglass/" + event(user(13)), ""},
		{"own events", user(13), http.MethodGet, "/v1/breakglass", ""},
		{"active events", "sam", http.MethodGet, "/v1/breakglass?status=active", ""},
		{"feed", "sam", http.MethodGet, "/v1/events", ""},
		{"poll", "sam", http.MethodGet, fmt.Sprintf("/v1/events?after=%d&wait=1s", len(c.feed(t, "0"))), ""},
	}
}

// truthful checks an answer that was given while the table could not be
// reached, or not well.
func (o operation) truthful(t *testing.T, a answer, err error, took time.Duration) {
	t.Helper()
	if !assert.NoError(t, err, "%s: no answer", o.name) {
		return
	}
	assert.Less(t, took, bounded, "%s", o.name)
	if a.status < 300 {
		return
	}
	assert.Equal(t, 503, a.status, "%s: %s", o.name, a.body)
	assert.Equal(t, "unavailable", a.code(), o.name)
	assert.NotEmpty(t, a.header.Get("Retry-After"), o.name)
	if o.method == http.MethodPost {
		assert.True(t, a.nothingChanged() || a.saysUnknown(), "%s: does the answer say whether the change was made? %s", o.name, a.body)
	}
	assert.NotContains(t, string(a.body), "127.0.0.1", "internal causes are for the log")
}

// saysUnknown reports an answer that says that the change may have been made.
func (a answer) saysUnknown() bool {
	return strings.Contains(string(a.body), "did not say whether the change was made") ||
		strings.Contains(string(a.body), "unless a later look-up shows it")
}

// TestReplicasEachFaultForEachOperation breaks the connection between a server
// and its table in each way, under each operation.
func TestReplicasEachFaultForEachOperation(t *testing.T) {
	hook := newReceiver(t, nil)
	faults := []struct {
		name string
		do   func(p *testenv.FaultProxy, l *loser)
	}{
		{"latency", func(p *testenv.FaultProxy, _ *loser) { p.Latency(400 * time.Millisecond) }},
		{"latency beyond the limit of a call", func(p *testenv.FaultProxy, _ *loser) { p.Latency(5 * time.Second) }},
		{"reset", func(p *testenv.FaultProxy, _ *loser) { p.Reset() }},
		{"cut before the answer", func(p *testenv.FaultProxy, _ *loser) { p.Cut(0) }},
		{"cut within the answer", func(p *testenv.FaultProxy, _ *loser) { p.Cut(200) }},
		{"slow", func(p *testenv.FaultProxy, _ *loser) { p.Slow(1) }},
		{"timeout", func(p *testenv.FaultProxy, _ *loser) { p.Timeout() }},
		{"down", func(p *testenv.FaultProxy, _ *loser) { p.Down() }},
		{"answers to writes lost", func(_ *testenv.FaultProxy, l *loser) { l.loses(func(int) bool { return true }) }},
		{"answers to writes never given", func(_ *testenv.FaultProxy, l *loser) { l.change(true, false); l.loses(func(int) bool { return true }) }},
	}
	t.Setenv(hookEnv, hookSecret())
	for _, f := range faults {
		c := onTable(t, withSinks(t, hook.hook("siem")))
		l := newLoser(t, c.Store.DynamoDB.Endpoint)
		p := testenv.Proxy(t, l.URL)
		c.Store.DynamoDB.Endpoint = p.URL()
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // most of the time is spent waiting
			survives(t, start(t, c, impatient), func() { f.do(p, l) }, func() { p.Heal(); l.loses(nil) })
		})
	}
}

// survives makes each call under a fault and again after it.
func survives(t *testing.T, s *server, fault, heal func()) {
	ops := operations(t, s.http)
	for i := range 3 { // these end in the middle of it
		s.http.must(t, 201, user(20+i), http.MethodPost, "/v1/breakglass", invocation("prod", 1))
	}
	fault()
	over := time.After(2 * time.Second) // expiries and notifications have to meet it, too
	answers := make([]answer, len(ops))
	var calls sync.WaitGroup
	for i, o := range ops {
		calls.Go(func() {
			begun := time.Now()
			a, err := s.http.do(t.Context(), o.as, o.method, o.path, o.body, "Idempotency-Key", "the-key")
			answers[i] = a
			o.truthful(t, a, err, time.Since(begun))
			t.Logf("%s: %d after %s %s", o.name, a.status, time.Since(begun).Round(time.Millisecond), a.code())
		})
	}
	calls.Wait()
	<-over
	heal()
	require.Eventually(t, func() bool { // recovery without a restart
		a, err := s.http.do(t.Context(), "nobody", http.MethodGet, "/readyz", "")
		return err == nil && a.status == 200
	}, patience, 10*time.Millisecond, "never ready again")

	before := s.http.allEvents(t)
	for i, o := range ops {
		first := answers[i]
		a, err := s.http.do(t.Context(), o.as, o.method, o.path, o.body, "Idempotency-Key", "the-key")
		require.NoError(t, err)
		switch {
		case o.name == "close" && a.status == 409: // the first call had closed it after all
			assert.False(t, first.nothingChanged(), "it had been closed: %s", first.body)
		case o.name == "invoke":
			require.Equal(t, 201, a.status, "%s", a.body)
			id := decode[breakglass.View](t, a).ID
			_, made := before[id]
			if first.status == 201 {
				assert.Equal(t, decode[breakglass.View](t, first).ID, id, "a second event")
			}
			assert.False(t, made && first.nothingChanged(), "it had been made: %s", first.body)
			assert.Equal(t, made, a.header.Get("Idempotency-Replayed") == "true")
		default:
			assert.Less(t, a.status, 300, "%s: %s", o.name, a.body)
		}
	}
	consistent(t, s.http, 3)
	require.Eventually(t, func() bool { return s.http.waiting(t, "siem") == 0 }, 3*patience, 20*time.Millisecond, "notifications are stuck")
}

// consistent checks that the events and the trail tell the same story, in which
// n events have expired once each.
func consistent(t *testing.T, c caller, n int) {
	t.Helper()
	tr := newTrail()
	require.Eventually(t, func() bool {
		tr.catchUp(t, c)
		return len(ofType(tr.entries, breakglass.EntryExpired)) >= n
	}, patience, 20*time.Millisecond, "events don't expire")
	_, err := tr.verifier.Finish()
	require.NoError(t, err)
	books := newLedger()
	books.fold(t, tr.entries)
	stored := map[string]breakglass.Status{}
	for id, ev := range c.allEvents(t) {
		stored[id] = ev.Status
	}
	assert.Equal(t, books.status, stored, "the store and the trail disagree")
	assert.Len(t, ofType(tr.entries, breakglass.EntryExpired), n)
}

// What DynamoDB has written although its answer was lost is one event, and the
// caller learns which.
func TestReplicasALostAnswerMakesNoSecondEvent(t *testing.T) {
	serve := func(t *testing.T, change ...func(*app.Options)) (*server, *loser) {
		c := onTable(t, newConfig(t, t.TempDir(), openPolicy, ""))
		l := newLoser(t, c.Store.DynamoDB.Endpoint)
		c.Store.DynamoDB.Endpoint = l.URL
		return start(t, c, change...), l
	}
	invoke := func(t *testing.T, s *server) answer {
		t.Helper()
		a, err := s.http.invoke(t.Context(), user(0), "prod", 3600, "Idempotency-Key", "the-key")
		require.NoError(t, err)
		return a
	}
	for name, hang := range map[string]bool{"cut off": false, "never given": true} {
		t.Run("once, "+name, func(t *testing.T) {
			s, l := serve(t)
			l.change(hang, false)
			l.loses(func(n int) bool { return n == 1 })
			a := invoke(t, s)
			require.Equal(t, 201, a.status, "%s", a.body)
			writes, tokens := l.repeated()
			assert.Equal(t, 2, writes)
			assert.Equal(t, 1, tokens, "DynamoDB recognises a repetition by its token")
			assert.Len(t, s.http.allEvents(t), 1)
			consistent(t, s.http, 0)
		})
		t.Run("for good, "+name, func(t *testing.T) {
			s, l := serve(t)
			l.change(hang, false)
			l.loses(func(int) bool { return true })
			a := invoke(t, s)
			assert.Equal(t, 503, a.status, "%s", a.body)
			assert.True(t, a.saysUnknown(), "%s", a.body)
			assert.NotEmpty(t, a.header.Get("Retry-After"))
			_, tokens := l.repeated()
			assert.Equal(t, 1, tokens)
			l.loses(nil)
			again := invoke(t, s)
			require.Equal(t, 201, again.status, "%s", again.body)
			assert.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
			events := s.http.allEvents(t)
			assert.Len(t, events, 1)
			assert.Contains(t, events, decode[breakglass.View](t, again).ID)
			consistent(t, s.http, 0)
		})
	}
	// DynamoDB forgets a token after ten minutes; then the trail tells.
	t.Run("and the token forgotten", func(t *testing.T) {
		s, l := serve(t)
		l.change(false, true)
		l.loses(func(n int) bool { return n == 1 })
		ev := decode[breakglass.View](t, s.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600)))
		assert.Len(t, s.http.allEvents(t), 1)
		l.loses(func(n int) bool { return n == 1 })
		s.http.must(t, 200, user(0), http.MethodPost, "/v1/breakglass/"+ev.ID+"/close", `{"reason":"over"}`)
		consistent(t, s.http, 0)
	})
}
