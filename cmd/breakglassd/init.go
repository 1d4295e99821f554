package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"breakglass/internal/app"
	"breakglass/internal/config"
)

func newInit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set up what the server needs in AWS",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var path string
	dynamodb := &cobra.Command{
		Use:   "dynamodb --config FILE",
		Short: "Create the DynamoDB table of a configuration, or check the one that is there",
		Long: `Creates the table that store.dynamodb names, with its indexes, on-demand
capacity, point-in-time recovery and deletion protection. On a table that exists
it checks keys and indexes, which it never changes, and switches on whatever is
missing of the two protections. Where the endpoint knows of no backups, as an
emulator, it says so. Running it again is harmless.`,
		Example: "  breakglassd init dynamodb --config /etc/breakglass/config.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return usageError{errors.New("init dynamodb needs --config FILE")}
			}
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if cfg.Store.Driver != config.DriverDynamoDB {
				return fmt.Errorf("%s: store.driver is %s: there is no table to create", path, cfg.Store.Driver)
			}
			done, err := app.InitDynamoDB(cmd.Context(), cfg.Store.DynamoDB)
			for _, d := range done {
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), d) // the table says it too
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "table %s is ready\n", cfg.Store.DynamoDB.Table)
			return err
		},
	}
	dynamodb.Flags().StringVar(&path, "config", "", "configuration `FILE`")
	cmd.AddCommand(dynamodb)
	return cmd
}
