package sqlite

import (
	"database/sql/driver"
	"time"

	"breakglass/internal/breakglass"
)

const (
	factorColumns = `name, sealed, key_id, created_at, confirmed_at, last_step, failures, failed_at, locked_until, invitation, invited_until`
	sqlFactor     = `SELECT ` + factorColumns + ` FROM factors WHERE name = ?`
	sqlPutFactor  = `INSERT OR REPLACE INTO factors (` + factorColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	sqlDropFactor = `DELETE FROM factors WHERE name = ?`
)

func scanFactor(r scanner) (f breakglass.Factor, err error) {
	var created, confirmed, failures, failed, locked, invited int64
	err = r.Scan(&f.Name, &f.Sealed, &f.KeyID, &created, &confirmed, &f.LastStep, &failures, &failed, &locked, &f.Invitation, &invited)
	f.Failures = int(failures)
	for at, us := range map[*time.Time]int64{&f.CreatedAt: created, &f.ConfirmedAt: confirmed, &f.FailedAt: failed,
		&f.LockedUntil: locked, &f.InvitedUntil: invited} {
		*at = fromMicros(us)
	}
	return f, err
}

// FindFactor implements breakglass.Tx.
func (t *tx) FindFactor(name string) (*breakglass.Factor, error) {
	if err := t.lookup("second factor of "+name, t.factor(name)); err != nil {
		return nil, err
	}
	var f breakglass.Factor
	var scanErr error
	found, err := t.w.c.findFactor.first(func(v []driver.Value) { f, scanErr = scanFactor(scanRow(v)) }, name)
	if err == nil {
		err = scanErr
	}
	if err != nil {
		t.broken = err
		return nil, err
	}
	if !found {
		return nil, nil
	}
	return &f, nil
}

func (t *tx) factor(name string) bool { return name != "" && name == t.keys.Factor }

// PutFactor implements breakglass.Tx.
func (t *tx) PutFactor(f breakglass.Factor) error {
	if err := t.lookup("second factor of "+f.Name, t.factor(f.Name)); err != nil {
		return err
	}
	t.writes = append(t.writes, write{factor: &f})
	return nil
}

// DeleteFactor implements breakglass.Tx.
func (t *tx) DeleteFactor(name string) error {
	if err := t.lookup("second factor of "+name, t.factor(name)); err != nil {
		return err
	}
	t.writes = append(t.writes, write{dropFactor: name})
	return nil
}

func putFactor(c *conn, f *breakglass.Factor) error {
	_, err := c.exec(sqlPutFactor, f.Name, f.Sealed, f.KeyID, micros(f.CreatedAt), micros(f.ConfirmedAt), f.LastStep, int64(f.Failures),
		micros(f.FailedAt), micros(f.LockedUntil), f.Invitation, micros(f.InvitedUntil))
	return err
}

func dropFactor(c *conn, name string) error {
	_, err := c.exec(sqlDropFactor, name)
	return err
}
