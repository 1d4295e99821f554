package app

import (
	"context"
	"database/sql"
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
