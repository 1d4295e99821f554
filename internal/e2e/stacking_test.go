package e2e

import (
	"fmt"
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

// racers is how many callers race for one limit.
const racers = 64

// limited is a server with one rule, people enough for a new one in each round,
// and n profiles named after numbers.
func limited(t *testing.T, users, n int, rule string) caller {
	t.Helper()
	c := newConfig(t, t.TempDir(), openPolicy, "version: \"1\"\nrules:\n  - {name: the-rule, "+rule+"}\n")
	c.Auth.Tokens = people(users)
	for i := range n {
		c.Profiles[numbered(i)] = c.Profiles["prod"]
	}
	return start(t, c).http
}

func numbered(i int) string { return fmt.Sprintf("profile-%d", i) }

// invokeAndClose invokes, and closes what was granted at once: it counts all the
// same. It asks again while the event of another of the callers is in the way.
func (c caller) invokeAndClose(t *testing.T, who, profile string) (answer, error) {
	a, err := c.invoke(t.Context(), who, profile, 3600)
	for err == nil && a.status == http.StatusConflict {
		a, err = c.invoke(t.Context(), who, profile, 3600)
	}
	if err != nil || a.status != http.StatusCreated {
		return a, err
	}
	if closed, err := c.close(t.Context(), who, decode[breakglass.View](t, a).ID); err != nil || closed.status != http.StatusOK {
		return closed, err
	}
	return a, nil
}

// Each round races for something that nobody has used before.
func TestPromise02LimitsHoldExactlyUnderConcurrency(t *testing.T) {
	n := rounds(100, 1000)
	t.Run("profile quota", func(t *testing.T) {
		c := limited(t, racers, n, "max_per_profile: 40, quota_window: 24h")
		for round := range n {
			counts := race(t, c, racers, func(i int) (answer, error) {
				return c.invoke(t.Context(), user(i), numbered(round), 3600)
			})
			require.Equal(t, map[int]int{201: 40, 429: racers - 40}, counts, "round %d", round)
		}
	})
	t.Run("user quota over all profiles, with each event closed at once", func(t *testing.T) {
		c := limited(t, n, racers, "max_per_user: 3, quota_window: 24h")
		for round := range n {
			counts := race(t, c, racers, func(i int) (answer, error) {
				return c.invokeAndClose(t, user(round), numbered(i))
			})
			require.Equal(t, map[int]int{201: 3, 429: racers - 3}, counts, "round %d", round)
		}
	})
	t.Run("cooldown from the first grant on, with each event closed at once", func(t *testing.T) {
		c := limited(t, n, 1, "cooldown: 30m")
		begun := time.Now()
		for round := range n {
			counts := race(t, c, racers, func(int) (answer, error) {
				return c.invokeAndClose(t, user(round), numbered(0))
			})
			require.Equal(t, map[int]int{201: 1, 429: racers - 1}, counts, "round %d", round)
		}
		refused := c.must(t, 429, user(0), http.MethodPost, "/v1/breakglass", invocation(numbered(0), 3600))
		p := decode[struct {
			Limit string `json:"limit"`
			After int    `json:"retry_after_seconds"`
		}](t, refused)
		assert.Equal(t, "cooldown", p.Limit)
		assert.InDelta(t, 1800, p.After, time.Since(begun).Seconds()+1)
		assert.NotEmpty(t, refused.header.Get("Retry-After"))
	})
}
