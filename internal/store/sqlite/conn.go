package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"modernc.org/sqlite"
)

// conn is the writer's connection. It talks to the driver directly: the pool,
// the locks and the conversions of database/sql cost as much as the statements
// themselves, and a single owner needs none of them.
type conn struct {
	dc   driver.Conn
	args []driver.NamedValue // reused
	row  []driver.Value      // reused
	open []*stmt             // every prepared statement
	// The statements of the hot path.
	begin, commit, rollback                  *stmt
	event, eventByPK, active, last           *stmt
	byInvoker, byProfile, findIdem           *stmt
	findFactor                               *stmt
	accessRequest, requestByPK, openRequests *stmt
	putRequest, countEvent, countRequest     *stmt
	putEvent, putIdem, putEntry, putDelivery *stmt
	others                                   map[string]*stmt // by text, prepared when first needed
}

// stmt is a prepared statement of a conn.
type stmt struct {
	c *conn
	s interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
}

func dial(path string, pragmas []string) (*conn, error) {
	dc, err := (&sqlite.Driver{}).Open(dsn(path, pragmas))
	if err != nil {
		return nil, err
	}
	c := &conn{dc: dc, args: make([]driver.NamedValue, 32), row: make([]driver.Value, 32), others: map[string]*stmt{}}
	for i := range c.args {
		c.args[i].Ordinal = i + 1
	}
	return c, nil
}

// close finalizes the statements first: SQLite keeps the files of a connection
// open as long as it has one.
func (c *conn) close() error {
	var errs []error
	for _, st := range c.open {
		errs = append(errs, st.s.Close())
	}
	return errors.Join(append(errs, c.dc.Close())...)
}

// prepareAll prepares the statements of the hot path.
func (c *conn) prepareAll() error {
	for _, p := range []struct {
		to   **stmt
		text string
	}{
		{&c.begin, "BEGIN IMMEDIATE"},
		{&c.commit, "COMMIT"},
		{&c.rollback, "ROLLBACK"},
		{&c.event, sqlEvent},
		{&c.eventByPK, sqlEventByPK},
		{&c.active, sqlActive},
		{&c.last, sqlLast},
		{&c.byInvoker, sqlCountByInvoker},
		{&c.byProfile, sqlCountByProfile},
		{&c.findIdem, sqlFindIdempotent},
		{&c.findFactor, sqlFactor},
		{&c.accessRequest, sqlAccessRequest},
		{&c.requestByPK, sqlAccessRequestByPK},
		{&c.openRequests, sqlOpenRequests},
		{&c.putRequest, sqlPutAccessRequest},
		{&c.putEvent, sqlPutEvent},
		{&c.countEvent, sqlCountEvent},
		{&c.countRequest, sqlCountRequest},
		{&c.putIdem, sqlPutIdempotent},
		{&c.putEntry, sqlPutEntry},
		{&c.putDelivery, sqlPutDelivery},
	} {
		var err error
		if *p.to, err = c.prepare(p.text); err != nil {
			return fmt.Errorf("prepare %q: %w", p.text, err)
		}
		c.open = append(c.open, *p.to)
	}
	return nil
}

func (c *conn) prepare(text string) (*stmt, error) {
	ds, err := c.dc.Prepare(text)
	if err != nil {
		return nil, err
	}
	st := &stmt{c: c}
	var ok bool
	if st.s, ok = ds.(interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}); !ok {
		return nil, errors.New("the SQLite driver lacks context support")
	}
	return st, nil
}

// script runs statements that return nothing and take no arguments.
func (c *conn) script(text string) error {
	ex, ok := c.dc.(driver.ExecerContext)
	if !ok {
		return errors.New("the SQLite driver lacks ExecContext")
	}
	_, err := ex.ExecContext(context.Background(), text, nil)
	return err
}

// one runs a query that isn't worth keeping and hands its first row to f.
func (c *conn) one(text string, f func(v []driver.Value), args ...driver.Value) error {
	st, err := c.prepare(text)
	if err != nil {
		return err
	}
	defer func() { _ = st.s.Close() }()
	_, err = st.first(f, args...)
	return err
}

// exec runs one of a small, closed set of statements and returns how many rows
// it changed.
func (c *conn) exec(text string, args ...driver.Value) (int64, error) {
	st := c.others[text]
	if st == nil {
		var err error
		if st, err = c.prepare(text); err != nil {
			return 0, err
		}
		c.others[text] = st
		c.open = append(c.open, st)
	}
	res, err := st.s.ExecContext(context.Background(), c.bind(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// bind fills the one argument list. Nothing on this connection is interrupted:
// a context that can end would cost a goroutine for each statement.
func (c *conn) bind(args []driver.Value) []driver.NamedValue {
	for i, a := range args {
		c.args[i].Value = a
	}
	return c.args[:len(args)]
}

func (st *stmt) exec(args ...driver.Value) error {
	_, err := st.s.ExecContext(context.Background(), st.c.bind(args))
	return err
}

// first hands the first row to f; found is false when there is none. The row
// is only valid during the call.
func (st *stmt) first(f func(v []driver.Value), args ...driver.Value) (found bool, err error) {
	rows, err := st.s.QueryContext(context.Background(), st.c.bind(args))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := st.c.row[:len(rows.Columns())]
	switch err := rows.Next(row); {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, err
	}
	f(row)
	return true, nil
}

// scanRow makes a row of the driver readable like one of database/sql.
type scanRow []driver.Value

func (r scanRow) Scan(dest ...any) error {
	for i, d := range dest {
		ok := false
		switch d := d.(type) {
		case *string:
			*d, ok = r[i].(string)
		case *int64:
			*d, ok = r[i].(int64)
		}
		if !ok {
			return fmt.Errorf("column %d holds %T, not what %T needs", i, r[i], d)
		}
	}
	return nil
}

// micros is how times are stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// fromMicros is exact for every time in whole microseconds, the zero time
// included.
func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// optional is how a time is stored that may be missing: 0 then.
func optional(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

func fromOptional(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return fromMicros(us)
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
