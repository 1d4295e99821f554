package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// populate fills a new database with n events and as many entries, straight by
// SQL: 40 invokers, 20 profiles, all ended, one a second.
func populate(t *testing.T, path string, n int) {
	t.Helper()
	require.NoError(t, openTest(t, path).Close())
	last := breakglass.LogEntry{Seq: int64(n), Timestamp: noon, Event: breakglass.EntryInvoked, Actor: "alice"}
	audit.Seal(&last, audit.GenesisHash)
	first := micros(noon) - int64(n)*1e6
	rawExec(t, path, "PRAGMA synchronous = OFF", fmt.Sprintf(`
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO events SELECT i, lower(hex(randomblob(8))), 'user-' || (i * 7919 %% 40), 'x', 'profile-' || (i %% 20),
			CASE i %% 3 WHEN 0 THEN 'incident' WHEN 1 THEN 'security' ELSE 'other' END, 'the primary database is down', '', 3600,
			CASE i %% 2 WHEN 0 THEN 'closed' ELSE 'expired' END, %d + i * 1000000, 0, %d + i * 1000000, 0, '', '', 'r', 'oncall', 0 FROM n`,
		n, first, first), fmt.Sprintf(`
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO entries SELECT i, 'breakglass.invoked', 'user-' || (i * 7919 %% 40), 'profile-' || (i %% 20),
			%d + i * 1000000, %d + i * 1000000, '{"seq":' || i || ',"timestamp":"2026-11-02T12:00:00Z"}', 'h' FROM n`,
		n-1, first, first), fmt.Sprintf(`
		INSERT INTO entries VALUES (%d, 'breakglass.invoked', 'alice', '', %d, %d, '%s', '%s')`,
		n, micros(noon), micros(noon), audit.Canonical(last), last.Hash))
}

// TestTimesDontGrowWithAMillionEvents compares what users wait for at 1,000,000
// events and at 1,000. It takes minutes: BREAKGLASS_HEAVY=1 runs it.
func TestTimesDontGrowWithAMillionEvents(t *testing.T) {
	if os.Getenv("BREAKGLASS_HEAVY") != "1" {
		t.Skip("takes minutes; BREAKGLASS_HEAVY=1 runs it")
	}
	dir := t.TempDir()
	stores := map[string]*Store{}
	known := map[string][]string{}
	for name, n := range map[string]int{"small": 1000, "large": 1_000_000} {
		path := filepath.Join(dir, name)
		populate(t, path, n)
		stores[name] = openTest(t, path)
		for _, since := range []int{0, n / 2, n - 100} {
			q := breakglass.EventQuery{Limit: 50, Now: noon, Until: noon.Add(-time.Duration(since) * time.Second)}
			events, err := stores[name].Events(t.Context(), q)
			require.NoError(t, err)
			for _, ev := range events {
				known[name] = append(known[name], ev.ID)
			}
		}
	}
	list := func(q breakglass.EventQuery) func(name string, i int) error {
		return func(name string, i int) error {
			q.Limit, q.Now = 20, noon
			_, err := stores[name].Events(t.Context(), q)
			return err
		}
	}
	feed := func(q breakglass.EntryQuery) func(name string, i int) error {
		return func(name string, i int) error {
			q.Limit = 20
			_, _, err := stores[name].Entries(t.Context(), q)
			return err
		}
	}
	for what, f := range map[string]func(name string, i int) error{
		"invoke": func(name string, i int) error {
			return invokeOnce(t.Context(), stores[name], fmt.Sprintf("user-%d", rand.IntN(40)), fmt.Sprintf("p-%d", i), noon.Add(time.Duration(i)*time.Second))
		},
		"check": func(name string, i int) error {
			_, err := stores[name].Event(t.Context(), known[name][i%len(known[name])])
			return err
		},
		"list":         list(breakglass.EventQuery{}),
		"list own":     list(breakglass.EventQuery{Invoker: "user-5"}),
		"list profile": list(breakglass.EventQuery{Profile: "profile-3"}),
		"list active":  list(breakglass.EventQuery{Status: breakglass.StatusActive}),
		"list expired": list(breakglass.EventQuery{Status: breakglass.StatusExpired}),
		"list reason":  list(breakglass.EventQuery{ReasonCode: breakglass.ReasonSecurity}),
		"list nobody":  list(breakglass.EventQuery{Invoker: "nobody"}),
		"poll, nothing new": func(name string, i int) error {
			_, _, err := stores[name].Entries(t.Context(), breakglass.EntryQuery{After: stores[name].head.Load(), Limit: 100})
			return err
		},
		"poll, one new": func(name string, i int) error {
			_, _, err := stores[name].Entries(t.Context(), breakglass.EntryQuery{After: stores[name].head.Load() - 1, Limit: 100})
			return err
		},
		"feed of one person": feed(breakglass.EntryQuery{Invoker: "alice"}),
		"feed since":         feed(breakglass.EntryQuery{Since: noon}),
		"next expiry":        func(name string, i int) error { _, err := stores[name].Agenda(t.Context(), 64); return err },
	} {
		const runs = 600
		took := map[string][]time.Duration{}
		for i := range runs { // turn about, so that noise hits both
			for name := range stores {
				began := time.Now()
				require.NoError(t, f(name, i), what)
				took[name] = append(took[name], time.Since(began))
			}
		}
		small, large := median(took["small"]), median(took["large"])
		t.Logf("%-20s 1,000: %9s   1,000,000: %9s   ratio %.2f", what, small, large, float64(large)/float64(small))
		require.Less(t, float64(large), 3*float64(small)+float64(50*time.Microsecond), what)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
