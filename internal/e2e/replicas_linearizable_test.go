package e2e

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// maxTime is later than anything that happens in these tests.
var maxTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// harm is what can happen between a server and its table.
var harm = []func(p *testenv.FaultProxy, l *loser){
	func(p *testenv.FaultProxy, _ *loser) { p.Latency(30 * time.Millisecond) },
	func(p *testenv.FaultProxy, _ *loser) { p.Cut(0) },
	func(p *testenv.FaultProxy, _ *loser) { p.Cut(700) },
	func(p *testenv.FaultProxy, _ *loser) { p.Reset() },
	func(p *testenv.FaultProxy, _ *loser) { p.Timeout() },
	func(p *testenv.FaultProxy, _ *loser) { p.Down() },
	func(p *testenv.FaultProxy, _ *loser) { p.Slow(20) },
	func(_ *testenv.FaultProxy, l *loser) { l.loses(func(n int) bool { return n%2 == 0 }) },
	losesAll,
}

// losesAll loses every answer to a write: it was made, and nobody learns it.
func losesAll(_ *testenv.FaultProxy, l *loser) { l.loses(func(int) bool { return true }) }

// trouble kills servers and breaks their connections to the table, one thing
// after the other, until enough says so. It returns how often it did which.
func (r *fleet) trouble(t *testing.T, rnd *rand.Rand, enough func() bool) (kills, faults int) {
	t.Helper()
	pause := func(from, to time.Duration) { <-time.After(from + time.Duration(rnd.Int64N(int64(to-from)))) }
	for !enough() {
		i := rnd.IntN(len(r.procs))
		if rnd.IntN(4) == 0 {
			kills++
			if kills%2 == 0 { // after it has written what it never learns about
				losesAll(nil, r.losers[i])
				pause(20*time.Millisecond, 100*time.Millisecond)
			}
			r.kill(i)
			r.losers[i].loses(nil)
			r.restart(t, i)
		} else {
			faults++
			do := harm[rnd.IntN(len(harm))]
			if faults%40 == 5 {
				do = losesAll
			}
			do(r.proxies[i], r.losers[i])
			if faults%40 == 5 { // longer than a server tries
				pause(9*time.Second, 10*time.Second)
			} else {
				pause(50*time.Millisecond, 500*time.Millisecond)
			}
			r.proxies[i].Heal()
			r.losers[i].loses(nil)
		}
		pause(50*time.Millisecond, 300*time.Millisecond)
	}
	return kills, faults
}

// TestReplicasInvokeCloseAndExpireAreLinearizable checks a history over three
// servers that are killed and cut off from their table meanwhile. Calls without
// a telling answer may have taken effect, at once or later.
func TestReplicasInvokeCloseAndExpireAreLinearizable(t *testing.T) {
	const clients = 24
	want := rounds(20_000, 100_000)
	r := newFleet(t, fleetOptions{proxied: true})
	rec := newRecorder()
	rec.servers, rec.lossy, rec.closing = r, newLossy(), 2
	begun := time.Now()
	// A history that is short for each pair is checked fast; the next people come
	// after a second.
	rec.keys = func() int { return keys * (int(time.Since(begun)/time.Second) % (30 / keys)) }
	count := func() int {
		rec.mu.Lock()
		defer rec.mu.Unlock()
		return len(rec.history)
	}
	var stop atomic.Bool
	var working sync.WaitGroup
	for client := range clients {
		working.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(client), 1)) // which operation comes next is no secret
			for !stop.Load() && rec.one(t, client, rnd) {
			}
		})
	}
	rnd := rand.New(rand.NewPCG(uint64(begun.UnixNano()), 2)) // nor which server dies
	kills, faults := r.trouble(t, rnd, func() bool { return count() >= want || time.Since(begun) > 15*time.Minute })
	stop.Store(true)
	working.Wait()
	took := time.Since(begun)

	// Recovery without a restart: nothing was done to the servers after the last fault.
	for i := range r.procs {
		r.procs[i].ready(t)
	}
	tr, books := newTrail(), newLedger()
	tr.catchUp(t, r.at(0))
	books.fold(t, tr.entries)
	_, err := tr.verifier.Finish()
	require.NoError(t, err)
	history := rec.lossy.complete(t, rec.history, r.at(1).allEvents(t))
	checking := time.Now()
	assert.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(eventModel, history, 5*time.Minute), "%d operations", len(history))
	assert.True(t, rec.seen(20), "the history exercises everything: %v", rec.kinds)
	assert.GreaterOrEqual(t, len(history), want)
	t.Logf("%d operations in %s over %d kills and %d faults, checked in %s, %d entries: %v", len(history), took.Round(time.Second),
		kills, faults, time.Since(checking).Round(time.Millisecond), len(tr.entries), rec.kinds)
	r.stop(t)
}
