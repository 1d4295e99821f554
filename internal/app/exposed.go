package app

import (
	"fmt"

	"breakglass/internal/config"
	"breakglass/internal/fileperm"
	"breakglass/internal/notify"
)

// exposed names files with secrets, or with what people wrote in confidence,
// that everybody on the machine may read.
func exposed(cfg config.Config) []warning {
	var w []warning
	look := func(field, path string) {
		if path != "" && fileperm.Exposed(path) {
			w = append(w, warning{field, fmt.Sprintf("can be read by everybody on this machine: chmod o-r %s", path)})
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm"} { // SQLite gives the others the database's mode when it makes them
		look("store.sqlite.path", cfg.Store.SQLite.Path+suffix)
	}
	look("tls.key_file", cfg.TLS.KeyFile)
	look("audit.file", cfg.Audit.File)
	var sinks func(path string, list []notify.SinkConfig)
	sinks = func(path string, list []notify.SinkConfig) {
		for i, s := range list {
			at := fmt.Sprintf("%s.sinks[%d]", path, i)
			look(at+".secret_file", s.SecretFile)
			sinks(at, s.Sinks)
		}
	}
	sinks("notify", cfg.Notify.Sinks)
	return w
}
