package bench

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/config"
	"breakglass/internal/testenv"
)

const (
	singleRounds = 6
	singleCalls  = 200 // in a round, one after the other
	sharedRounds = 5
	patience     = time.Minute
	distance     = 5 * time.Millisecond
)

// measureDynamoDB measures a server on the DynamoDB emulator. What the emulator
// costs is in every figure, so the yardsticks are transactions of the same
// emulator: those that a server has made, sent again as they were.
func measureDynamoDB(t *testing.T) []row {
	for _, line := range testenv.AWSEnv() {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	e := &emulator{endpoint: testenv.DynamoDB(t)}
	single, made := e.measureSingle(t)
	rows := append(single, e.measureShared(t, made)...)
	rows = append(rows, e.away(t).measureShared(t, made)...)
	rows = append(rows, e.countTrips(t)...)
	return append(rows, measureTableHistory(t, made)...)
}

// emulator makes tables of a running DynamoDB emulator.
type emulator struct {
	endpoint string
	distance time.Duration // to it, in words of the table
	tables   int
}

// away is the emulator with each answer as late as that of a table in the same
// Region: there a call takes time that is nobody's processor time.
func (e *emulator) away(t testing.TB) *emulator {
	t.Helper()
	p := testenv.Proxy(t, e.endpoint)
	p.Latency(distance)
	return &emulator{endpoint: p.URL(), distance: distance}
}

func (e *emulator) addr() string { return strings.TrimPrefix(e.endpoint, "http://") }

// table is a new one, ready for a server.
func (e *emulator) table(t testing.TB) *config.DynamoDB {
	t.Helper()
	e.tables++
	c := config.DynamoDB{Table: fmt.Sprintf("bench-%d-%d", e.distance, e.tables), Region: "us-east-1", Endpoint: e.endpoint}
	_, err := app.InitDynamoDB(t.Context(), c)
	require.NoError(t, err)
	return &c
}

// crowd is a server whose callers don't stand in each other's way; see nth.
func crowd(t testing.TB, table *config.DynamoDB, sinks string) *server {
	t.Helper()
	return site{dir: scratch(t), table: table, users: manyOf, profiles: manyOf, quota: quotaOfMany, sinks: sinks}.start(t)
}

// measureSingle compares the time of an invocation over HTTP with that of the
// transaction that it makes, sent alone: in turn, each to a table that has seen
// the same. It returns the transactions.
func (e *emulator) measureSingle(t *testing.T) ([]row, []transaction) {
	made := e.record(t, (singleRounds+1)*singleCalls)
	direct, s := e.table(t), crowd(t, e.table(t), "")
	raw, c := dial(t, e.addr()), dial(t, s.addr)
	p50 := row{what: "DynamoDB: invocation, one caller, p50", target: 2.5}
	p99 := row{what: "DynamoDB: invocation, one caller, p99", target: 2.5}
	var base50, base99, got50, got99 []float64
	for round := range singleRounds + 1 {
		var base, got []time.Duration
		for i := range singleCalls {
			n := round*singleCalls + i
			base = append(base, timed(t, raw, http.StatusOK, made[n].at(direct.Table).request()))
			got = append(got, timed(t, c, http.StatusCreated, nth(int64(n))))
		}
		if round == 0 {
			continue // warm
		}
		b50, b99, g50, g99 := percentile(base, 50), percentile(base, 99), percentile(got, 50), percentile(got, 99)
		base50, base99 = append(base50, b50.Seconds()), append(base99, b99.Seconds())
		got50, got99 = append(got50, g50.Seconds()), append(got99, g99.Seconds())
		p50.ratios = append(p50.ratios, g50.Seconds()/b50.Seconds())
		p99.ratios = append(p99.ratios, g99.Seconds()/b99.Seconds())
	}
	s.stop()
	p50.yardstick, p50.measured = short(seconds(median(base50)))+", its TransactWriteItems alone", short(seconds(median(got50)))
	p99.yardstick, p99.measured = short(seconds(median(base99)))+", its TransactWriteItems alone", short(seconds(median(got99)))
	return []row{p50, p99}, made
}

func timed(t testing.TB, c *conn, status int, request []byte) time.Duration {
	t.Helper()
	begun := time.Now()
	got, body, err := c.do(request)
	took := time.Since(begun)
	require.NoError(t, err)
	require.Equal(t, status, got, "%s", body)
	return took
}
