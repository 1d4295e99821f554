package bench

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/sqlite"
)

// A history has the same people and profiles whatever its size, and is long
// over: it ends years before the measurement.
const (
	historyUsers    = 20
	historyProfiles = 50
	historyYears    = 3
)

func historyBegin() time.Time { return time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC) }

// pair is who invokes what in the i-th invocation of a history, and of a
// measurement upon it. It comes again after all others.
func pair(i int) (who, what string) {
	return user(i % historyUsers), profile(i / historyUsers % historyProfiles)
}

// historyID is the id of the i-th event of a history: any id, but always the
// same (a round of SplitMix64).
func historyID(i int) string {
	z := uint64(i+1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return fmt.Sprintf("%016x", z^z>>31)
}

// historyEvent is the i-th of n events: they are spread evenly, and all are over.
func historyEvent(i, n int) breakglass.Event {
	created := historyBegin().Add(historyYears * 365 * 24 * time.Hour / time.Duration(n) * time.Duration(i)).Truncate(time.Microsecond)
	who, what := pair(i)
	ends := created.Add(time.Minute) // before the next one begins, however many there are
	return breakglass.Event{ID: historyID(i), Invoker: who, RequestedBy: who, Profile: what, ReasonCode: breakglass.ReasonIncident,
		Justification: "primary database is down, see INC-4711", DurationSeconds: 60, Status: breakglass.StatusExpired,
		CreatedAt: created, UpdatedAt: ends, ExpiresAt: ends, RequestID: historyID(i), PolicyRule: "oncall"}
}

// entriesEach is how many audit entries an event of a history has.
const entriesEach = 2

// historyEntries are the entries of the i-th event: its beginning and its end.
func historyEntries(i int, e breakglass.Event) [entriesEach]breakglass.LogEntry {
	begun := breakglass.LogEntry{Seq: int64(entriesEach*i + 1), Timestamp: e.CreatedAt, Event: breakglass.EntryInvoked, EventID: e.ID, RequestID: e.RequestID,
		Actor: e.Invoker, Invoker: e.Invoker, Profile: e.Profile, ReasonCode: e.ReasonCode, Justification: e.Justification,
		Status: breakglass.StatusActive, DurationSeconds: e.DurationSeconds, ExpiresAt: e.ExpiresAt,
		Detail: map[string]string{breakglass.DetailPolicyRule: e.PolicyRule, breakglass.DetailPolicySHA256: historyHash}}
	over := begun
	over.Seq, over.Timestamp, over.Event = begun.Seq+1, e.ExpiresAt, breakglass.EntryExpired
	over.Actor, over.Status, over.Detail = breakglass.SystemActor, breakglass.StatusExpired, nil
	return [entriesEach]breakglass.LogEntry{begun, over}
}

// historyHash stands for the hash of the policy file of that time.
const historyHash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// history returns the path of a database with n events and the audit entries
// of each. It is kept for later runs; what they wrote is removed again.
func history(t testing.TB, n int) string {
	t.Helper()
	dir := cache(t)
	empty := filepath.Join(scratch(t), "schema.db")
	createStore(t, empty)
	path := filepath.Join(dir, fmt.Sprintf("history-%d-%s.db", n, schema(t, empty)))
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		start := time.Now()
		fill(t, empty, n)
		require.NoError(t, os.Rename(empty, path))
		removeOlder(t, filepath.Join(dir, fmt.Sprintf("history-%d-*.db*", n)), path)
		t.Logf("a history of %d events was built in %s", n, time.Since(start).Round(time.Second))
		return path
	}
	db := openRaw(t, path)
	defer func() { _ = db.Close() }() // nothing is left to write
	for _, text := range []string{"DELETE FROM deliveries", "DELETE FROM idempotency",
		fmt.Sprintf("DELETE FROM entries WHERE seq > %d", entriesEach*n), fmt.Sprintf("DELETE FROM events WHERE pk > %d", n)} {
		_, err := db.ExecContext(t.Context(), text)
		require.NoError(t, err, text)
	}
	return path
}

func removeOlder(t testing.TB, pattern, keep string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	require.NoError(t, err)
	for _, path := range paths {
		if path != keep {
			require.NoError(t, os.Remove(path))
		}
	}
}

func createStore(t testing.TB, path string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func openRaw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // pragmas are of one connection
	return db
}

// schema identifies the tables and indexes, and what is put there.
func schema(t testing.TB, path string) string {
	t.Helper()
	db := openRaw(t, path)
	defer func() { _ = db.Close() }() // only read
	var all string
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT group_concat(sql, ';' ORDER BY name) FROM sqlite_master").Scan(&all))
	e := historyEvent(7, 1000)
	sum := sha256.Sum256(fmt.Append(nil, all, e, historyEntries(7, e)))
	return hex.EncodeToString(sum[:])[:12]
}

// fill puts n events into an empty database. Indexes are built afterwards, from
// sorted rows, and nothing is durable until the end: that takes a minute for a
// million instead of ten.
func fill(t testing.TB, path string, n int) {
	t.Helper()
	ctx := t.Context()
	db := openRaw(t, path)
	exec := func(text string) {
		_, err := db.ExecContext(ctx, text)
		require.NoError(t, err, text)
	}
	exec("PRAGMA journal_mode=DELETE")
	exec("PRAGMA journal_mode=OFF")
	exec("PRAGMA synchronous=OFF")
	exec("PRAGMA cache_size=-500000")
	made := indexes(t, db)
	for name := range made {
		exec("DROP INDEX " + name)
	}
	require.NoError(t, insert(ctx, db, n))
	for _, text := range made {
		exec(text)
	}
	require.NoError(t, db.Close())
	createStore(t, path) // opens it as a server does, and leaves it in WAL mode
}

// indexes are the statements that made the indexes, by name.
func indexes(t testing.TB, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	made := map[string]string{}
	for rows.Next() {
		var name, text string
		require.NoError(t, rows.Scan(&name, &text))
		made[name] = text
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, made)
	return made
}

func insert(ctx context.Context, db *sql.DB, n int) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	event, err := tx.PrepareContext(ctx, `INSERT INTO events (id, invoker, requested_by, profile, reason_code, justification, ticket,
		duration_seconds, status, created_at, updated_at, expires_at, closed_at, closed_by, closed_reason, request_id, policy_rule, escalated)
		VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, 0, '', '', ?, ?, 0)`)
	if err != nil {
		return err
	}
	entry, err := tx.PrepareContext(ctx, `INSERT INTO entries (seq, event, invoker, profile, recorded_at, high_water, body, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	hash := audit.GenesisHash
	for i := range n {
		e := historyEvent(i, n)
		at := e.CreatedAt.UnixMicro()
		if _, err := event.ExecContext(ctx, e.ID, e.Invoker, e.RequestedBy, e.Profile, string(e.ReasonCode), e.Justification,
			e.DurationSeconds, string(e.Status), at, e.UpdatedAt.UnixMicro(), e.ExpiresAt.UnixMicro(), e.RequestID, e.PolicyRule); err != nil {
			return err
		}
		for _, l := range historyEntries(i, e) {
			audit.Seal(&l, hash)
			hash = l.Hash
			at := l.Timestamp.UnixMicro()
			if _, err := entry.ExecContext(ctx, l.Seq, string(l.Event), l.Invoker, l.Profile, at, at, string(audit.Canonical(l)), hash); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

// What is measured upon must be what a server would have written.
func TestAHistoryIsWhatTheStoreWouldHaveWritten(t *testing.T) {
	const n = 500
	path := filepath.Join(t.TempDir(), "history.db")
	createStore(t, path)
	fill(t, path, n)
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	require.NoError(t, err)
	defer func() { _ = s.Close() }() // only read
	entries, through, err := s.Entries(t.Context(), breakglass.EntryQuery{Limit: entriesEach*n + 1})
	require.NoError(t, err)
	assert.EqualValues(t, entriesEach*n, through)
	prev := audit.GenesisHash
	for i, e := range entries {
		want := e
		audit.Seal(&want, prev)
		require.Equal(t, want, e)
		prev = e.Hash
		ev, err := s.Event(t.Context(), historyID(i/entriesEach))
		require.NoError(t, err)
		require.Equal(t, historyEvent(i/entriesEach, n), ev)
	}
	active, err := s.Agenda(t.Context(), 1)
	require.NoError(t, err)
	assert.Empty(t, active)
}
