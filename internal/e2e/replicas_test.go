package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/testenv/teststore"
)

// The tests of this file and those named TestReplicas… run several servers on
// one DynamoDB table, whatever the engine of the other tests is.

// onTable is the configuration over a table of its own.
func onTable(t testing.TB, c config.Config) config.Config {
	t.Helper()
	c.Store = config.Store{Driver: config.DriverDynamoDB, DynamoDB: teststore.Table(t, t.TempDir())}
	return c
}

// replicas are three servers in this process that share the store of c.
func replicas(t testing.TB, c config.Config, change ...func(*app.Options)) cluster {
	t.Helper()
	var all cluster
	for range 3 {
		all = append(all, start(t, c, change...).http)
	}
	return all
}

func TestReplicasPromise01OneActiveEventPerInvokerAndProfile(t *testing.T) {
	oneActiveEvent(t, rounds(200, 1000), replicas(t, onTable(t, newConfig(t, t.TempDir(), openPolicy, ""))))
}

func TestReplicasPromise02LimitsHoldExactlyUnderConcurrency(t *testing.T) {
	limitsHoldExactly(t, rounds(100, 1000), func(c config.Config) cluster { return replicas(t, onTable(t, c)) })
}

func TestReplicasPromise05TimeIsExact(t *testing.T) {
	timeIsExact(t, replicas(t, onTable(t, newConfig(t, t.TempDir(), openPolicy, ""))))
}

// What a server has invoked that is then killed is for the others to end.
func TestReplicasPromise05AnotherServerRecordsTheExpiryWithinASecond(t *testing.T) {
	r := newFleet(t, fleetOptions{})
	late := 0
	const events = 8
	for round := range rounds(6, 30) {
		victim := round % len(r.procs)
		made := map[string]bool{}
		var end time.Time
		for i := range events {
			ev := decode[breakglass.View](t, r.at(victim).must(t, 201, user(i), http.MethodPost, "/v1/breakglass", invocation("prod", 1)))
			made[ev.ID], end = true, ev.ExpiresAt
		}
		// At once, or when it is about to record the last of them.
		if round%2 == 1 {
			<-time.After(time.Until(end.Add(time.Duration(round) * 2 * time.Millisecond)))
		}
		r.kill(victim)
		var ended []breakglass.LogEntry
		require.Eventually(t, func() bool {
			ended = nil
			for _, e := range ofType(r.at(victim+1).feed(t, "0"), breakglass.EntryExpired) {
				if made[e.EventID] {
					ended = append(ended, e)
				}
			}
			return len(ended) >= events
		}, patience, 20*time.Millisecond, "round %d: expiries are not recorded", round)
		assert.Len(t, ended, events, "round %d: an expiry was recorded more than once", round)
		for _, e := range ended {
			after := e.Timestamp.Sub(e.ExpiresAt)
			assert.GreaterOrEqual(t, after, time.Duration(0), "recorded before it happened")
			if after >= time.Second {
				late++
				t.Logf("round %d: recorded after %s", round, after)
			}
		}
		r.restart(t, victim)
	}
	// A machine that does something else for a second must not fail the test.
	assert.LessOrEqual(t, late, events, "expiries are recorded too late when their server dies")
	verify(t, r.at(0).feed(t, "0"))
}

func TestReplicasPromise08ALongPollSeesWithinASecondWhatAnotherServerWrote(t *testing.T) {
	c := replicas(t, onTable(t, newConfig(t, t.TempDir(), openPolicy, "")))
	const n = 30
	head, slow := 0, 0
	for i := range n {
		seen := make(chan time.Time, len(c))
		for _, server := range c {
			go func() {
				a, err := server.do(t.Context(), "sam", http.MethodGet, fmt.Sprintf("/v1/events?wait=60s&after=%d", head), "")
				if assert.NoError(t, err) && assert.Equal(t, 200, a.status) {
					assert.NotEmpty(t, decode[page[breakglass.LogEntry]](t, a).Items)
				}
				seen <- time.Now()
			}()
		}
		require.Eventually(t, func() bool { // all of them wait
			for _, server := range c {
				if server.metric(t, "breakglass_http_requests_in_flight") < 2 {
					return false
				}
			}
			return true
		}, patience, time.Millisecond)
		c.at(i).must(t, 201, user(i), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
		written := time.Now()
		head++
		for range c {
			if took := (<-seen).Sub(written); took > time.Second {
				slow++
				t.Logf("seen after %s", took)
			}
		}
	}
	// A machine that does something else for a second must not fail the test.
	assert.LessOrEqual(t, slow, n/10, "long polls are late")
}

func TestReplicasPromise10EachNotificationIsSentOnce(t *testing.T) {
	hook := newReceiver(t, nil)
	servers := replicas(t, onTable(t, withSinks(t, hook.hook("siem"))))
	const n = 320 // events, half of which are closed
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				who, profile := user(i%64), "prod"
				a, err := servers.at(i).invoke(t.Context(), who, profile, 3600)
				if !assert.NoError(t, err) || a.status != http.StatusCreated {
					continue // that is a refusal, and announced too
				}
				closed, err := servers.at(i+1).close(t.Context(), who, decode[breakglass.View](t, a).ID)
				assert.NoError(t, err)
				assert.Equal(t, 200, closed.status)
			}
		})
	}
	callers.Wait()
	hook.getsEverything(t, servers[0])
	require.Eventually(t, func() bool { return servers[0].waiting(t, "siem") == 0 }, patience, 5*time.Millisecond)
	entries := servers[0].feed(t, "0")
	require.GreaterOrEqual(t, len(entries), 300)
	_, repeated := hook.missing(entries)
	t.Logf("%d notifications, %d of them once more", len(entries), repeated)
	assert.Zero(t, repeated, "without faults each comes once")
}

// A server that dies in the middle of an attempt has claimed the notification:
// another one sends it when the claim has lapsed.
func TestReplicasPromise10AnotherServerSendsWhatADeadOneHadBegun(t *testing.T) {
	begun := make(chan struct{}, 64)
	hook := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) {
		begun <- struct{}{}
		<-req.Context().Done()
	})
	r := newFleet(t, fleetOptions{servers: 1, more: "notify:\n  sinks:\n" + hook.sink("siem"), env: []string{hookEnv + "=" + hookSecret()}})
	r.at(0).must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
	select {
	case <-begun:
	case <-time.After(patience):
		require.Fail(t, "nothing is sent")
	}
	r.add(t)
	r.kill(0)
	hook.repair()
	r.at(1).must(t, 201, user(1), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
	require.Eventually(t, func() bool {
		missing, _ := hook.missing(r.at(1).feed(t, "0"))
		return len(missing) == 0
	}, 3*patience, 50*time.Millisecond, "what the dead server had begun is lost")
	assert.Equal(t, 3, hook.attempts(), "one was cut off")
}
