package e2e

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
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
	c.agree(t, r)
	r.stop(t)
}

// agree answers what is open, and compares the store, the trail, the receiver
// and the callers with each other.
func (c *crash) agree(t *testing.T, r *fleet) {
	t.Helper()
	each(c.people, func(e *engineer) { assert.NoError(t, e.settle(t.Context(), r.at(0))) })
	require.Empty(t, c.acks.faults)
	c.check(t, r.at(0))
	require.Eventually(t, func() bool { // the shared events last a second
		c.check(t, r.at(1))
		for _, e := range c.people {
			for _, profile := range profileNames {
				if c.ledger.active[[2]string{e.shared, profile}] != "" {
					return false
				}
			}
		}
		return true
	}, patience, 20*time.Millisecond, "events don't expire")
	stored := map[string]breakglass.Status{}
	for id, ev := range r.at(2).allEvents(t) {
		stored[id] = ev.Status
	}
	assert.Equal(t, c.ledger.status, stored, "the store and the trail disagree")
	byKey := map[string]bool{}
	for _, id := range c.acks.invoked {
		assert.False(t, byKey[id], "two keys made event %s", id)
		byKey[id] = true
	}
	for id := range stored {
		assert.True(t, byKey[id], "event %s was made by no key, or by one that was retried and made another", id)
	}
	_, err := c.trail.verifier.Finish()
	assert.NoError(t, err)
	for i, e := range c.trail.entries {
		require.EqualValues(t, i+1, e.Seq, "a gap in the feed")
	}
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
