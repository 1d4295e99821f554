package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// trail follows the audit feed as a reader does who trusts nobody: it keeps
// what it saw and verifies each entry, as the bytes arrived, against the ones
// before, over any number of restarts.
type trail struct {
	after    string
	verifier *audit.Verifier
	entries  []breakglass.LogEntry
	// lost tells whether an answer that came has got lost after all; nil: never.
	lost func(error) error
}

func newTrail() *trail { return &trail{after: "0", verifier: audit.NewVerifier(audit.Options{})} }

// next reads one page. An error means that no answer came, or a bad one.
func (r *trail) next(ctx context.Context, c caller, query string) (n int, err error) {
	a, err := c.do(ctx, "sam", http.MethodGet, "/v1/events?after="+r.after+query, "")
	if r.lost != nil {
		err = r.lost(err)
	}
	if err != nil {
		return 0, err
	}
	if a.status != http.StatusOK {
		return 0, fmt.Errorf("status %d: %s", a.status, a.body)
	}
	var p page[json.RawMessage]
	if err := json.Unmarshal(a.body, &p); err != nil {
		return 0, err
	}
	for _, raw := range p.Items {
		if err := r.verifier.AddJSON(raw); err != nil {
			return 0, fmt.Errorf("after entry %d: %w", len(r.entries), err)
		}
		var e breakglass.LogEntry
		if err := json.Unmarshal(raw, &e); err != nil {
			return 0, err
		}
		r.entries = append(r.entries, e)
	}
	r.after = p.Next
	return len(p.Items), nil
}

// catchUp reads to the end of the feed. What was seen before must still be
// there.
func (r *trail) catchUp(t testing.TB, c caller) {
	t.Helper()
	if seen := len(r.entries); seen > 0 {
		after := strconv.Itoa(seen - 1)
		p := decode[page[breakglass.LogEntry]](t, c.must(t, 200, "sam", http.MethodGet, "/v1/events?limit=1&after="+after, ""))
		require.Len(t, p.Items, 1, "entry %d was served, and is gone", seen)
		require.Equal(t, r.entries[seen-1].Hash, p.Items[0].Hash, "entry %d was served, and is another one now", seen)
	}
	for {
		n, err := r.next(t.Context(), c, "&limit=1000")
		require.NoError(t, err)
		if n == 0 {
			return
		}
	}
}

// ledger is what the trail says about events: its fold, in order of seq.
type ledger struct {
	status map[string]breakglass.Status // by event id
	active map[[2]string]string         // event id by invoker and profile
	keys   map[string]string            // event id by access key id
	folded int
}

func newLedger() *ledger {
	return &ledger{status: map[string]breakglass.Status{}, active: map[[2]string]string{}, keys: map[string]string{}}
}

// fold takes in the entries beyond those that it has. Everything that can't be
// in a true history is a failure.
func (l *ledger) fold(t testing.TB, entries []breakglass.LogEntry) {
	t.Helper()
	for _, e := range entries[l.folded:] {
		pair := [2]string{e.Invoker, e.Profile}
		switch e.Event {
		case breakglass.EntryInvoked:
			assert.Empty(t, l.active[pair], "entry %d: a second active event of %s", e.Seq, pair)
			assert.Empty(t, l.status[e.EventID], "entry %d: event %s is invoked twice", e.Seq, e.EventID)
			l.status[e.EventID], l.active[pair] = breakglass.StatusActive, e.EventID
		case breakglass.EntryClosed, breakglass.EntryExpired:
			assert.Equal(t, breakglass.StatusActive, l.status[e.EventID], "entry %d: %s of event %s", e.Seq, e.Event, e.EventID)
			l.status[e.EventID] = e.Status
			delete(l.active, pair)
		case breakglass.EntryCredentialsIssued:
			assert.Equal(t, breakglass.StatusActive, l.status[e.EventID], "entry %d: credentials of event %s", e.Seq, e.EventID)
			l.keys[e.Detail[breakglass.DetailAccessKeyID]] = e.EventID
		}
	}
	l.folded = len(entries)
}

// allEvents lists every event that the server has, by id.
func (c caller) allEvents(t testing.TB) map[string]breakglass.View {
	t.Helper()
	all := map[string]breakglass.View{}
	for query := "limit=1000"; ; {
		p := decode[page[breakglass.View]](t, c.must(t, 200, "sam", http.MethodGet, "/v1/breakglass?"+query, ""))
		for _, ev := range p.Items {
			require.NotContains(t, all, ev.ID, "listed twice")
			all[ev.ID] = ev
		}
		if p.Next == "" {
			return all
		}
		query = "limit=1000&cursor=" + url.QueryEscape(p.Next)
	}
}

// ofType are the entries of one type.
func ofType(entries []breakglass.LogEntry, typ breakglass.EntryType) []breakglass.LogEntry {
	var out []breakglass.LogEntry
	for _, e := range entries {
		if e.Event == typ {
			out = append(out, e)
		}
	}
	return out
}
