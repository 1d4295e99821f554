package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"breakglass/internal/config"
	"breakglass/internal/store/dynamodb"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/store/transfer"
)

// Export writes everything in the store of a configuration to out.
func Export(ctx context.Context, c config.Store, log *slog.Logger, out io.Writer) (transfer.Header, error) {
	if c.Driver == config.DriverSQLite {
		b, err := sqlite.OpenBeside(ctx, c.SQLite.Path)
		if err != nil {
			return transfer.Header{}, err
		}
		h, err := b.Dump(ctx, out)
		return h, errors.Join(err, b.Close())
	}
	cfg, err := awsConfig(ctx, c.DynamoDB.Region, log)
	if err != nil {
		return transfer.Header{}, err
	}
	return dynamodb.Dump(ctx, cfg, dynamodb.Options{Table: c.DynamoDB.Table, Endpoint: c.DynamoDB.Endpoint, Log: log}, out)
}

// Import fills the store of a configuration, which must be empty, with an export.
func Import(ctx context.Context, c config.Store, log *slog.Logger, in io.Reader) (transfer.Header, error) {
	if c.Driver == config.DriverSQLite {
		return sqlite.Restore(ctx, c.SQLite.Path, in)
	}
	if err := verifyFirst(in); err != nil {
		return transfer.Header{}, err
	}
	cfg, err := awsConfig(ctx, c.DynamoDB.Region, log)
	if err != nil {
		return transfer.Header{}, err
	}
	return dynamodb.Restore(ctx, cfg, dynamodb.Options{Table: c.DynamoDB.Table, Endpoint: c.DynamoDB.Endpoint, Log: log}, in)
}

// verifyFirst reads an export that is a file to its end and goes back to the
// start. A table can't be rolled back, so nothing is written to it from a file
// that is damaged. What comes through a pipe is verified as it is written.
func verifyFirst(in io.Reader) error {
	f, ok := in.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := transfer.Verify(f); err != nil {
		return err
	}
	_, err = f.Seek(start, io.SeekStart)
	return err
}
