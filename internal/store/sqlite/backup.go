package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Backup writes a consistent copy of the database to destPath while the server
// goes on, with mode 0600 as it holds the same. It refuses a file that exists;
// what a failed backup leaves behind is removed.
func (s *Store) Backup(ctx context.Context, destPath string) (err error) {
	f, err := os.OpenFile(destPath, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("back up to %s: the file exists; give the name of a new one", destPath)
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(destPath)
			err = fmt.Errorf("back up to %s: %w", destPath, err)
		}
	}()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	// The reading connections may not write, not even elsewhere.
	db, err := sql.Open("sqlite", dsn(s.path, []string{"busy_timeout(5000)"}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// VACUUM INTO takes a file that is there as long as it is empty.
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, destPath); err != nil {
		return s.readError("the database", err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(destPath))
}

// syncDir makes the name of a new file durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
