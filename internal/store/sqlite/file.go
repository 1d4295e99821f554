package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// prepare makes path absolute and refuses what can't become a database before
// anything is created beside it.
func prepare(path string) (string, error) {
	if path == "" {
		return "", errors.New("no path for the database file given")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("the directory of the database file: %w", err)
	} else if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", fmt.Errorf("the database file: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("%s is a directory; give the path of the database file in it", path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	return path, nil
}

// openPrivate opens a file for writing and creates it with mode 0600, whatever
// the umask is. The mode of an existing file is left to the operator.
func openPrivate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fileHeader begins every SQLite database.
const fileHeader = "SQLite format 3\x00"

// ensureFile creates the database file when there is none (SQLite gives its log
// the same mode) and checks that it can be one.
func ensureFile(path string) (os.FileInfo, error) {
	f, err := openPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("the database file can't be opened for writing: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the database file: %w", err)
	}
	if info.Size() == 0 {
		return info, nil
	}
	start := make([]byte, len(fileHeader))
	if n, err := io.ReadFull(f, start); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read the database file: %w", err)
	} else if string(start[:n]) != fileHeader {
		return nil, fmt.Errorf("%s is not a SQLite database", path)
	}
	return info, nil
}

// dsn is the connection string for a file whose name may hold anything.
func dsn(path string, pragmas []string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}).String()
}

// cacheKiB is the page cache of the writer: large enough for the inner pages
// and the ends of all indexes of some million events.
const cacheKiB = 64 << 10

func writePragmas() []string {
	return []string{
		"busy_timeout(5000)", // milliseconds: an operator's sqlite3 shell may hold a lock
		"journal_mode(WAL)",
		"synchronous(FULL)", // with WAL anything less may lose acknowledged commits at power loss
		"foreign_keys(1)",
		"trusted_schema(0)",
		// Pages of the log before it is copied into the database, which stops
		// the writer for a moment. Rarer and larger costs less in all.
		"wal_autocheckpoint(8000)",
		"journal_size_limit(67108864)",
		fmt.Sprintf("cache_size(-%d)", cacheKiB),
	}
}

func readPragmas() []string {
	return []string{"busy_timeout(5000)", "query_only(1)", "trusted_schema(0)", "cache_size(-16384)"}
}

// code is the primary result code of a SQLite error, or -1.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Code() & 0xff
}

// explain says in words what is wrong with a file that can't be used.
func explain(path string, err error) error {
	switch code(err) {
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%s is not a SQLite database, or its first page is damaged: %w", path, err)
	case sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s is damaged; restore it from a backup: %w", path, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%s and its directory must be writable: %w", path, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk of %s is full: %w", path, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%s is locked by another program: %w", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
