package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"breakglass/internal/config"
)

// absent names folders that the server would write to and that aren't there. It
// makes none itself: under systemd the unit does, before the start.
func absent(cfg config.Config) []warning {
	var w []warning
	look := func(field, path string) {
		if path == "" {
			return
		}
		dir := filepath.Dir(path)
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			w = append(w, warning{field, fmt.Sprintf("lies in %s, which doesn't exist: the server won't start before it does", dir)})
		}
	}
	if cfg.Store.Driver == config.DriverSQLite {
		look("store.sqlite.path", cfg.Store.SQLite.Path)
	}
	look("audit.file", cfg.Audit.File)
	return w
}
