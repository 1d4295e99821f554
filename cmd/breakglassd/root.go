package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"breakglass/internal/app"
	"breakglass/internal/config"
)

// stopTimeout bounds a graceful stop.
const stopTimeout = 30 * time.Second

// run is the program: it returns the exit code. 2 means wrong use, 1 any
// other failure.
func run(args []string, stdout, stderr io.Writer) int {
	cmd := newRoot(stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.Execute()
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "breakglassd: %v\n", err) // nothing is left to tell
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// usageError is a wrong command line.
type usageError struct{ error }

type serveFlags struct {
	config      string
	dev         bool
	listen      string
	dataDir     string
	addrFile    string
	acceptClock bool
}

func newRoot(stderr io.Writer) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "breakglassd --config FILE | --dev",
		Short: "The break-glass server: emergency access to AWS, decided, recorded and announced",
		Long: `breakglassd decides who may break the glass, records it, tells the security
team, and hands out AWS credentials that end with the event.

It logs to standard error. SIGHUP reads the policy, the rate limits and
the certificate again (they are also read when they change) and reopens the
audit mirror; SIGTERM finishes what was accepted and stops.`,
		Example: `  breakglassd --dev
  breakglassd check --config /etc/breakglass/config.yaml
  breakglassd --config /etc/breakglass/config.yaml`,
		Args:          noArgs,
		Version:       build(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), f, cmd.Flags().Changed("listen"), cmd.OutOrStdout(), stderr)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.Flags().StringVar(&f.config, "config", "", "configuration `FILE`")
	cmd.Flags().BoolVar(&f.dev, "dev", false, "development mode: loopback, open policy, credentials that open nothing")
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "with --dev: loopback `ADDR` to listen on; port 0 picks a free one")
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "breakglass-dev", "with --dev: `DIR` for the database, the policy and the tokens")
	cmd.Flags().StringVar(&f.addrFile, "addr-file", "", "write the address that the API listens on to `FILE`, once it does")
	cmd.Flags().BoolVar(&f.acceptClock, "accept-clock", false, "work even though the clock lies behind the audit trail")
	cmd.AddCommand(newCheck(), newInit(), newBackup(), newExport(), newImport(), newDeliveries(), newToken(), newHealthcheck(), newVersion())
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.CompletionOptions.DisableDefaultCmd = true
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown argument %q; see breakglassd --help", args[0])}
	}
	return nil
}

// loadConfig finds the configuration that the flags name.
func (f serveFlags) loadConfig(listenSet bool) (config.Config, error) {
	switch {
	case f.dev && f.config != "":
		return config.Config{}, usageError{errors.New("--dev and --config exclude each other")}
	case f.dev:
		return app.DevConfig(f.listen, f.dataDir)
	case f.config == "":
		return config.Config{}, usageError{errors.New("--config FILE is required (or --dev to try it out)")}
	case listenSet:
		return config.Config{}, usageError{errors.New("--listen goes with --dev; put listen into the configuration file")}
	}
	return config.Load(f.config)
}

func serve(ctx context.Context, f serveFlags, listenSet bool, stdout, stderr io.Writer) error {
	cfg, err := f.loadConfig(listenSet)
	if err != nil {
		return err
	}
	log := newLogger(cfg.Log, stderr)
	// Where STS and SNS are is said in our own configuration alone. This also
	// holds for the SDK's search for the server's own credentials.
	if err := os.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"); err != nil {
		return err
	}
	// The first signal asks for a graceful stop; after it the default applies
	// again, so that a second one ends a stop that hangs.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	a, err := app.New(ctx, cfg, app.Options{Log: log, AuditOut: stdout, AcceptClock: f.acceptClock})
	if err != nil {
		return err
	}
	if err := a.Start(); err != nil {
		return err
	}
	if f.dev {
		log.Warn("development mode: the policy is open and the credentials open nothing",
			"tokens", filepath.Join(f.dataDir, app.DevTokensFile))
	}
	if err := writeAddr(f.addrFile, a.Addr().String()); err != nil {
		return errors.Join(err, stopWithin(a))
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	for {
		select {
		case <-reload:
			a.Reload(ctx)
		case err := <-a.Failed():
			return errors.Join(err, stopWithin(a))
		case <-ctx.Done():
			log.Info("stopping: finishing what was accepted")
			return stopWithin(a)
		}
	}
}

func stopWithin(a *app.App) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return a.Stop(ctx)
}

// writeAddr tells other programs where the server listens. The file appears
// whole or not at all, because they wait for it.
func writeAddr(path, addr string) error {
	if path == "" {
		return nil
	}
	tmp := path + ".tmp"
	err := os.WriteFile(tmp, []byte(addr+"\n"), 0o644) // #nosec G306 -- an address is no secret
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func newLogger(c config.Log, w io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	opts := &slog.HandlerOptions{Level: levels[c.Level]}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
