package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"breakglass/internal/app"
	"breakglass/internal/config"
	"breakglass/internal/store/transfer"
)

func newExport() *cobra.Command {
	var path, output string
	cmd := &cobra.Command{
		Use:   "export --config FILE [--output FILE]",
		Short: "Write everything in the store to a file, to move it to another store",
		Long: `Writes events, access requests, audit trail, waiting and given-up deliveries,
idempotency records and second factors as JSON lines, which breakglassd import
puts into another store. The audit trail is verified on the way.

A SQLite database is exported as of one instant, also while the server runs.
DynamoDB has no such instant: stop every server first. For a move stop the
server in either case; what happens after the export is not in it.

The file holds justifications and the audit trail, and no secrets but those of
second factors, sealed. It is created
with mode 0600 and must not exist. Without --output it goes to standard output.`,
		Example: "  breakglassd export --config /etc/breakglass/config.yaml --output breakglass.jsonl",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := storeConfig(path)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			var h transfer.Header
			write := func(w io.Writer) (err error) {
				h, err = app.Export(ctx, cfg.Store, newLogger(cfg.Log, cmd.ErrOrStderr()), w)
				return err
			}
			if output == "" {
				err = write(cmd.OutOrStdout())
			} else {
				err = writeNew(output, write)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "exported %s; head %s\n", h.Counts, h.Head)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration `FILE` of the store to export")
	cmd.Flags().StringVar(&output, "output", "", "new `FILE` to write; default standard output")
	return cmd
}

func newImport() *cobra.Command {
	var path, input string
	cmd := &cobra.Command{
		Use:   "import --config FILE [--input FILE]",
		Short: "Fill an empty store with what breakglassd export has written",
		Long: `Fills the store of a configuration, which must be empty, and verifies the whole
export: its audit trail, its counts and its checksum. The store can be used once
all of that holds. When an import into SQLite fails, the database stays empty;
when one into DynamoDB fails or is killed, no server starts on the table until
import was run again to its end. The table has to be there: breakglassd init
dynamodb creates it.

Without --input the export is read from standard input.`,
		Example: "  breakglassd import --config /etc/breakglass/config.yaml --input breakglass.jsonl",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := storeConfig(path)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			in := cmd.InOrStdin()
			if input != "" {
				f, err := os.Open(input)
				if err != nil {
					return err
				}
				defer func() { _ = f.Close() }() // only read
				in = f
			}
			h, err := app.Import(ctx, cfg.Store, newLogger(cfg.Log, cmd.ErrOrStderr()), in)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "imported %s from %s; head %s\n", h.Counts, h.Source, h.Head)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration `FILE` of the store to fill")
	cmd.Flags().StringVar(&input, "input", "", "`FILE` to read; default standard input")
	return cmd
}

func storeConfig(path string) (config.Config, error) {
	if path == "" {
		return config.Config{}, usageError{errors.New("--config FILE is required")}
	}
	return config.Load(path)
}

// interruptible ends on the first signal, so that a file which isn't whole is
// removed; a second one ends the program.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// writeNew makes a file that only its owner may read, durable when it returns
// nil, and gone otherwise.
func writeNew(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; give the name of a new file", path)
	}
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}
