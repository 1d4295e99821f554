package sqlite

import (
	"context"
	"errors"

	"breakglass/internal/breakglass"
)

// One statement, so that all of it is as it was at one instant. The request's
// row has as many columns as the event's.
const sqlStanding = `SELECT 0, ` + eventColumns + ` FROM events INDEXED BY events_active
	WHERE invoker = ? AND profile = ? AND status = 'active'
	UNION ALL SELECT 1, ` + requestColumns + `, 0 FROM access_requests INDEXED BY access_requests_open
	WHERE requester = ? AND profile = ? AND status IN ('pending', 'approved')`

// Standing implements breakglass.Store.
func (s *Store) Standing(ctx context.Context, p breakglass.Pair) (breakglass.Standing, error) {
	var out breakglass.Standing
	err := s.standing(ctx, p, &out)
	if err == nil {
		out.LatestEntry, err = s.LatestEntryTime(ctx)
	}
	if err != nil {
		return breakglass.Standing{}, s.readError("what a person has on a profile", err)
	}
	return out, nil
}

func (s *Store) standing(ctx context.Context, p breakglass.Pair, out *breakglass.Standing) (err error) {
	rows, err := s.read.query(ctx, sqlStanding, p.Person, p.Profile, p.Person, p.Profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row := make(scanRow, len(columns))
		dest := make([]any, len(row))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if row[0] == int64(0) {
			ev, err := scanEvent(row[1:])
			if err != nil {
				return err
			}
			out.Event = &ev
			continue
		}
		r, err := scanAccessRequest(row[1:])
		if err != nil {
			return err
		}
		if r.Status == breakglass.RequestPending {
			out.Pending = &r
		} else {
			out.Approved = &r
		}
	}
	return rows.Err()
}
