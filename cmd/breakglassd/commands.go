package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/app"
	"breakglass/internal/config"
	"breakglass/internal/version"
)

// errFound ends check when there were problems; they are printed already.
var errFound = errors.New("the configuration has problems")

func newCheck() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Report every problem of a configuration and the files that it names",
		Long: `Reports every problem of the configuration, the policy and the rate limits at once, with file and line,
and whether the secrets that sinks need are there. Warns about what is allowed but rarely meant: missing
safeguards, folders for its data that aren't there, files that everybody may read, and names in rules and roles
that no profile has, or no static token while there is no other way in.
Nothing is started, changed or asked over the network. Exit code 0 means that the server would start with it,
given those folders.`,
		Example: "  breakglassd check --config /etc/breakglass/config.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return usageError{errors.New("check needs --config FILE")}
			}
			warnings, err := app.Check(path)
			for _, w := range warnings {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), w) // the log of the server says it too
			}
			if err != nil {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), err) // the exit code says it too
				return errFound
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: no problems\n", path)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration `FILE`")
	return cmd
}

// loadFile is the configuration that --config names.
func loadFile(path string) (config.Config, error) {
	if path == "" {
		return config.Config{}, usageError{errors.New("--config FILE is required")}
	}
	return config.Load(path)
}

func newBackup() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "backup --config FILE DESTINATION",
		Short: "Write a consistent copy of the database, also while the server runs",
		Long: `Writes a consistent, compact copy of the database to a new file. The server may
be running. Restoring is putting the copy in the database's place while no
server runs.`,
		Example: "  breakglassd backup --config /etc/breakglass/config.yaml /backup/breakglass-2026-03-01.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("backup needs one DESTINATION file")}
			}
			cfg, err := loadFile(path)
			if err != nil {
				return err
			}
			if err := app.Backup(cmd.Context(), cfg.Store, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s written\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration `FILE`")
	return cmd
}

func newDeliveries() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deliveries",
		Short: "Show notifications that wait or were given up, try those again, forget those of removed sinks",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var path string
	cmd.PersistentFlags().StringVar(&path, "config", "", "configuration `FILE`")

	list := &cobra.Command{
		Use:     "list --config FILE",
		Short:   "Count the waiting and the dead deliveries of each sink",
		Example: "  breakglassd deliveries list --config /etc/breakglass/config.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadFile(path)
			if err != nil {
				return err
			}
			st, err := app.OpenDeliveries(cmd.Context(), cfg.Store, newLogger(cfg.Log, cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			counts, err := st.DeliveryCounts(cmd.Context())
			if err := errors.Join(err, st.Close()); err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "SINK\tWAITING\tDEAD\tOLDEST WAITING") // Flush reports it
			for _, sink := range slices.Sorted(maps.Keys(counts)) {
				c := counts[sink]
				oldest := "-"
				if !c.Oldest.IsZero() {
					oldest = c.Oldest.UTC().Format(time.RFC3339)
				}
				_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", plain(sink), c.Pending, c.Dead, oldest) // Flush reports it
			}
			return w.Flush()
		},
	}
	var sink string
	retry := &cobra.Command{
		Use:   "retry --config FILE [--sink NAME]",
		Short: "Make dead deliveries due again",
		Long: `Makes deliveries that were given up due again, of one sink or of all. A server
on SQLite must not be running: it takes them up when it starts. Servers on
DynamoDB take them up within a minute.`,
		Example: "  breakglassd deliveries retry --config /etc/breakglass/config.yaml --sink siem",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadFile(path)
			if err != nil {
				return err
			}
			st, err := app.OpenStore(cmd.Context(), cfg.Store, newLogger(cfg.Log, cmd.ErrOrStderr()), nil)
			if err != nil {
				return err
			}
			n, err := retryDead(cmd.Context(), st, sinkNames(cfg), sink)
			if err := errors.Join(err, st.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d deliveries are due again\n", n)
			return err
		},
	}
	retry.Flags().StringVar(&sink, "sink", "", "only deliveries to the sink `NAME`")
	cmd.AddCommand(list, retry, newDrop(&path))
	return cmd
}

// plain is a name as it is when a terminal and a reader of columns can take it,
// and quoted otherwise.
func plain(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || name == "" || strings.ContainsAny(name, " ") {
		return quoted
	}
	return name
}

// retryDead makes the dead deliveries of a sink due again; "" means all.
func retryDead(ctx context.Context, st app.Store, configured []string, sink string) (int, error) {
	if sink != "" {
		if err := known(ctx, st, configured, sink); err != nil {
			return 0, err
		}
	}
	return st.RetryDead(ctx, sink)
}

func newHealthcheck() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use:     "healthcheck [--url URL]",
		Short:   "Ask a running server whether it is ready; for containers without a shell",
		Example: "  breakglassd healthcheck --url http://127.0.0.1:8080/readyz",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return usageError{err}
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }() // nothing was written
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("not ready: %s answers %s", url, res.Status)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:8080/readyz", "the server's `URL` to ask")
	return cmd
}

// build says which build this is.
func build() string { return fmt.Sprintf("%s (%s, %s)", version.Version, version.Commit, version.Go()) }

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "breakglassd %s\n", build())
			return err
		},
	}
}
