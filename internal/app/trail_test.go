package app

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"breakglass/internal/api"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
)

// lived is a database with an event that is active, one that was closed and
// one that expired.
func lived(t *testing.T) config.Config {
	t.Helper()
	c, err := DevConfig("127.0.0.1:0", t.TempDir())
	require.NoError(t, err)
	now := time.Now().Add(-time.Hour)
	a, err := New(t.Context(), c, Options{Now: func() time.Time { return now }})
	require.NoError(t, err)
	invoke := func(name, profile string, d time.Duration) breakglass.Invoked {
		ev, err := a.service.Invoke(t.Context(), breakglass.Principal{Name: name, Groups: []string{"engineers"}},
			breakglass.Invocation{Profile: profile, ReasonCode: "incident", Justification: "Primary DB down, INC-4711", Duration: d})
		require.NoError(t, err)
		return ev
	}
	invoke("alice", "prod", 4*time.Hour)
	closed := invoke("bob", "prod", time.Hour)
	_, err = a.service.Close(t.Context(), breakglass.Principal{Name: "bob"}, closed.ID, "over", "")
	require.NoError(t, err)
	invoke("bob", "staging", time.Second)
	now = now.Add(2 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.service.Run(ctx); close(done) }()
	require.Eventually(t, func() bool { head, err := a.store.Head(t.Context()); return err == nil && head == 5 }, 10*time.Second, time.Millisecond)
	cancel()
	<-done
	require.NoError(t, a.close())
	return c
}

func checkOf(t *testing.T, a *App, name string) api.Check {
	t.Helper()
	for _, c := range a.ready(t.Context()) {
		if c.Name == name {
			return c
		}
	}
	require.Fail(t, "no check "+name)
	return api.Check{}
}

func TestEventsThatTheTrailDoesNotExplainAreSeenAtStart(t *testing.T) {
	for name, c := range map[string]struct{ change, problem string }{
		"nothing":            {"", ""},
		"a made-up event":    {`UPDATE events SET id = 'ffffffffffffffff' WHERE status = 'active'`, "has no entry breakglass.invoked"},
		"a longer one":       {`UPDATE events SET expires_at = expires_at + 3600000000 WHERE status = 'active'`, "has another end"},
		"another's":          {`UPDATE events SET invoker = 'mallory' WHERE status = 'active'`, "has another invoker"},
		"one that lives on":  {`UPDATE events SET status = 'active' WHERE status = 'closed'`, "is active although"},
		"one closed quietly": {`UPDATE events SET status = 'closed' WHERE status = 'active'`, "is closed without"},
		"one that is old":    {`UPDATE events SET id = 'ffffffffffffffff', created_at = 0 WHERE status = 'active'`, "has no entry breakglass.invoked"},
		"one expired early":  {`UPDATE events SET status = 'expired' WHERE status = 'active'`, "is expired without"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := lived(t)
			if c.change != "" {
				db, err := sql.Open("sqlite", cfg.Store.SQLite.Path)
				require.NoError(t, err)
				res, err := db.Exec(c.change)
				require.NoError(t, err)
				n, err := res.RowsAffected()
				require.NoError(t, err)
				require.EqualValues(t, 1, n)
				require.NoError(t, db.Close())
			}
			log := &logBuffer{}
			a, err := New(t.Context(), cfg, Options{Log: log.logger()})
			require.NoError(t, err, "it works on")
			defer func() { require.NoError(t, a.close()) }()
			check := checkOf(t, a, "audit_trail")
			assert.True(t, check.OK)
			if c.change == "" {
				assert.NotContains(t, log.String(), `"level":"ERROR"`)
				assert.NotContains(t, check.Detail, "NOT")
				assert.Zero(t, gathered(t, a, "breakglass_audit_unexplained_events"))
				return
			}
			assert.Contains(t, log.String(), c.problem)
			assert.Contains(t, check.Detail, "DOES NOT EXPLAIN 1")
			assert.Equal(t, 1.0, gathered(t, a, "breakglass_audit_unexplained_events"))
		})
	}
}

func TestAForeignMirrorIsLoudAndStopsNothing(t *testing.T) {
	other := lived(t)
	other.Audit.File = filepath.Join(t.TempDir(), "audit.jsonl")
	a, err := New(t.Context(), other, Options{})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	require.Eventually(t, func() bool { return checkOf(t, a, "audit_mirror").Detail == "has the whole trail" }, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1.0, gathered(t, a, "breakglass_audit_mirror_ok"))
	require.NoError(t, a.Stop(context.Background()))

	mine := lived(t)
	mine.Audit.File = other.Audit.File
	a, err = New(t.Context(), mine, Options{})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	defer func() { require.NoError(t, a.Stop(context.Background())) }()
	check := checkOf(t, a, "audit_mirror")
	assert.True(t, check.OK)
	assert.Contains(t, check.Detail, "NOT WRITTEN: the file is the mirror of another trail")
	assert.NotContains(t, check.Detail, mine.Audit.File, "anybody may ask")
	assert.Zero(t, gathered(t, a, "breakglass_audit_mirror_ok"))
	res, err := http.Get("http://" + a.Addr().String() + "/readyz")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusOK, res.StatusCode)
}

func TestAMirrorThatLacksEntriesSaysSo(t *testing.T) {
	now := time.Now()
	m := watchMirror(nil)
	m.now = func() time.Time { return now }
	m.note(3, nil)
	ok, detail := m.status(5)
	assert.True(t, ok, "it may be about to take them")
	assert.Contains(t, detail, "2 entries behind")
	now = now.Add(time.Minute)
	ok, detail = m.status(5)
	assert.False(t, ok)
	assert.Contains(t, detail, "lacks 2 entries and takes none")
	m.note(5, nil)
	ok, _ = m.status(5)
	assert.True(t, ok)
	m.note(0, os.ErrPermission)
	ok, detail = m.status(7)
	assert.False(t, ok)
	assert.Contains(t, detail, "lacks 2 entries")
}

// behind lists what the store no longer has, as an index does that lags.
type behind struct {
	Store
	listed []breakglass.Event
	reads  int
	onRead func(n int)
}

func (b *behind) Events(context.Context, breakglass.EventQuery) ([]breakglass.Event, error) {
	return b.listed, nil
}

func (b *behind) Event(ctx context.Context, id string) (breakglass.Event, error) {
	b.reads++
	ev, err := b.Store.Event(ctx, id)
	if b.onRead != nil {
		b.onRead(b.reads)
	}
	return ev, err
}

func TestAListingThatLagsIsNoFaultOfTheTrail(t *testing.T) {
	c := lived(t)
	store, err := OpenStore(t.Context(), c.Store, nil, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	now := time.Now()
	events, err := store.Events(t.Context(), breakglass.EventQuery{Limit: 10, Now: now})
	require.NoError(t, err)
	require.Len(t, events, 3)
	b := &behind{Store: store}
	for _, ev := range events { // as they all once were
		ev.Status, ev.ClosedAt = breakglass.StatusActive, time.Time{}
		b.listed = append(b.listed, ev)
	}
	gone := events[0]
	gone.ID = "eeeeeeeeeeeeeeee"
	b.listed = append(b.listed, gone)
	faults, err := compareTrail(t.Context(), b, store, now)
	require.NoError(t, err)
	require.Empty(t, faults)
}

func TestAnEventThatEndsWhileItIsComparedIsNoFault(t *testing.T) {
	c := lived(t)
	a, err := New(t.Context(), c, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	active, err := a.store.Events(t.Context(), breakglass.EventQuery{Status: breakglass.StatusActive, Limit: 1, Now: time.Now()})
	require.NoError(t, err)
	listed := active[0]
	listed.Status = breakglass.StatusClosed // which is wrong, so it is read again
	b := &behind{Store: a.store, listed: []breakglass.Event{listed}, onRead: func(n int) {
		if n == 1 {
			_, err := a.service.Close(t.Context(), breakglass.Principal{Name: "alice"}, listed.ID, "over", "")
			require.NoError(t, err)
		}
	}}
	faults, err := compareTrail(t.Context(), b, a.store, time.Now())
	require.NoError(t, err)
	require.Empty(t, faults)
	require.Equal(t, 2, b.reads, "before it ended and after")
}

// TestAForgedActiveEventIsFoundAmongManyNewer however old it says it is.
func TestAForgedActiveEventIsFoundAmongManyNewer(t *testing.T) {
	for name, age := range map[string]time.Duration{"an hour": time.Hour, "days, over": 50 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := lived(t)
			store, err := OpenStore(t.Context(), c.Store, nil, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, store.Close()) }()
			now := time.Now().UTC().Truncate(time.Microsecond)
			put := func(ev breakglass.Event, explained bool) {
				require.NoError(t, store.Update(t.Context(), breakglass.Keys{EventID: ev.ID, Invoker: ev.Invoker, Profile: ev.Profile}, func(tx breakglass.Tx) error {
					if explained {
						for _, typ := range []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryClosed} {
							if err := tx.Append(breakglass.LogEntry{Timestamp: ev.CreatedAt, Event: typ, EventID: ev.ID, Invoker: ev.Invoker,
								Profile: ev.Profile, ExpiresAt: ev.ExpiresAt}, nil, nil); err != nil {
								return err
							}
						}
					}
					return tx.PutEvent(ev)
				}))
			}
			began := now.Add(-age)
			put(breakglass.Event{ID: "ffffffffffffffff", Invoker: "mallory", Profile: "prod", Status: breakglass.StatusActive,
				CreatedAt: began, UpdatedAt: began, ExpiresAt: began.Add(4 * time.Hour)}, false)
			for i := range recentEvents + 5 {
				put(breakglass.Event{ID: breakglass.NewID(), Invoker: fmt.Sprint("user-", i), Profile: "prod", Status: breakglass.StatusClosed,
					CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(time.Hour), ClosedAt: now}, true)
			}
			faults, err := compareTrail(t.Context(), store, store, now)
			require.NoError(t, err)
			require.Equal(t, []trailFault{{"ffffffffffffffff", "has no entry breakglass.invoked"}}, faults)
		})
	}
}
