package e2e

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/config"
	"breakglass/internal/testenv"
	"breakglass/internal/testenv/teststore"
)

// fleet are real servers, each in a process of its own, on one table. Killing,
// restarting and adding is for one goroutine; callers may ask at any time where
// a server is.
type fleet struct {
	sites   []site
	env     []string
	mu      sync.RWMutex
	procs   []*process
	proxies []*testenv.FaultProxy // between each server and the table; nil: none
	losers  []*loser              // behind them
	table   config.DynamoDB
	opts    fleetOptions
}

type fleetOptions struct {
	servers int    // default 3
	more    string // of each configuration
	env     []string
	proxied bool // each reaches the table through a proxy of its own
}

func newFleet(t testing.TB, o fleetOptions) *fleet {
	t.Helper()
	if o.servers == 0 {
		o.servers = 3
	}
	r := &fleet{opts: o, table: teststore.Table(t, t.TempDir()), env: append(testenv.AWSEnv(), o.env...)}
	for range o.servers {
		r.add(t)
	}
	return r
}

// add starts one more server.
func (r *fleet) add(t testing.TB) {
	t.Helper()
	table := r.table
	if r.opts.proxied {
		l := newLoser(t, table.Endpoint)
		proxy := testenv.Proxy(t, l.URL)
		r.losers, r.proxies = append(r.losers, l), append(r.proxies, proxy)
		table.Endpoint = proxy.URL()
	}
	s := site{dir: t.TempDir(), table: &table, more: r.opts.more}
	p := s.start(t, r.env...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sites, r.procs = append(r.sites, s), append(r.procs, p)
}

// at is where one of the servers is, or was before it was killed.
func (r *fleet) at(i int) caller {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.procs[i%len(r.procs)].http
}

// kill ends a server as kill -9 does.
func (r *fleet) kill(i int) { r.procs[i].kill() }

// restart starts a server that was killed.
func (r *fleet) restart(t testing.TB, i int) {
	t.Helper()
	r.replace(i, r.sites[i].start(t, r.env...))
}

func (r *fleet) replace(i int, p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.procs[i] = p
}

// stop ends every server in good order.
func (r *fleet) stop(t testing.TB) {
	t.Helper()
	for _, p := range r.procs {
		require.Zero(t, p.terminate(t), "%s", lastLines(p.logs.String(), 10))
	}
}
