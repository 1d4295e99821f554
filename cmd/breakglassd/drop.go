package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"breakglass/internal/app"
	"breakglass/internal/config"
)

// newDrop is deliveries drop; path is the configuration that its parent's flag
// names.
func newDrop(path *string) *cobra.Command {
	var sink string
	cmd := &cobra.Command{
		Use:   "drop --config FILE --sink NAME",
		Short: "Forget the deliveries of a sink that is no longer configured",
		Long: `Removes the waiting and the dead deliveries of a sink that the configuration no
longer has: nobody will ever send them. The audit trail keeps the entries that
they announced. A server on SQLite must not be running. What was dropped is
logged to standard error.

The configuration must be the one that the servers run with: with an old or
another one, a sink that they still notify looks like one that is gone, and its
notifications are lost. "deliveries list" shows what waits.`,
		Example: "  breakglassd deliveries drop --config /etc/breakglass/config.yaml --sink old-siem",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if *path == "" || sink == "" {
				return usageError{errors.New("deliveries drop needs --config FILE and --sink NAME")}
			}
			cfg, err := config.Load(*path)
			if err != nil {
				return err
			}
			if slices.Contains(sinkNames(cfg), sink) {
				return fmt.Errorf("%q is a sink of %s: its deliveries are still to be sent; remove it from notify.sinks first", sink, *path)
			}
			log := newLogger(cfg.Log, cmd.ErrOrStderr())
			st, err := app.OpenStore(cmd.Context(), cfg.Store, log, nil)
			if err != nil {
				return err
			}
			n, err := drop(cmd.Context(), st, sink)
			if err := errors.Join(err, st.Close()); err != nil {
				return err
			}
			log.Warn("deliveries of a sink that is no longer configured were dropped",
				"sink", sink, "count", n)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d deliveries dropped\n", n)
			return err
		},
	}
	cmd.Flags().StringVar(&sink, "sink", "", "`NAME` of the sink")
	return cmd
}

func drop(ctx context.Context, st app.Store, sink string) (int, error) {
	if err := known(ctx, st, nil, sink); err != nil {
		return 0, err
	}
	return st.DropDeliveries(ctx, sink)
}

func sinkNames(cfg config.Config) []string {
	var names []string
	for _, s := range cfg.Notify.Sinks {
		names = append(names, s.Name)
	}
	return names
}

// known returns an error for a sink that is neither configured nor has any
// deliveries: most likely a misspelt name.
func known(ctx context.Context, st app.Store, configured []string, sink string) error {
	if slices.Contains(configured, sink) {
		return nil
	}
	counts, err := st.DeliveryCounts(ctx)
	if err != nil {
		return err
	}
	if _, has := counts[sink]; !has {
		return fmt.Errorf("there is no sink %q, neither in the configuration nor with deliveries; `breakglassd deliveries list` shows them", sink)
	}
	return nil
}
