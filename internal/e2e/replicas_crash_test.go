package e2e

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wander works until stop, with the next server whenever one doesn't answer.
// It takes no more than a share of work per kill, or on a fast machine the
// trail outgrows what the notifications at the end have time for.
func (e *engineer) wander(t *testing.T, r *fleet, stop *atomic.Bool) {
	for server := e.random.IntN(60); !stop.Load(); {
		if e.acks.ahead(60) {
			<-time.After(time.Millisecond)
			continue
		}
		if e.step(t.Context(), r.at(server)) != nil {
			server++
		}
	}
}

// TestReplicasPromise04AcknowledgedSurvivesKill9 kills one of three servers on
// one table after the other, while the load goes on.
func TestReplicasPromise04AcknowledgedSurvivesKill9(t *testing.T) {
	kills := rounds(100, 1000)
	if testing.Short() {
		kills = 10
	}
	c := newCrash(t, site{dir: t.TempDir()})
	r := newFleet(t, fleetOptions{more: c.site.more, env: []string{hookEnv + "=" + hookSecret()}})

	var stop atomic.Bool
	var load sync.WaitGroup
	load.Go(func() { each(c.people, func(e *engineer) { e.wander(t, r, &stop) }) })
	load.Go(func() { // a reader of the feed, who goes from one server to the next
		for i := 0; !stop.Load(); i++ {
			if _, err := c.trail.next(t.Context(), r.at(i), "&limit=200&wait=1s"); err != nil {
				<-time.After(time.Millisecond)
			}
		}
	})
	for range kills {
		victim := c.random.IntN(len(r.procs))
		select {
		case <-c.acks.after(1 + c.random.IntN(60)):
		case <-time.After(patience):
			assert.Fail(t, "the servers acknowledge nothing")
		}
		r.kill(victim)
		r.restart(t, victim)
	}
	stop.Store(true)
	load.Wait()
	c.agree(t, r.at(0), r.at(1), r.at(2))
	c.notified(t, r)
	r.stop(t)
}

// notified waits until the receiver has been told of everything.
func (c *crash) notified(t *testing.T, r *fleet) {
	t.Helper()
	// Dead servers have claimed some notifications; those claims lapse first.
	repeated := 0
	require.Eventually(t, func() bool {
		c.trail.catchUp(t, r.at(0))
		var missing []int64
		missing, repeated = c.hook.missing(c.trail.entries)
		return len(missing) == 0
	}, 3*patience, 50*time.Millisecond, "notifications are lost")
	assert.Empty(t, c.hook.problems())
	t.Logf("%d acknowledged (%d events, %d closed, %d credentials; %d unanswered calls had taken effect), %d entries, %d notifications once more",
		c.acks.total, len(c.acks.invoked), len(c.acks.closed), len(c.acks.keys), c.acks.replayed, len(c.trail.entries), repeated)
	assert.Less(t, repeated, len(c.trail.entries)/4, "the servers don't share the notifications")
}
