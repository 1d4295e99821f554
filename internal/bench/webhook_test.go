package bench

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	hookEnv     = "BREAKGLASS_BENCH_HOOK"
	alerts      = 400 // one after the other
	alertBursts = 10  // of so many callers at once
	alertBurst  = 64
)

// measureWebhook takes the time from the moment when a caller has the 201 to the
// moment when the notification arrives at a listener on this machine. It is
// below zero where the notification was faster.
func measureWebhook(t *testing.T) []row {
	hook := newHook(t)
	t.Setenv(hookEnv, "whsec_"+base64.StdEncoding.EncodeToString([]byte("a signing key that has 32 bytes.")))
	s := site{dir: scratch(t), users: 2000, profiles: 2000, quota: 20,
		sinks: fmt.Sprintf("    - {name: siem, type: webhook, url: %q, secret_env: %s, allow_http: true, allow_private: [%q], events: [breakglass.invoked]}\n",
			hook.URL, hookEnv, hook.Listener.Addr())}.start(t)
	var n int
	burst := func(size int) (took []time.Duration) {
		granted := make([]time.Time, size)
		ids := make([]string, size)
		var wg sync.WaitGroup
		for i := range size {
			c, req := dial(t, s.addr), invocation(user(n), profile(n))
			n++
			wg.Go(func() {
				body := c.must(t, http.StatusCreated, req)
				granted[i] = time.Now()
				ids[i] = eventID(body)
				_ = c.c.Close() // the next burst has its own
			})
		}
		wg.Wait()
		for i, id := range ids {
			took = append(took, hook.arrival(t, id).Sub(granted[i]))
		}
		return took
	}
	burst(20) // warm
	var single, many []time.Duration
	for range alerts {
		single = append(single, burst(1)...)
	}
	for range alertBursts {
		many = append(many, burst(alertBurst)...)
	}
	return []row{
		{what: "201 to the webhook's arrival, one invocation at a time", measured: percentiles(single)},
		{what: fmt.Sprintf("201 to the webhook's arrival, %d invocations at once", alertBurst), measured: percentiles(many)},
	}
}

func percentiles(took []time.Duration) string {
	return fmt.Sprintf("p50 %s, p99 %s", short(percentile(took, 50)), short(percentile(took, 99)))
}

// eventID is empty when there is none.
func eventID(body []byte) string {
	var v struct {
		ID string `json:"event_id"`
	}
	_ = json.Unmarshal(body, &v)
	return v.ID
}

// hook is the target of a webhook and notes when notifications come.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	came map[string]time.Time // by event id
}

func newHook(t testing.TB) *hook {
	h := &hook{came: map[string]time.Time{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it is sent again
	}
	var n struct{ Entry json.RawMessage }
	_ = json.Unmarshal(body, &n)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.came[eventID(n.Entry)] = now
}

func (h *hook) arrival(t testing.TB, id string) (at time.Time) {
	t.Helper()
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		at = h.came[id]
		return !at.IsZero()
	}, 30*time.Second, 2*time.Millisecond, "no notification of %s", id)
	return at
}
