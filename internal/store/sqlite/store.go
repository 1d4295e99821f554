package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"breakglass/internal/breakglass"
)

var (
	_ breakglass.Store   = (*Store)(nil)
	_ breakglass.Journal = (*Store)(nil)
)

// ErrClosed is what every method returns after Close.
var ErrClosed = errors.New("the store is closed")

// Options tunes a Store. The zero value is right for a server.
type Options struct {
	// MaxGroup bounds how many transactions share one commit; default 128.
	MaxGroup int
	// Readers is the number of reading connections; default 4.
	Readers int
	// Now is the clock by which the readiness check and the patience of a search
	// go; default time.Now. Nothing that is stored depends on it.
	Now func() time.Time

	pragmas func() []string // of the writing connection; tests make it read-only
}

func (o Options) withDefaults() Options {
	if o.MaxGroup <= 0 {
		o.MaxGroup = 128
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.pragmas == nil {
		o.pragmas = writePragmas
	}
	return o
}

// Store is a SQLite file. It is safe for concurrent use.
type Store struct {
	path   string
	opts   Options
	lock   *os.File
	opened os.FileInfo // of the database file, to notice when it is replaced
	read   *reader
	health health

	head    atomic.Int64                  // seq of the newest committed entry
	latest  atomic.Int64                  // latest timestamp of any committed entry, in microseconds
	changed atomic.Pointer[chan struct{}] // closed and replaced when head moves

	mu       sync.RWMutex // guards closed, and requests against a send after its close
	closed   bool
	requests chan *request
	done     chan struct{} // closed when the writer has finished
	writer   *writer
}

// Open opens the database at path, creates it when there is none, and brings
// its schema up to date. It refuses a file that another server has open, one
// that isn't a database of breakglass, and one whose schema is newer than this
// program.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	return open(ctx, path, opts, migrations())
}

func open(ctx context.Context, path string, opts Options, steps []migration) (_ *Store, err error) {
	path, err = prepare(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, opts: opts.withDefaults(), done: make(chan struct{})}
	s.requests = make(chan *request, 2*s.opts.MaxGroup)
	first := make(chan struct{})
	s.changed.Store(&first)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if s.lock, err = acquire(path + ".lock"); err != nil {
		return nil, err
	}
	if s.opened, err = ensureFile(path); err != nil {
		return nil, err
	}
	s.writer = &writer{s: s, steps: steps}
	if err := s.writer.connect(); err != nil {
		return nil, explain(path, err)
	}
	if s.read, err = openReader(ctx, path, s.opts.Readers); err != nil {
		return nil, explain(path, err)
	}
	s.publish(s.writer.head)
	s.health.succeeded(s.opts.Now())
	go s.writer.loop()
	return s, nil
}

// Close stops accepting transactions, finishes those that were accepted and
// closes the file. Calling it again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closed = true
	close(s.requests)
	s.mu.Unlock()
	<-s.done
	return s.release()
}

// release gives back whatever has been opened so far.
func (s *Store) release() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.db.Close())
	}
	if s.writer != nil {
		// The last connection to go checkpoints the log and removes it.
		errs = append(errs, s.writer.disconnect())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}

// reader is the pool of reading connections and its prepared statements. The
// texts are a small, closed set, so each is prepared once and kept.
type reader struct {
	db    *sql.DB
	mu    sync.RWMutex
	stmts map[string]*sql.Stmt
}

func openReader(ctx context.Context, path string, conns int) (*reader, error) {
	db, err := sql.Open("sqlite", dsn(path, readPragmas()))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &reader{db: db, stmts: map[string]*sql.Stmt{}}, nil
}

func (r *reader) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	stmt, err := r.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (r *reader) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	r.mu.RLock()
	stmt := r.stmts[text]
	r.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if stmt := r.stmts[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := r.db.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	r.stmts[text] = stmt
	return stmt, nil
}

// readError makes the error of a read say what failed.
func (s *Store) readError(what string, err error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	return fmt.Errorf("read %s: %w", what, err)
}
