package e2e

import (
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// rounds is how often a race is run: often enough to be caught out, and with
// BREAKGLASS_HEAVY=1 as often as the promise is stated.
func rounds(usual, heavy int) int {
	if os.Getenv("BREAKGLASS_HEAVY") == "1" {
		return heavy
	}
	return usual
}

// race sends the request as every caller at once and counts the answers.
func race(t *testing.T, c caller, callers int, send func(i int) (answer, error)) map[int]int {
	t.Helper()
	var mu sync.Mutex
	counts := map[int]int{}
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			<-gate
			a, err := send(i)
			if assert.NoError(t, err) {
				mu.Lock()
				counts[a.status]++
				mu.Unlock()
			}
		})
	}
	close(gate)
	wg.Wait()
	return counts
}

func TestPromise01OneActiveEventPerInvokerAndProfile(t *testing.T) {
	s := start(t, newConfig(t, t.TempDir(), openPolicy, ""))
	for round := range rounds(1000, 1000) {
		var id atomic.Pointer[string]
		counts := race(t, s.http, 64, func(int) (answer, error) {
			a, err := s.http.invoke(t.Context(), user(0), "prod", 3600)
			if a.status == http.StatusCreated {
				ev := decode[breakglass.View](t, a)
				id.Store(&ev.ID)
			}
			return a, err
		})
		require.Equal(t, map[int]int{201: 1, 409: 63}, counts, "round %d", round)
		a, err := s.http.close(t.Context(), user(0), *id.Load())
		require.NoError(t, err)
		require.Equal(t, 200, a.status)
	}
	invoked := 0
	for _, e := range s.http.feed(t, "0") {
		if e.Event == breakglass.EntryInvoked {
			invoked++
		}
	}
	assert.Equal(t, rounds(1000, 1000), invoked)
}

const quotas = `version: "1"
rules:
  - {name: prod, profiles: [prod], max_per_profile: 40, quota_window: 24h}
  - {name: staging, profiles: [staging], max_per_user: 3, quota_window: 24h}
  - {name: db, profiles: [db], cooldown: 30m}
`

func TestPromise02LimitsHoldExactlyUnderConcurrency(t *testing.T) {
	c := newConfig(t, t.TempDir(), openPolicy, quotas)
	db := c.Profiles["prod"]
	c.Profiles["db"] = db
	s := start(t, c)

	t.Run("profile quota", func(t *testing.T) {
		counts := race(t, s.http, 64, func(i int) (answer, error) {
			return s.http.invoke(t.Context(), user(i), "prod", 3600)
		})
		assert.Equal(t, map[int]int{201: 40, 429: 24}, counts)
	})
	t.Run("user quota, with each event closed at once", func(t *testing.T) {
		var granted atomic.Int32
		race(t, s.http, 64, func(int) (answer, error) {
			a, err := s.http.invoke(t.Context(), user(63), "staging", 3600)
			for a.status == http.StatusConflict && err == nil {
				a, err = s.http.invoke(t.Context(), user(63), "staging", 3600)
			}
			if a.status == http.StatusCreated {
				granted.Add(1)
				return s.http.close(t.Context(), user(63), decode[breakglass.View](t, a).ID)
			}
			return a, err
		})
		want := int32(3)
		assert.LessOrEqual(t, granted.Load(), want)
		// user-63 may have spent one of its three on prod in the race before.
		list := decode[page[breakglass.View]](t, s.http.must(t, 200, "sam", http.MethodGet, "/v1/breakglass?limit=100&invoker="+user(63), ""))
		assert.Len(t, list.Items, 3, "the quota counts over all profiles")
	})
	t.Run("cooldown", func(t *testing.T) {
		first := s.http.must(t, 201, user(1), http.MethodPost, "/v1/breakglass", invocation("db", 3600))
		a, err := s.http.close(t.Context(), user(1), decode[breakglass.View](t, first).ID)
		require.NoError(t, err)
		require.Equal(t, 200, a.status)
		counts := race(t, s.http, 64, func(int) (answer, error) {
			return s.http.invoke(t.Context(), user(1), "db", 3600)
		})
		assert.Equal(t, map[int]int{429: 64}, counts)
		refused := s.http.must(t, 429, user(1), http.MethodPost, "/v1/breakglass", invocation("db", 3600))
		p := decode[struct {
			Limit string `json:"limit"`
			After int    `json:"retry_after_seconds"`
		}](t, refused)
		assert.Equal(t, "cooldown", p.Limit)
		assert.InDelta(t, (30 * time.Minute).Seconds(), p.After, 60)
		assert.NotEmpty(t, refused.header.Get("Retry-After"))
	})
}
