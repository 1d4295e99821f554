package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestASecondServerOnTheSameFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openTest(t, path)
	_, err := Open(t.Context(), path, Options{})
	require.ErrorContains(t, err, path+" is in use by process "+fmt.Sprint(os.Getpid()))
	require.NoError(t, grant(t, s, event("alice", "prod")), "the first server isn't disturbed")
	require.NoError(t, s.Close())
	again := openTest(t, path)
	require.Equal(t, 1, requireWhole(t, again))
}

func TestFilesArePrivateWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o077, 0o777} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.db")
		restore := setUmask(umask)
		s, err := Open(t.Context(), path, Options{})
		if err == nil {
			err = errors.Join(grant(t, s, event("alice", "prod")), s.Backup(t.Context(), path+".copy"))
		}
		restore()
		require.NoError(t, err)
		for _, name := range []string{"a.db", "a.db.lock", "a.db-wal", "a.db-shm", "a.db.copy"} {
			info, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), "%s under umask %03o", name, umask)
		}
		require.NoError(t, s.Close())
	}
}

func TestAnyFileNameWorks(t *testing.T) {
	for _, name := range []string{"a b.db", "100%.db", "what?.db", "a#b.db", "%41.db", "it's;.db", "ü—東京.db", ":memory:", "a&_pragma=x"} {
		path := filepath.Join(t.TempDir(), name)
		s := openTest(t, path)
		require.NoError(t, grant(t, s, event("alice", "prod")), name)
		require.NoError(t, s.Close())
		info, err := os.Stat(path)
		require.NoError(t, err, name)
		require.NotZero(t, info.Size(), name)
	}
}

func TestWhatCantBeADatabaseIsRefusedInWords(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for name, c := range map[string]struct{ path, words string }{
		"no path":      {"", "no path"},
		"a directory":  {dir, "is a directory"},
		"no directory": {filepath.Join(dir, "missing", "a.db"), "no such file or directory"},
		"under a file": {filepath.Join(write("file", "x"), "a.db"), "not a directory"},
		"text":         {write("notes.txt", "dear diary, this is much longer than a header"), "is not a SQLite database"},
		"short text":   {write("short.txt", "hi"), "is not a SQLite database"},
		"a device":     {"/dev/null", "is not a regular file"},
		"only a head":  {write("head.db", fileHeader+strings.Repeat("\x00", 84)), "is not a SQLite database"},
		"garbage":      {write("garbage.db", fileHeader+strings.Repeat("\xa5", 8192)), "is not a SQLite database"},
	} {
		_, err := Open(t.Context(), c.path, Options{})
		require.ErrorContains(t, err, c.words, name)
	}
	b, err := os.ReadFile(filepath.Join(dir, "notes.txt"))
	require.NoError(t, err)
	require.Equal(t, "dear diary, this is much longer than a header", string(b), "a refused file is left alone")
}

func rawExec(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, nil))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for _, st := range statements {
		_, err := db.ExecContext(t.Context(), st)
		require.NoError(t, err, st)
	}
}

func TestADatabaseOfAnotherProgramIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	rawExec(t, path, "CREATE TABLE events (id)")
	_, err := Open(t.Context(), path, Options{})
	require.ErrorContains(t, err, "database of another program")
	rawExec(t, path, "INSERT INTO events VALUES (1)")
}

func TestANewerSchemaIsRefusedNamingBothVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	require.NoError(t, openTest(t, path).Close())
	rawExec(t, path, "UPDATE meta SET value = '7' WHERE key = 'schema_version'")
	_, err := Open(t.Context(), path, Options{})
	require.ErrorContains(t, err, "schema version 7")
	require.ErrorContains(t, err, fmt.Sprintf("versions up to %d", len(migrations())))
	rawExec(t, path, "UPDATE meta SET value = 'x' WHERE key = 'schema_version'")
	_, err = Open(t.Context(), path, Options{})
	require.ErrorContains(t, err, `(found "x")`)
}

func TestMigrationsRunOnceInOrderAndAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	steps := migrations()
	s := openTest(t, path)
	require.NoError(t, grant(t, s, event("alice", "prod")))
	require.NoError(t, s.Close())

	latest := len(steps)
	second := migration{version: latest + 1, sql: "CREATE TABLE extra (n); INSERT INTO extra VALUES (1);"}
	third := migration{version: latest + 2, sql: "ALTER TABLE extra ADD COLUMN m; CREATE TABLE broken (; "}
	_, err := open(context.Background(), path, Options{}, append(steps, second, third))
	require.ErrorContains(t, err, fmt.Sprintf("migrate the schema to version %d", latest+2))
	for range 2 { // the second time there is nothing to do
		s, err = open(context.Background(), path, Options{}, append(steps, second))
		require.NoError(t, err)
		require.Equal(t, 1, requireWhole(t, s))
		var n, columns int
		require.NoError(t, s.read.db.QueryRow("SELECT count(*), (SELECT count(*) FROM pragma_table_info('extra')) FROM extra").Scan(&n, &columns))
		require.Equal(t, []int{1, 1}, []int{n, columns}, "the failed step left nothing")
		require.NoError(t, s.Close())
	}
	_, err = Open(t.Context(), path, Options{})
	require.ErrorContains(t, err, fmt.Sprintf("schema version %d", latest+1))
}

// schemaOf is the whole schema of a database file.
func schemaOf(t *testing.T, path string) (texts []string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	rows, err := db.Query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var text string
		require.NoError(t, rows.Scan(&text))
		texts = append(texts, text)
	}
	require.NoError(t, rows.Err())
	return texts
}

func TestADatabaseOfAnEarlierVersionIsBroughtUpToDate(t *testing.T) {
	for version := 1; version < len(migrations()); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			dir := t.TempDir()
			fresh, path := filepath.Join(dir, "fresh.db"), filepath.Join(dir, "a.db")
			s := openTest(t, fresh)
			ev := event("alice", "prod")
			require.NoError(t, grant(t, s, ev))
			require.NoError(t, s.Close())
			for _, step := range migrations()[:version] {
				rawExec(t, path, step.sql+";"+stamp(step.version))
			}
			const columns = `pk, id, invoker, requested_by, profile, reason_code, justification, ticket, duration_seconds, status,
				created_at, updated_at, expires_at, closed_at, closed_by, closed_reason, request_id, policy_rule, escalated`
			rawExec(t, path, `ATTACH '`+fresh+`' AS fresh; INSERT INTO events SELECT `+columns+` FROM fresh.events;
				INSERT INTO entries SELECT * FROM fresh.entries; INSERT INTO deliveries SELECT * FROM fresh.deliveries`)

			for range 2 { // the second time there is nothing to do
				s, err := Open(t.Context(), path, Options{})
				require.NoError(t, err)
				require.Equal(t, 1, requireWhole(t, s), "nothing is lost")
				got, err := s.Event(t.Context(), ev.ID)
				require.NoError(t, err)
				require.Equal(t, ev, got, "what is new is zero")
				tasks, err := s.Agenda(t.Context(), 10)
				require.NoError(t, err)
				require.Equal(t, []breakglass.Task{{At: ev.ExpiresAt, EventID: ev.ID}}, tasks)
				require.NoError(t, s.Update(t.Context(), breakglass.Keys{Factor: "alice"}, func(tx breakglass.Tx) error {
					return tx.PutFactor(breakglass.Factor{Name: "alice", LastStep: 1})
				}))
				require.NoError(t, s.Close())
			}
			require.Equal(t, schemaOf(t, fresh), schemaOf(t, path))
		})
	}
}

func TestADamagedOrEditedEndOfTheTrailIsRefused(t *testing.T) {
	for name, edit := range map[string]string{
		"edited":      `UPDATE entries SET body = replace(body, 'alice', 'mallo') WHERE seq = 2`,
		"other hash":  `UPDATE entries SET hash = replace(hash, substr(hash, 1, 1), 'g') WHERE seq = 2`,
		"moved":       `UPDATE entries SET seq = 3 WHERE seq = 2`,
		"not an JSON": `UPDATE entries SET body = 'x' WHERE seq = 2`,
	} {
		path := filepath.Join(t.TempDir(), "a.db")
		s := openTest(t, path)
		require.NoError(t, grant(t, s, event("alice", "prod")))
		require.NoError(t, grant(t, s, event("alice", "staging")))
		require.NoError(t, s.Close())
		rawExec(t, path, edit)
		_, err := Open(t.Context(), path, Options{})
		require.ErrorContains(t, err, "audit", name)
	}
}

func TestDurabilityIsAsPromised(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	for text, want := range map[string]int64{"synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000} {
		require.NoError(t, s.apply(t.Context(), func(c *conn) error {
			return c.one("PRAGMA "+text, func(v []driverValue) { require.Equal(t, want, v[0], text) })
		}))
	}
	var mode string
	require.NoError(t, s.read.db.QueryRow("PRAGMA journal_mode").Scan(&mode))
	require.Equal(t, "wal", mode)
	_, err := s.read.db.Exec("DELETE FROM events")
	require.ErrorContains(t, err, "readonly", "readers can't write")
}

func TestAfterCloseEverythingFailsClearly(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, grant(t, s, event("alice", "prod")))
	waiting := make(chan error, 1)
	go func() { waiting <- s.Wait(t.Context(), 1) }()
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "closing twice is fine")
	require.ErrorIs(t, <-waiting, ErrClosed)
	require.ErrorIs(t, grant(t, s, event("bob", "prod")), ErrClosed)
	_, err := s.Event(t.Context(), breakglass.NewID())
	require.ErrorIs(t, err, ErrClosed)
	_, _, err = s.Entries(t.Context(), breakglass.EntryQuery{Limit: 1})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Ping(t.Context()), ErrClosed)
	_, err = os.Stat(s.path + "-wal")
	require.ErrorIs(t, err, fs.ErrNotExist, "a clean close leaves one file")
}

func TestAListingNeedsALimit(t *testing.T) {
	s := openTest(t, filepath.Join(t.TempDir(), "a.db"))
	_, err := s.Events(t.Context(), breakglass.EventQuery{})
	require.ErrorIs(t, err, errLimit)
	_, err = s.Agenda(t.Context(), -1)
	require.ErrorIs(t, err, errLimit)
	_, _, err = s.Entries(t.Context(), breakglass.EntryQuery{})
	require.ErrorIs(t, err, errLimit)
	_, _, err = s.DueDeliveries(t.Context(), "x", noon, 0)
	require.ErrorIs(t, err, errLimit)
}
