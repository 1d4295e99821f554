package sqlite

import (
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// applicationID marks a database as ours (PRAGMA application_id): "bgls".
const applicationID = 0x62676c73

// migration takes the schema from version-1 to version.
type migration struct {
	version int
	sql     string
}

// migrations lists the embedded steps in order. Their names begin with the
// version: 0001_….sql.
func migrations() []migration {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	slices.Sort(names)
	steps := make([]migration, len(names))
	for i, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic(err) // embedded
		}
		steps[i] = migration{version: i + 1, sql: string(text)}
	}
	return steps
}

// migrate brings the schema up to date, each step in a transaction of its own.
func migrate(c *conn, steps []migration) error {
	version, err := schemaVersion(c)
	if err != nil {
		return err
	}
	if latest := len(steps); version > latest {
		return fmt.Errorf("the database has schema version %d, but this program knows versions up to %d: "+
			"run the newer program, or restore a backup from before the upgrade", version, latest)
	}
	for _, step := range steps[version:] {
		if err := c.script("BEGIN IMMEDIATE;\n" + step.sql + "\n;" + stamp(step.version) + "COMMIT;"); err != nil {
			return fmt.Errorf("migrate the schema to version %d: %w", step.version, errors.Join(err, c.script("ROLLBACK")))
		}
	}
	return nil
}

func stamp(version int) string {
	return fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('schema_version', '%d') ON CONFLICT (key) DO UPDATE SET value = excluded.value;
PRAGMA application_id = %d;
`, version, applicationID)
}

// schemaVersion returns 0 for an empty database and refuses one of another
// program.
func schemaVersion(c *conn) (int, error) {
	var tables, app int64
	err := c.one("SELECT (SELECT count(*) FROM sqlite_schema), (SELECT application_id FROM pragma_application_id)",
		func(v []driver.Value) { tables, app = v[0].(int64), v[1].(int64) })
	if err != nil {
		return 0, err
	}
	if tables == 0 {
		return 0, nil
	}
	if app != applicationID {
		return 0, errors.New("this is a database of another program; nothing was changed in it")
	}
	var text string
	err = c.one("SELECT value FROM meta WHERE key = 'schema_version'", func(v []driver.Value) { text, _ = v[0].(string) })
	if err != nil {
		return 0, err
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 {
		return 0, fmt.Errorf("the database doesn't say which schema version it has (found %q)", text)
	}
	return version, nil
}
