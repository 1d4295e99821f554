package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"breakglass/internal/breakglass"
)

// Beside reads a database that a server may have open at the same time, for
// operators' commands. It never writes to it, and needs no lock.
type Beside struct{ s *Store }

// OpenBeside opens the database at path for reading; it must exist.
func OpenBeside(ctx context.Context, path string) (*Beside, error) {
	// A URI can't name a file by a relative path.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	read, err := openReader(ctx, path, 1)
	if err != nil {
		return nil, explain(path, err)
	}
	return &Beside{&Store{path: path, read: read}}, nil
}

// Backup is Store.Backup.
func (b *Beside) Backup(ctx context.Context, destPath string) error { return b.s.Backup(ctx, destPath) }

// DeliveryCounts is Store.DeliveryCounts.
func (b *Beside) DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error) {
	return b.s.DeliveryCounts(ctx)
}

// Close closes the connection.
func (b *Beside) Close() error { return b.s.release() }
