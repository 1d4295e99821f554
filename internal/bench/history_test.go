package bench

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	smallHistory = 1_000
	largeHistory = 1_000_000
	historyTurns = 15
)

// measureHistory compares the time of a call over a long history with that of
// the same call over a short one: one caller, who asks both servers in turn, so
// that whatever else the machine does disturbs both alike.
func measureHistory(t *testing.T) []row {
	smallFile, largeFile := history(t, smallHistory), history(t, largeHistory) // before anything waits for a call
	small, large := newPast(t, smallFile, smallHistory), newPast(t, largeFile, largeHistory)
	var rows []row
	for _, call := range []struct {
		what   string
		status int
		calls  int // in a turn
		next   func(p *past, i int) []byte
		cold   bool // the files are on disk alone when a turn begins
	}{
		{"check", http.StatusOK, 200, (*past).check, false},
		{"list, own", http.StatusOK, 100, (*past).listOwn, false},
		{"list, of a profile", http.StatusOK, 100, (*past).listProfile, false},
		{"poll, nothing new", http.StatusOK, 200, (*past).poll, false},
		{"poll, a page of 20", http.StatusOK, 100, (*past).page, false},
		{"invoke", http.StatusCreated, 50, (*past).invoke, false},
		{"check, read from disk", http.StatusOK, 200, (*past).check, true},
	} {
		r := row{what: call.what + ", after 1,000,000 events", target: 1.2}
		var base, got []float64
		for turn := range historyTurns + 1 {
			if call.cold {
				require.NoError(t, errors.Join(evict(smallFile), evict(largeFile)))
			}
			var b, g []float64
			for i := range call.calls {
				nth := turn*call.calls + i
				b = append(b, small.time(t, call.status, call.next(small, nth)))
				g = append(g, large.time(t, call.status, call.next(large, nth)))
			}
			if turn == 0 {
				continue // warm
			}
			base, got, r.ratios = append(base, median(b)), append(got, median(g)), append(r.ratios, median(g)/median(b))
		}
		r.yardstick = short(seconds(median(base))) + " after 1,000"
		r.measured = short(seconds(median(got)))
		rows = append(rows, r)
	}
	return rows
}

// past is a server with a history of n events.
type past struct {
	n    int
	head int // of the trail when the measurement began
	c    *conn
}

func newPast(t *testing.T, database string, n int) *past {
	t.Helper()
	readThrough(t, database)
	s := site{dir: scratch(t), database: database, users: historyUsers, profiles: historyProfiles, quota: 200}.start(t)
	return pastOf(t, s, n)
}

// pastOf is the server's history of n events.
func pastOf(t *testing.T, s *server, n int) *past {
	t.Helper()
	p := &past{n: n, head: entriesEach * n, c: dial(t, s.addr)}
	p.c.must(t, http.StatusOK, p.check(0))
	return p
}

// readThrough brings a file into the memory of the operating system. What a disk
// adds is measured apart.
func readThrough(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }() // only read
	_, err = io.Copy(io.Discard, f)
	require.NoError(t, err)
}

// time is how long a call takes, in seconds.
func (p *past) time(t testing.TB, status int, request []byte) float64 {
	t.Helper()
	begun := time.Now()
	got, body, err := p.c.do(request)
	took := time.Since(begun)
	require.NoError(t, err)
	require.Equal(t, status, got, "%s", body)
	return took.Seconds()
}

// check looks at events from all over the history.
func (p *past) check(i int) []byte {
	return p.get("/v1/breakglass/" + historyID((i*7919+13)%p.n))
}

func (p *past) listOwn(i int) []byte {
	return request(http.MethodGet, "/v1/breakglass?limit=20", token(user(i%historyUsers)), "")
}

func (p *past) listProfile(i int) []byte {
	return p.get("/v1/breakglass?limit=20&profile=" + profile(i%historyProfiles))
}

func (p *past) poll(int) []byte { return p.get(fmt.Sprintf("/v1/events?after=%d", p.head)) }

// page continues somewhere in the trail.
func (p *past) page(i int) []byte {
	return p.get(fmt.Sprintf("/v1/events?limit=20&after=%d", (i*7919+13)%(p.n-20)))
}

func (p *past) invoke(i int) []byte { return invocation(pair(i)) }

func (p *past) get(path string) []byte { return request(http.MethodGet, path, token(auditor), "") }
