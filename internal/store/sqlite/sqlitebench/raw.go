// Package sqlitebench measures what the disk and SQLite give without a store
// around them, as the yardstick for figures of the store and of the server.
package sqlitebench

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/store/sqlite"
)

// maxGroup is how many callers share a commit at most, as in the store.
const maxGroup = 128

// RawGroupCommit inserts the rows of n invocations (event, audit entry, one
// delivery) straight by SQL into a new database in dir with the schema and the
// durability of the store, for so many callers at once, each of which waits for
// its commit. It returns how many were committed in a second. Nothing is looked
// up, hashed or encoded.
func RawGroupCommit(ctx context.Context, dir string, callers, n int) (perSecond float64, err error) {
	path, err := filepath.Abs(filepath.Join(dir, "raw.db"))
	if err != nil {
		return 0, err
	}
	schema, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		return 0, err
	}
	if err := schema.Close(); err != nil {
		return 0, err
	}
	w, err := openRaw(ctx, path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.db.Close() }()
	return w.measure(ctx, callers, n)
}

type rawWriter struct {
	db                     *sql.DB
	conn                   *sql.Conn
	event, entry, delivery *sql.Stmt
	seq                    int64
	waiting                chan chan error
}

func openRaw(ctx context.Context, path string) (*rawWriter, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "wal_autocheckpoint(8000)", "cache_size(-65536)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	w := &rawWriter{db: db, waiting: make(chan chan error, 2*maxGroup)}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, err
	}
	for to, text := range map[**sql.Stmt]string{
		&w.event: `INSERT INTO events (id, invoker, requested_by, profile, reason_code, justification, ticket, duration_seconds, status,
			created_at, updated_at, expires_at, closed_at, closed_by, closed_reason, request_id, policy_rule, escalated)
			VALUES (?, ?, ?, 'prod', 'incident', 'primary database is down, see INC-4711', '', 3600, 'active',
			?, ?, ?, 0, '', '', ?, 'oncall', 0)`,
		&w.entry: `INSERT INTO entries (seq, event, invoker, profile, recorded_at, high_water, body, hash)
			VALUES (?, 'breakglass.invoked', ?, 'prod', ?, ?, ?, ?)`,
		&w.delivery: `INSERT INTO deliveries (seq, sink, next_attempt, attempts, dead, last_error, event) VALUES (?, 'secops', 0, 0, 0, '', ?)`,
	} {
		if *to, err = w.conn.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *rawWriter) measure(ctx context.Context, callers, n int) (float64, error) {
	stop := make(chan struct{})
	var writer, calls sync.WaitGroup
	writer.Go(func() { w.loop(ctx, stop) })
	var left atomic.Int64
	var failed atomic.Pointer[error]
	left.Store(int64(n))
	start := time.Now()
	for range callers {
		calls.Go(func() {
			done := make(chan error, 1)
			for left.Add(-1) >= 0 {
				w.waiting <- done
				if err := <-done; err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	calls.Wait()
	took := time.Since(start)
	close(stop)
	writer.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(n) / took.Seconds(), nil
}

// loop commits whoever waits, together.
func (w *rawWriter) loop(ctx context.Context, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case first := <-w.waiting:
			group := []chan error{first}
			for more := true; more && len(group) < maxGroup; {
				select {
				case next := <-w.waiting:
					group = append(group, next)
				default:
					more = false
				}
			}
			err := w.commit(ctx, len(group))
			for _, done := range group {
				done <- err
			}
		}
	}
}

// A body and a snapshot as long as those of an ordinary invocation.
var (
	body     = fmt.Sprintf(`{"pad":"%0560d"}`, 0)
	snapshot = fmt.Sprintf(`{"pad":"%0450d"}`, 0)
)

func (w *rawWriter) commit(ctx context.Context, n int) error {
	t, err := w.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }()
	for range n {
		w.seq++
		now := time.Now().UnixMicro()
		invoker, id := fmt.Sprintf("user-%d@example.com", w.seq), breakglass.NewID()
		if _, err := w.event.ExecContext(ctx, id, invoker, invoker, now, now, now+3600e6, id); err != nil {
			return err
		}
		if _, err := w.entry.ExecContext(ctx, w.seq, invoker, now, now, body, snapshot[:64]); err != nil {
			return err
		}
		if _, err := w.delivery.ExecContext(ctx, w.seq, snapshot); err != nil {
			return err
		}
	}
	return t.Commit()
}
