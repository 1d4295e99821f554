package sqlite

import (
	"database/sql/driver"
	"syscall"
)

type driverValue = driver.Value

func setUmask(mask int) (restore func()) {
	old := syscall.Umask(mask)
	return func() { syscall.Umask(old) }
}
