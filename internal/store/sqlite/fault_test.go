package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// clock is a clock for the readiness check that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func openWithClock(t *testing.T, path string) (*Store, *clock) {
	t.Helper()
	s, c, _ := openReadOnly(t, path)
	return s, c
}

// openReadOnly returns a store that writes until readOnly is called with true.
func openReadOnly(t *testing.T, path string) (_ *Store, _ *clock, readOnly func(bool)) {
	t.Helper()
	c := &clock{now: noon}
	var on atomic.Bool
	s, err := Open(t.Context(), path, Options{Now: c.Now, pragmas: func() []string {
		if on.Load() {
			return append(writePragmas(), "query_only(1)")
		}
		return writePragmas()
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, c, func(now bool) {
		if on.Store(now); now {
			pragma(t, s, "query_only = 1") // the connection that is open; the next one has it from the start
		}
	}
}

// grantMany grants with 16 callers at once until the first failure each, and
// returns the errors.
func grantMany(t *testing.T, s *Store, prefix string, each int) (granted []breakglass.Event, errs []error) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range each {
				ev := event(fmt.Sprintf("%s-%d-%d", prefix, i, j), "prod")
				ev.Justification = strings.Repeat("x", 900)
				err := grant(t, s, ev)
				mu.Lock()
				if err == nil {
					granted = append(granted, ev)
				} else {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return granted, errs
}

func requireAll(t *testing.T, s *Store, granted []breakglass.Event) {
	t.Helper()
	for _, ev := range granted {
		got, err := s.Event(t.Context(), ev.ID)
		require.NoError(t, err, "acknowledged")
		require.Equal(t, ev, got)
	}
	require.Equal(t, len(granted), requireWhole(t, s), "nothing beside what was acknowledged")
}

func TestAFullDatabaseFailsCleanlyAndRecovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, now := openWithClock(t, path)
	require.NoError(t, s.Ping(t.Context()))
	pragma(t, s, "max_page_count = 400")
	granted, errs := grantMany(t, s, "a", 500)
	require.Len(t, errs, 16, "every caller ran into it")
	for _, err := range errs {
		require.ErrorIs(t, err, errDiskFull)
		var e *breakglass.Error
		require.False(t, errors.As(err, &e), "the service makes 503 of what isn't an answer of its own")
	}
	requireAll(t, s, granted)
	require.ErrorIs(t, s.Ping(t.Context()), errDiskFull, "not ready")
	now.advance(2 * probeEvery)
	require.ErrorIs(t, s.Ping(t.Context()), errDiskFull, "the probe finds it still full")

	pragma(t, s, "max_page_count = 1000000")
	require.NoError(t, s.Ping(t.Context()), "a success turns it green")
	more, errs := grantMany(t, s, "b", 5)
	require.Empty(t, errs)
	requireAll(t, s, append(granted, more...))
	require.NoError(t, s.Close())
	requireAll(t, openTest(t, path), append(granted, more...))
}

func TestAReadOnlyDatabaseFailsCleanlyAndRecovers(t *testing.T) {
	s, now, readOnly := openReadOnly(t, filepath.Join(t.TempDir(), "a.db"))
	granted, errs := grantMany(t, s, "a", 2)
	require.Empty(t, errs)
	readOnly(true)
	_, errs = grantMany(t, s, "b", 1)
	require.Len(t, errs, 16)
	for _, err := range errs {
		require.ErrorIs(t, err, errReadOnly)
	}
	require.ErrorIs(t, s.Ping(t.Context()), errReadOnly)
	requireAll(t, s, granted) // reading goes on
	readOnly(false)
	now.advance(2 * probeEvery)
	require.NoError(t, s.Ping(t.Context()), "found out by the probe, without any other traffic")
	more, errs := grantMany(t, s, "c", 1)
	require.Empty(t, errs)
	requireAll(t, s, append(granted, more...))
}

func TestALostConnectionIsReplaced(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, grant(t, s, event("alice", "prod")))
	// A transaction left open, as if ROLLBACK had failed, poisons the next BEGIN.
	require.NoError(t, s.apply(t.Context(), func(c *conn) error { return c.script("COMMIT; BEGIN; SAVEPOINT x; COMMIT; BEGIN") }))
	require.NoError(t, s.apply(t.Context(), func(c *conn) error { return c.script("COMMIT; BEGIN IMMEDIATE") }))
	require.NoError(t, grant(t, s, event("alice", "staging")))
	// A connection that is closed under the writer is opened anew.
	err := s.apply(t.Context(), func(c *conn) error { return c.script("ROLLBACK") })
	require.Error(t, err, "COMMIT without a transaction")
	require.NoError(t, grant(t, s, event("alice", "third")))
	require.Equal(t, 3, requireWhole(t, s))
}

func TestAReplacedDatabaseFileIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openTest(t, path)
	require.NoError(t, grant(t, s, event("alice", "prod")))
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, os.Rename(path, path+".old"))
	require.ErrorContains(t, s.Ping(t.Context()), "gone")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.ErrorContains(t, s.Ping(t.Context()), "was replaced")
	require.NoError(t, os.Rename(path+".old", path))
	require.NoError(t, s.Ping(t.Context()))
}

func TestPingProvesWritingWhenNobodyElseDoes(t *testing.T) {
	s, now, readOnly := openReadOnly(t, filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, s.Ping(t.Context()))
	readOnly(true)
	require.NoError(t, s.Ping(t.Context()), "a recent commit is proof enough")
	now.advance(provenFor + time.Second)
	require.ErrorIs(t, s.Ping(t.Context()), errReadOnly)
	readOnly(false)
	now.advance(-time.Hour) // a clock that is set back doesn't silence it
	require.NoError(t, s.Ping(t.Context()))
	readOnly(true)
	now.advance(-time.Hour)
	require.ErrorIs(t, s.Ping(t.Context()), errReadOnly)
	readOnly(false)
	var left int
	require.NoError(t, s.read.db.QueryRow("SELECT count(*) FROM probe").Scan(&left))
	require.Zero(t, left, "probes leave nothing behind")
}

func TestBackupIsWholeAndRefusesAnExistingFile(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "a.db"))
	granted, errs := grantMany(t, s, "a", 3)
	require.Empty(t, errs)
	copied := filepath.Join(dir, "it's a copy?.db")
	require.NoError(t, s.Backup(t.Context(), copied))
	require.ErrorContains(t, s.Backup(t.Context(), copied), "the file exists")
	require.ErrorContains(t, s.Backup(t.Context(), filepath.Join(dir, "missing", "x.db")), "no such file")
	require.NoError(t, grant(t, s, event("later", "prod")))
	b := openTest(t, copied)
	requireAll(t, b, granted)
	require.NoError(t, grant(t, b, event("after", "prod")), "a copy is a database like any other")
}
