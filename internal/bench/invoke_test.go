package bench

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/store/sqlite/sqlitebench"
)

const (
	invokers     = 64
	invokeRounds = 6
	invokeTime   = 2 * time.Second
	// A new server can be invoked manyOf × quotaOfMany times.
	manyOf      = 1000
	quotaOfMany = 20
)

// measureInvocations compares durable invocations over HTTP with the rate at
// which the same rows (event, audit entry, one delivery) get into the same kind
// of file by SQL alone, in shared commits of as many callers. The server also
// looks up stacking, cooldown and two quotas, seals the audit entry, answers,
// and sends and settles the deliveries.
func measureInvocations(t *testing.T) []row {
	r := row{what: fmt.Sprintf("durable invocations, %d callers", invokers), target: 0.25, atLeast: true}
	var raw, rates, p50, p99 []float64
	for i := range invokeRounds {
		base := rawGroupCommit(t, i)
		got := invokeAtOnce(t)
		raw, rates = append(raw, base), append(rates, got.rate())
		p50 = append(p50, percentile(got.took, 50).Seconds())
		p99 = append(p99, percentile(got.took, 99).Seconds())
		r.ratios = append(r.ratios, got.rate()/base)
		t.Logf("round %d: %.0f/s of %.0f/s by SQL alone", i+1, got.rate(), base)
	}
	r.yardstick = fmt.Sprintf("%.0f/s by SQL alone", median(raw))
	r.measured = fmt.Sprintf("%.0f/s", median(rates))
	return []row{r, {what: "  time of one of these invocations",
		measured: fmt.Sprintf("p50 %s, p99 %s", short(seconds(median(p50))), short(seconds(median(p99))))}}
}

// invokeAtOnce is a round with a server of its own.
func invokeAtOnce(t testing.TB) round {
	t.Helper()
	s := site{dir: scratch(t), users: manyOf, profiles: manyOf, quota: quotaOfMany,
		sinks: "    - {name: journal, type: log, events: [breakglass.invoked]}\n"}.start(t)
	defer s.stop()
	const warm = 500
	var done atomic.Int64
	next := func(limit int64) func(int64) []byte {
		return func(int64) []byte {
			if n := done.Add(1) - 1; n < limit {
				return nth(n)
			}
			return nil
		}
	}
	load(t, s.addr, invokers, invokeTime, http.StatusCreated, next(warm))
	done.Store(warm)
	return load(t, s.addr, invokers, invokeTime, http.StatusCreated, next(manyOf*quotaOfMany))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// nth spreads invocations so that no one is refused: among manyOf in a row
// everybody and every profile comes once, and no pair ever comes again.
func nth(n int64) []byte {
	u, turn := int(n%manyOf), int(n/manyOf)
	return invocation(user(u), profile((u+turn)%manyOf))
}

func rawGroupCommit(t testing.TB, round int) float64 {
	t.Helper()
	dir := filepath.Join(scratch(t), fmt.Sprint("raw-", round))
	require.NoError(t, os.Mkdir(dir, 0o755))
	rate, err := sqlitebench.RawGroupCommit(t.Context(), dir, invokers, 20_000)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(dir))
	return rate
}
