package e2e

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/config"
	"breakglass/internal/notify"
)

// hook is the configuration of a webhook to this receiver.
func (r *receiver) hook(name string) notify.SinkConfig {
	return notify.SinkConfig{Name: name, Type: notify.TypeWebhook, URL: r.URL, SecretEnv: hookEnv, AllowHTTP: true,
		AllowPrivate: []string{r.Listener.Addr().String()}}
}

// impatient tries notifications again at once, and for long.
func impatient(o *app.Options) {
	o.NotifySchedule = make([]time.Duration, 1000)
	for i := range o.NotifySchedule[1:] {
		o.NotifySchedule[i+1] = 20 * time.Millisecond
	}
}

func withSinks(t *testing.T, sinks ...notify.SinkConfig) config.Config {
	t.Helper()
	t.Setenv(hookEnv, hookSecret())
	c := newConfig(t, t.TempDir(), openPolicy, "")
	c.Notify.Sinks = sinks
	return c
}

// metric is the value of one series; 0 when there is none.
func (c caller) metric(t testing.TB, series string) float64 {
	t.Helper()
	for line := range strings.Lines(string(c.must(t, 200, "nobody", http.MethodGet, "/metrics", "").body)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			require.NoError(t, err)
			return v
		}
	}
	return 0
}

// waiting is how many notifications a sink still has to get.
func (c caller) waiting(t testing.TB, sink string) float64 {
	t.Helper()
	return c.metric(t, `breakglass_deliveries{sink="`+sink+`",state="waiting"}`)
}

// cutOff stops a server that doesn't get rid of its notifications.
func (s *server) cutOff(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, s.Stop(ctx), "cut off", "nothing was under way")
	s.App = nil
	s.http.client.CloseIdleConnections()
}

// use breaks the glass n times, and closes each event.
func (c caller) use(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		id := decode[struct {
			ID string `json:"event_id"`
		}](t, c.must(t, 201, user(i), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))).ID
		c.must(t, 200, user(i), http.MethodPost, "/v1/breakglass/"+id+"/close", `{"reason":"over"}`)
	}
}

func (r *receiver) getsEverything(t *testing.T, c caller) {
	t.Helper()
	entries := c.feed(t, "0")
	require.Eventually(t, func() bool {
		missing, _ := r.missing(entries)
		return len(missing) == 0
	}, patience, 5*time.Millisecond)
	assert.Empty(t, r.problems())
}

func TestPromise10ASlowOrDeadTargetDelaysNobodyAndLosesNothing(t *testing.T) {
	released := make(chan struct{})
	hanging := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-released:
		case <-req.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	t.Cleanup(func() { // the receiver's own clean-up waits for the requests
		select {
		case <-released:
		default:
			close(released)
		}
	})
	answers := make(chan int, 1)
	answers <- 0
	failing := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		n := <-answers
		answers <- n + 1
		if n%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	good := newReceiver(t, nil)
	c := withSinks(t, hanging.hook("hanging"), failing.hook("failing"), good.hook("good"))

	s := start(t, c, impatient)
	s.http.use(t, 20)
	good.getsEverything(t, s.http)
	require.Eventually(t, func() bool { return hanging.attempts() > 0 && failing.attempts() > 1 }, patience, time.Millisecond)
	for _, name := range []string{"hanging", "failing"} {
		assert.InDelta(t, 40, s.http.waiting(t, name), 0, name)
	}
	// What is written down as delivered isn't sent again.
	require.Eventually(t, func() bool { return s.http.waiting(t, "good") == 0 }, patience, 5*time.Millisecond)

	s.cutOff(t)
	s = start(t, c, impatient)
	s.http.use(t, 20)
	good.getsEverything(t, s.http)

	hanging.repair()
	failing.repair()
	close(released)
	hanging.getsEverything(t, s.http)
	failing.getsEverything(t, s.http)
	_, repeated := good.missing(s.http.feed(t, "0"))
	assert.Zero(t, repeated, "what was delivered comes once while no server dies")
	require.Eventually(t, func() bool { return s.http.waiting(t, "hanging") == 0 }, patience, 5*time.Millisecond)
}

func TestPromise10RedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	moved := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	sink := moved.hook("moved")
	sink.AllowPrivate = append(sink.AllowPrivate, elsewhere.Listener.Addr().String())
	s := start(t, withSinks(t, sink), impatient)
	s.http.use(t, 1)
	require.Eventually(t, func() bool { return moved.attempts() > 2 || elsewhere.attempts() > 0 }, patience, time.Millisecond)
	assert.Zero(t, elsewhere.attempts())
	moved.repair()
	moved.getsEverything(t, s.http)
}

func TestPromise10PrivateAddressesAreRefusedAtConnect(t *testing.T) {
	inside := newReceiver(t, nil)
	_, port, _ := strings.Cut(inside.Listener.Addr().String(), ":")
	sink := inside.hook("inside")
	sink.URL, sink.AllowPrivate = "http://localhost:"+port, nil
	c := withSinks(t, sink)
	s := start(t, c, impatient)
	s.http.use(t, 1)
	require.Eventually(t, func() bool {
		return s.http.metric(t, `breakglass_notification_attempts_total{result="failed",sink="inside"}`) > 2 || inside.attempts() > 0
	}, patience, 5*time.Millisecond)
	assert.Zero(t, inside.attempts())
	s.stop(t)

	c.Notify.Sinks[0].AllowPrivate = []string{"localhost:" + port}
	s = start(t, c, impatient)
	inside.getsEverything(t, s.http)
}
