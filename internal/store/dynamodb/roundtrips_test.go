package dynamodb

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// counter is a proxy that counts the calls that pass through it, by operation.
type counter struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[string]int
}

func newCounter(t testing.TB, endpoint string) *counter {
	t.Helper()
	upstream, err := url.Parse(endpoint)
	require.NoError(t, err)
	c := &counter{calls: map[string]int{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host }}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		c.mu.Lock()
		c.calls[operation]++
		c.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// of counts what f calls.
func (c *counter) of(t testing.TB, f func() error) map[string]int {
	t.Helper()
	c.mu.Lock()
	c.calls = map[string]int{}
	c.mu.Unlock()
	require.NoError(t, f())
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.calls
	c.calls = map[string]int{}
	return got
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sampleEvent(invoker, profile string, at time.Time) breakglass.Event {
	return breakglass.Event{ID: breakglass.NewID(), Invoker: invoker, RequestedBy: invoker, Profile: profile,
		ReasonCode: breakglass.ReasonIncident, Justification: "the primary database is down", DurationSeconds: 3600,
		Status: breakglass.StatusActive, CreatedAt: at, UpdatedAt: at, ExpiresAt: at.Add(time.Hour), RequestID: "req", PolicyRule: "open"}
}

func sampleEntry(typ breakglass.EntryType, e breakglass.Event, at time.Time) breakglass.LogEntry {
	return breakglass.LogEntry{Timestamp: at, Event: typ, EventID: e.ID, Actor: e.Invoker, Invoker: e.Invoker, Profile: e.Profile, Status: e.Status,
		ExpiresAt: e.ExpiresAt}
}

// invoke looks at everything that limits can ask for and writes what an
// invocation writes.
func invoke(t testing.TB, s *Store, e breakglass.Event) error {
	t.Helper()
	keys := breakglass.Keys{Invoker: e.Invoker, Profile: e.Profile, Caller: e.Invoker, Idempotency: e.ID}
	return s.Update(t.Context(), keys, func(tx breakglass.Tx) error {
		for _, look := range []func() error{
			func() error { _, err := tx.LatestEntryTime(); return err },
			func() error { _, err := tx.FindIdempotent(e.Invoker, e.ID); return err },
			func() error { _, err := tx.FindActiveByInvokerAndProfile(e.Invoker, e.Profile); return err },
			func() error { _, err := tx.GetLastByInvokerAndProfile(e.Invoker, e.Profile); return err },
			func() error {
				_, err := tx.CountByInvokerSince(e.Invoker, e.CreatedAt.Add(-24*time.Hour), 20)
				return err
			},
			func() error {
				_, err := tx.CountByProfileSince(e.Profile, e.CreatedAt.Add(-24*time.Hour), 50)
				return err
			},
			func() error { return tx.PutEvent(e) },
			func() error {
				return tx.PutIdempotent(breakglass.Idempotent{Caller: e.Invoker, Key: e.ID, EventID: e.ID, CreatedAt: e.CreatedAt})
			},
			func() error {
				return tx.Append(sampleEntry(breakglass.EntryInvoked, e, e.CreatedAt), &e, []string{"secops", "siem"})
			},
		} {
			if err := look(); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestFewCallsToDynamoDB holds docs/dynamodb.md: what each operation costs in
// calls, whatever the history.
func TestFewCallsToDynamoDB(t *testing.T) {
	o := newTable(t)
	c := newCounter(t, o.Endpoint)
	o.Endpoint, o.PollEvery = c.URL, time.Hour
	s := openTest(t, o)
	for i := range 150 { // more than one guard holds
		e := sampleEvent("alice", "prod", noon.Add(time.Duration(i)*time.Minute))
		e.Status = breakglass.StatusClosed
		require.NoError(t, invoke(t, s, e))
	}
	e := sampleEvent("alice", "prod", noon.Add(200*time.Minute))
	require.Equal(t, map[string]int{"BatchGetItem": 1, "TransactWriteItems": 1}, c.of(t, func() error { return invoke(t, s, e) }), "an invocation")
	require.Equal(t, map[string]int{"GetItem": 1}, c.of(t, func() error { _, err := s.Event(t.Context(), e.ID); return err }), "a check")
	head, err := s.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int{"GetItem": 1}, c.of(t, func() error { _, err := s.Head(t.Context()); return err }), "an empty poll")
	require.Equal(t, map[string]int{"Query": 1}, c.of(t, func() error {
		_, _, err := s.Entries(t.Context(), breakglass.EntryQuery{After: head - 5, Limit: 100})
		return err
	}), "a poll that finds something, after the look at the head")
	require.Equal(t, map[string]int{"BatchGetItem": 1, "TransactWriteItems": 1}, c.of(t, func() error {
		return s.Update(t.Context(), breakglass.Keys{EventID: e.ID}, func(tx breakglass.Tx) error {
			if _, err := tx.Event(e.ID); err != nil {
				return err
			}
			return tx.Append(sampleEntry(breakglass.EntryCredentialsIssued, e, noon), nil, nil)
		})
	}), "the record of credentials")
	require.Equal(t, map[string]int{"BatchGetItem": 2, "TransactWriteItems": 1}, c.of(t, func() error {
		return s.Update(t.Context(), breakglass.Keys{EventID: e.ID}, func(tx breakglass.Tx) error {
			ended, err := tx.Event(e.ID)
			if err != nil {
				return err
			}
			ended.Status = breakglass.StatusClosed
			if err := tx.PutEvent(ended); err != nil {
				return err
			}
			return tx.Append(sampleEntry(breakglass.EntryClosed, ended, noon), &ended, nil)
		})
	}), "a close")
	require.Equal(t, map[string]int{"Query": 1}, c.of(t, func() error { _, err := s.Agenda(t.Context(), 1); return err }), "a look of the sweeper")
}

// TestFewCallsForAccessRequests: what a decision needs comes in one read, when
// the pair is named beside the id or alone.
func TestFewCallsForAccessRequests(t *testing.T) {
	o := newTable(t)
	c := newCounter(t, o.Endpoint)
	o.Endpoint, o.PollEvery = c.URL, time.Hour
	s := openTest(t, o)
	r := sampleRequest("alice", "prod", noon)
	pair := pairOf(r)
	once := map[string]int{"BatchGetItem": 1, "TransactWriteItems": 1}
	entry := breakglass.LogEntry{Timestamp: noon, Event: breakglass.EntryRequestCreated, Actor: "alice", Profile: "prod"}
	require.Equal(t, once, c.of(t, func() error {
		return s.Update(t.Context(), breakglass.Keys{Requests: pair}, func(tx breakglass.Tx) error {
			_, err := tx.FindOpenRequests(pair)
			return errors.Join(err, tx.PutAccessRequest(r), tx.Append(entry, nil, nil))
		})
	}), "a request")
	look := func(keys breakglass.Keys, put bool) map[string]int {
		return c.of(t, func() error {
			return s.Update(t.Context(), keys, func(tx breakglass.Tx) error {
				var now breakglass.AccessRequest
				var err error
				if keys.RequestID != "" {
					now, err = tx.AccessRequest(r.ID)
				} else {
					var open breakglass.OpenRequests
					open, err = tx.FindOpenRequests(pair)
					now = *open.Pending
				}
				if put && err == nil {
					now.Sessions++
					err = tx.PutAccessRequest(now)
				}
				return errors.Join(err, tx.Append(entry, nil, nil))
			})
		})
	}
	require.Equal(t, once, look(breakglass.Keys{RequestID: r.ID}, false), "an entry about it")
	require.Equal(t, once, look(breakglass.Keys{RequestID: r.ID, Requests: pair}, true), "a change, named by id and pair")
	require.Equal(t, once, look(breakglass.Keys{Requests: pair}, true), "a change, named by its pair")
	require.Equal(t, map[string]int{"BatchGetItem": 2, "TransactWriteItems": 1}, look(breakglass.Keys{RequestID: r.ID}, true),
		"a change, named by its id alone: the pair is read when it is known")
	require.Equal(t, map[string]int{"BatchGetItem": 1}, c.of(t, func() error { _, err := s.Standing(t.Context(), pair); return err }), "what somebody has")
	e := sampleEvent("alice", "prod", noon)
	require.NoError(t, invoke(t, s, e))
	require.Equal(t, once, c.of(t, func() error {
		return s.Update(t.Context(), breakglass.Keys{EventID: e.ID, Invoker: "alice", Profile: "prod"}, func(tx breakglass.Tx) error {
			now, err := tx.Event(e.ID)
			now.Sessions++
			return errors.Join(err, tx.PutEvent(now), tx.Append(sampleEntry(breakglass.EntryCredentialsIssued, e, noon), nil, nil))
		})
	}), "credentials under an event whose pair is named")
	require.Equal(t, map[string]int{"GetItem": 1}, c.of(t, func() error { _, err := s.AccessRequest(t.Context(), r.ID); return err }), "one request")
}

// TestCallersShareTransactions: what waits while one transaction is under way
// goes into the next one together.
func TestCallersShareTransactions(t *testing.T) {
	o := newTable(t)
	c := newCounter(t, o.Endpoint)
	o.Endpoint, o.PollEvery = c.URL, time.Hour
	s := openTest(t, o)
	const callers = 64
	errs := make([]error, callers)
	calls := c.of(t, func() error {
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { errs[i] = invoke(t, s, sampleEvent(fmt.Sprint("user-", i), fmt.Sprint("profile-", i), noon)) })
		}
		wg.Wait()
		return nil
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Less(t, calls["TransactWriteItems"], callers/4, "%v", calls)
	require.Less(t, calls["BatchGetItem"], callers/4, "%v", calls)
}
