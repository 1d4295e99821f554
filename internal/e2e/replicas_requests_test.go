package e2e

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"

	"breakglass/internal/testenv/teststore"
)

// TestReplicasAccessRequestsAreLinearizable has people ask, approve, deny, cancel
// and fetch credentials at three servers on one table.
func TestReplicasAccessRequestsAreLinearizable(t *testing.T) {
	table := teststore.Table(t, t.TempDir())
	var servers []caller
	for range 3 {
		servers = append(servers, serveOn(t, openTable(t, table), sameStore, twoApprovals(t)))
	}
	r := newRequestRecorder(servers...)
	r.record(t, 12, time.Duration(rounds(4, 60))*time.Second, func() bool { return r.seen(5) })
	assert.Equal(t, porcupine.Ok, r.check(2*time.Minute), "%d operations", len(r.history))
	assert.True(t, r.seen(5), "the history exercises everything: %v", r.kinds)
	t.Logf("%d operations: %v", len(r.history), r.kinds)
}
