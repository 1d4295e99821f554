package api_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

type feedPage struct {
	Items      []breakglass.LogEntry
	NextCursor string `json:"next_cursor"`
}

func (s *server) feed(t testing.TB, path string) (feedPage, answer) {
	t.Helper()
	var p feedPage
	a := s.call(t, request{method: "GET", path: path, as: auditor})
	a.into(200, &p)
	assert.NotEmpty(t, p.NextCursor)
	assert.Contains(t, a.next(), "after="+p.NextCursor)
	return p, a
}

func TestAReaderOfTheFeedSeesEveryEntryOnceInOrder(t *testing.T) {
	s := start(t, options{})
	for range 5 {
		ev := s.invoke(t, alice, "prod", `justification="Ünïcödé <b>&amp;</b> 🔥 \\ \"quoted\" text"`)
		s.call(t, request{method: "POST", path: "/v1/breakglass/" + ev.ID + "/close", as: alice, body: `{"reason":"x"}`})
	}
	var seq []int64
	prev := audit.GenesisHash
	path := "/v1/events?limit=3"
	for {
		p, a := s.feed(t, path)
		if len(p.Items) == 0 {
			break
		}
		for _, e := range p.Items {
			seq = append(seq, e.Seq)
			assert.Equal(t, prev, e.PrevHash)
			assert.Equal(t, audit.Hash(e), e.Hash, "the entry as served is the entry as sealed")
			prev = e.Hash
		}
		path = a.next()
	}
	assert.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, seq)

	p, _ := s.feed(t, "/v1/events?event=breakglass.closed&invoker=alice%40example.com&profile=prod&since=2026-01-01T00:00:00Z")
	assert.Len(t, p.Items, 5)
	assert.Equal(t, "10", p.NextCursor)
	p, _ = s.feed(t, "/v1/events?event=credentials.denied")
	assert.Empty(t, p.Items)
	assert.Equal(t, "10", p.NextCursor, "the trail was searched to its end")
}

func TestALongPollAnswersAsSoonAsThereIsSomething(t *testing.T) {
	s := start(t, options{})
	s.invoke(t, alice, "prod")
	got := make(chan feedPage)
	go func() {
		p, _ := s.feed(t, "/v1/events?after=1&wait=60s")
		got <- p
	}()
	s.awaitInFlight(t)
	s.invoke(t, bob, "prod")
	select {
	case p := <-got:
		require.Len(t, p.Items, 1)
		assert.Equal(t, bob, p.Items[0].Invoker)
	case <-time.After(5 * time.Second):
		t.Fatal("the poll sleeps on")
	}
}

// awaitInFlight waits until a request besides this look is being served.
func (s *server) awaitInFlight(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		return s.metric(t, `breakglass_http_requests_in_flight`) >= 2
	}, 5*time.Second, 2*time.Millisecond)
}

func TestALongPollWithNothingNewEndsWithAnEmptyPage(t *testing.T) {
	s := start(t, options{})
	begin := time.Now()
	p, a := s.feed(t, "/v1/events?wait=1s")
	assert.Empty(t, p.Items)
	assert.Equal(t, "0", p.NextCursor)
	assert.Equal(t, "/v1/events?wait=1s&after=0", a.next())
	assert.GreaterOrEqual(t, time.Since(begin), time.Second)
}

func TestAShutdownEndsLongPollsAtOnceAndFinishesWhatItAccepted(t *testing.T) {
	s := start(t, options{})
	got := make(chan feedPage, 1)
	go func() {
		defer close(got) // also when the call fails the test
		p, _ := s.feed(t, "/v1/events?wait=60s")
		got <- p
	}()
	s.awaitInFlight(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- s.http.Shutdown(ctx) }()
	p := <-got
	assert.Empty(t, p.Items)
	require.NoError(t, <-done)
}

func TestACallerWhoHangsUpEndsTheLongPoll(t *testing.T) {
	s := start(t, options{})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/events?wait=60s", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+tokenOf(auditor))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	s.awaitInFlight(t)
	cancel()
	<-done
	require.Eventually(t, func() bool { return s.metric(t, `breakglass_http_requests_in_flight`) == 1 }, 5*time.Second, 2*time.Millisecond)
}

// The deadlines of the connection are shorter than the wait here: without
// moving them the poll would be cut.
func TestALongPollOutlivesTheDeadlinesOfItsConnection(t *testing.T) {
	s := startWithTimeouts(t, 200*time.Millisecond)
	begin := time.Now()
	p, _ := s.feed(t, "/v1/events?wait=1s")
	assert.Empty(t, p.Items)
	assert.GreaterOrEqual(t, time.Since(begin), time.Second, "the wait was not cut short")
	s.feed(t, "/v1/events") // the connection is still good, or a new one works
}

func TestDrainedServersAnswerLongPollsWithoutWaiting(t *testing.T) {
	s := start(t, options{})
	s.invoke(t, alice, "prod")
	s.handler.Drain()
	p, _ := s.feed(t, "/v1/events?wait=60s")
	assert.Len(t, p.Items, 1)
	a := s.call(t, request{method: "GET", path: "/readyz"})
	assert.Equal(t, 503, a.status)
	assert.Contains(t, string(a.body), "shutting down")
}

func TestLongPollsWorkOverHTTP2(t *testing.T) {
	s := start(t, options{})
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = api.NewServer(s.handler, logTo(s.log), s.handler.Drain)
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/v1/events?wait=1s", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+tokenOf(auditor))
	begin := time.Now()
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/2.0", resp.Proto)
	assert.JSONEq(t, `{"items":[],"next_cursor":"0"}`, string(body))
	assert.GreaterOrEqual(t, time.Since(begin), time.Second)
}
