package sqlite

import (
	"context"
	"errors"
	"time"

	"breakglass/internal/breakglass"
)

// Each half comes from its index in order, and SQLite merges them.
const sqlAgenda = `SELECT due_at AS due, 0 AS kind, id FROM events INDEXED BY events_due WHERE status = 'active'
	UNION ALL SELECT expires_at, 1, id FROM access_requests INDEXED BY access_requests_due WHERE status IN ('pending', 'approved')
	ORDER BY due, id LIMIT ?`

// Agenda implements breakglass.Store.
func (s *Store) Agenda(ctx context.Context, limit int) ([]breakglass.Task, error) {
	if limit < 1 {
		return nil, errLimit
	}
	tasks, err := s.agenda(ctx, limit)
	if err != nil {
		return nil, s.readError("the agenda", err)
	}
	return tasks, nil
}

func (s *Store) agenda(ctx context.Context, limit int) (_ []breakglass.Task, err error) {
	rows, err := s.read.query(ctx, sqlAgenda, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var tasks []breakglass.Task
	for rows.Next() {
		var due int64
		var isRequest bool
		var id string
		if err := rows.Scan(&due, &isRequest, &id); err != nil {
			return nil, err
		}
		t := breakglass.Task{At: fromMicros(due)}
		if isRequest {
			t.RequestID = id
		} else {
			t.EventID = id
		}
		tasks = append(tasks, t)
	}
	return tasks, rows.Err()
}

// Claim implements breakglass.Store. The lock on the file makes this process
// the only one that could.
func (s *Store) Claim(context.Context, breakglass.Task, time.Time, time.Time) error { return nil }
