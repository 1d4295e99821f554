package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// front is where callers find the server that runs at the moment. While it is
// being replaced they wait.
type front struct {
	mu sync.RWMutex
	c  caller
}

func (f *front) caller() caller {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.c
}

// replace changes the server by what f does.
func (f *front) replace(with func() caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.c = with()
}

// reader follows next_cursor, whatever happens in between.
type reader struct {
	query string
	wants func(e breakglass.LogEntry) bool
	seqs  []int64
}

// follow reads until the trail was searched up to the end.
func (r *reader) follow(t *testing.T, f *front, end *atomic.Int64) {
	for after := "0"; ; {
		if last := end.Load(); last > 0 {
			if n, err := strconv.ParseInt(after, 10, 64); !assert.NoError(t, err) || n >= last {
				return
			}
		}
		a, err := f.caller().do(t.Context(), "sam", http.MethodGet, "/v1/events?after="+after+"&"+r.query, "")
		if t.Context().Err() != nil {
			return
		}
		if err != nil || a.status != http.StatusOK {
			continue // the server is being replaced
		}
		p := decode[page[breakglass.LogEntry]](t, a)
		for _, e := range p.Items {
			r.seqs = append(r.seqs, e.Seq)
		}
		after = p.Next
	}
}

// readers are one for each way to read the feed. since is when some of what
// they read had happened.
func readers(since time.Time) []*reader {
	all := func(breakglass.LogEntry) bool { return true }
	is := func(typ breakglass.EntryType, who, profile string) func(e breakglass.LogEntry) bool {
		return func(e breakglass.LogEntry) bool {
			return (typ == "" || e.Event == typ) && (who == "" || e.Invoker == who) && (profile == "" || e.Profile == profile)
		}
	}
	return []*reader{
		{query: "limit=1", wants: all},
		{query: "limit=7&wait=1s", wants: all},
		{query: "wait=60s", wants: all},
		{query: "limit=1000&wait=2s", wants: all},
		{query: "limit=3&wait=5s&event=breakglass.invoked", wants: is(breakglass.EntryInvoked, "", "")},
		{query: "wait=1s&event=breakglass.expired", wants: is(breakglass.EntryExpired, "", "")},
		{query: "limit=2&wait=1s&invoker=" + user(3), wants: is("", user(3), "")},
		{query: "limit=10&wait=1s&profile=prod", wants: is("", "", "prod")},
		{query: "limit=1&wait=1s&event=credentials.issued&profile=prod&invoker=" + user(5), wants: is(breakglass.EntryCredentialsIssued, user(5), "prod")},
		{query: "limit=5&wait=1s&since=" + url.QueryEscape(since.Format(time.RFC3339Nano)),
			wants: func(e breakglass.LogEntry) bool { return !e.Timestamp.Before(since) }},
	}
}

// firstDifference says where two long lists part; empty when they don't.
func firstDifference(want, got []int64) string {
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			end := func(s []int64) []int64 { return s[min(i, len(s)):min(i+3, len(s))] }
			return fmt.Sprintf("at position %d of %d: want %v…, got %v… of %d", i, len(want), end(want), end(got), len(got))
		}
	}
	return ""
}

// expired waits until the trail tells of that many expiries.
func (c caller) expired(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		a, err := c.do(t.Context(), "sam", http.MethodGet, "/v1/events?limit=1000&event="+string(breakglass.EntryExpired), "")
		return err == nil && a.status == http.StatusOK && len(decode[page[breakglass.LogEntry]](t, a).Items) >= n
	}, patience, 20*time.Millisecond, "events don't expire")
}

func TestPromise08TheFeedIsComplete(t *testing.T) {
	c := newConfig(t, t.TempDir(), openPolicy, "")
	c.Profiles["db"], c.Profiles["edge"] = c.Profiles["prod"], c.Profiles["prod"]
	s := start(t, c)
	f := &front{c: s.http}
	acks := newAcknowledged()
	people := engineers(16, 8, acks)

	// Something for each reader, however few of the engineers get to work: an
	// event that ends by itself, and those that two of the readers are after.
	s.http.must(t, 201, user(40), http.MethodPost, "/v1/breakglass", invocation("prod", 1))
	for _, who := range []string{user(3), user(5)} {
		ev := decode[breakglass.View](t, s.http.must(t, 201, who, http.MethodPost, "/v1/breakglass", invocation("prod", 3600)))
		s.http.must(t, 200, who, http.MethodPost, "/v1/breakglass/"+ev.ID+"/credentials", "")
		s.http.must(t, 200, who, http.MethodPost, "/v1/breakglass/"+ev.ID+"/close", `{"reason":"over"}`)
	}
	before := s.http.feed(t, "0")

	following := readers(before[len(before)/2].Timestamp)
	var end atomic.Int64
	var reading sync.WaitGroup
	for _, r := range following {
		reading.Go(func() { r.follow(t, f, &end) })
	}
	// The engineers work until their server goes away under them.
	for range 3 {
		reached := acks.after(250)
		var working sync.WaitGroup
		working.Go(func() { each(people, func(e *engineer) { e.run(t.Context(), s.http) }) })
		<-reached
		f.replace(func() caller {
			s.stop(t)
			s = start(t, c)
			return s.http
		})
		working.Wait()
		require.Empty(t, acks.faults)
	}
	each(people, func(e *engineer) { assert.NoError(t, e.settle(t.Context(), s.http)) })
	s.http.expired(t, 1)
	entries := s.http.feed(t, "0")
	end.Store(int64(len(entries)))
	// One more entry wakes whoever waits.
	s.http.must(t, 201, user(63), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
	reading.Wait()

	verify(t, entries)
	for _, r := range following {
		var want []int64
		for i, e := range entries {
			require.Equal(t, int64(i+1), e.Seq, "a gap in the trail")
			if r.wants(e) {
				want = append(want, e.Seq)
			}
		}
		assert.NotEmpty(t, want, "%s selects nothing", r.query)
		got := r.seqs
		for len(got) > 0 && got[len(got)-1] > int64(len(entries)) {
			got = got[:len(got)-1] // written while the others were still reading
		}
		assert.Empty(t, firstDifference(want, got), "reader %s", r.query)
	}
	t.Logf("%d entries, %d readers", len(entries), len(following))
}
