package bench

import (
	"fmt"
	"net/http"
	"testing"

	"breakglass/internal/config"
)

const (
	sharedCalls = 1000 // at once, in a round: of as many people and profiles
	turnCalls   = 200  // single transactions in a round
)

// measureShared compares invocations of many callers at once with the rate of
// single transactions of the same items, in three ways to send these:
// one after the other, which is what one head of the trail allows when nobody
// is in the way; by as many callers, each of whom reads the head and moves it,
// and tries again when another was faster; and by as many callers who each have
// a head of their own, which no trail could allow, and shows what the emulator
// can do.
func (e *emulator) measureShared(t *testing.T, made []transaction) []row {
	what := fmt.Sprintf("DynamoDB: invocations, %d callers", invokers)
	if e.distance > 0 {
		what = fmt.Sprintf("DynamoDB %s away: invocations, %d callers", e.distance, invokers)
	}
	yardsticks := []struct {
		what string
		rate func(testing.TB, []transaction) float64
		n    int
	}{
		{"single transactions, one after the other", e.inTurn, turnCalls},
		{"single transactions, as many callers who contend for the head", e.contending, turnCalls},
		{"single transactions, as many callers, a head for each", e.apart, sharedCalls},
	}
	rows, bases := make([]row, len(yardsticks)), make([][]float64, len(yardsticks))
	rec := newRecorder(t, e.endpoint)
	invokeAll(t, rec.at(e.table(t)), "")
	shared := rec.transactions(t)
	size := sharedCalls / float64(len(shared))
	var rates, p50, p99, notified, ceiling []float64
	for range sharedRounds {
		got := invokeAll(t, e.table(t), "")
		rates = append(rates, got.rate())
		p50, p99 = append(p50, percentile(got.took, 50).Seconds()), append(p99, percentile(got.took, 99).Seconds())
		for i, y := range yardsticks {
			base := y.rate(t, made[:y.n])
			bases[i], rows[i].ratios = append(bases[i], base), append(rows[i].ratios, got.rate()/base)
		}
		ceiling = append(ceiling, e.inTurn(t, shared)*size)
		sunk := invokeAll(t, e.table(t), "    - {name: journal, type: log, events: [breakglass.invoked]}\n")
		notified = append(notified, sunk.rate())
	}
	for i, y := range yardsticks {
		rows[i].what, rows[i].target, rows[i].atLeast = what, 2, true
		rows[i].yardstick = fmt.Sprintf("%.0f/s, %s", median(bases[i]), y.what)
		rows[i].measured = fmt.Sprintf("%.0f/s", median(rates))
	}
	return append(rows,
		row{what: "  time of one of these invocations",
			measured: fmt.Sprintf("p50 %s, p99 %s", short(seconds(median(p50))), short(seconds(median(p99))))},
		row{what: "  the same transactions, sent alone and one after the other",
			measured: fmt.Sprintf("%.0f invocations/s, %.1f in each", median(ceiling), size)},
		row{what: "  with a sink whose notifications are sent and settled meanwhile", measured: fmt.Sprintf("%.0f/s", median(notified))})
}

// invokeAll is a round with a server of its own.
func invokeAll(t testing.TB, table *config.DynamoDB, sinks string) round {
	t.Helper()
	s := crowd(t, table, sinks)
	defer s.stop()
	return load(t, s.addr, invokers, patience, http.StatusCreated, func(n int64) []byte {
		if n >= sharedCalls {
			return nil
		}
		return nth(n)
	})
}
