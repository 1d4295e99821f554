package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/notify"
	"breakglass/internal/store/dynamodb"
	"breakglass/internal/store/sqlite"
)

// Store is an engine as the server uses it.
type Store interface {
	breakglass.Store
	breakglass.Journal
	notify.Queue
	// Ping reports whether the store can commit now.
	Ping(ctx context.Context) error
	// RetryDead makes dead deliveries of the sink ("" for all) due again.
	RetryDead(ctx context.Context, sink string) (int, error)
	// DropDeliveries removes every delivery to the sink, waiting or dead.
	DropDeliveries(ctx context.Context, sink string) (int, error)
	Close() error
}

// Deliveries is the part of a store that counts what waits.
type Deliveries interface {
	DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error)
	Close() error
}

// OpenDeliveries opens the store of a configuration for counting, also while
// servers run on it.
func OpenDeliveries(ctx context.Context, c config.Store, log *slog.Logger) (Deliveries, error) {
	if c.Driver == config.DriverSQLite {
		return sqlite.OpenBeside(ctx, c.SQLite.Path)
	}
	return OpenStore(ctx, c, log, nil)
}

// ErrNoBackupFile says that the store of a configuration isn't a file.
var ErrNoBackupFile = errors.New("backup copies a SQLite file; of a DynamoDB table use point-in-time recovery, or breakglassd export")

// Backup writes a consistent copy of the database of a configuration.
func Backup(ctx context.Context, c config.Store, destination string) error {
	if c.Driver != config.DriverSQLite {
		return ErrNoBackupFile
	}
	b, err := sqlite.OpenBeside(ctx, c.SQLite.Path)
	if err != nil {
		return err
	}
	return errors.Join(b.Backup(ctx, destination), b.Close())
}

// OpenStore opens the store of a configuration.
func OpenStore(ctx context.Context, c config.Store, log *slog.Logger, now func() time.Time) (Store, error) {
	if c.Driver == config.DriverSQLite {
		return sqlite.Open(ctx, c.SQLite.Path, sqlite.Options{Now: now})
	}
	cfg, err := awsConfig(ctx, c.DynamoDB.Region, log)
	if err != nil {
		return nil, err
	}
	return dynamodb.Open(ctx, cfg, dynamodb.Options{Table: c.DynamoDB.Table, Endpoint: c.DynamoDB.Endpoint, Log: log, Now: now})
}

// InitDynamoDB creates the table of a configuration, or checks the one that is
// there, and says what it did.
func InitDynamoDB(ctx context.Context, c config.DynamoDB) ([]string, error) {
	cfg, err := awsConfig(ctx, c.Region, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return dynamodb.Init(ctx, cfg, dynamodb.Options{Table: c.Table, Endpoint: c.Endpoint})
}

func awsConfig(ctx context.Context, region string, log *slog.Logger) (aws.Config, error) {
	opts := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithAppID("breakglassd"), // shows in CloudTrail's userAgent
		awsconfig.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			log.Debug("AWS SDK: " + fmt.Sprintf(format, v...)) // the SDK logs no requests unless told to
		})),
	}
	if region != "" {
		opts = append(opts, awsconfig.WithRegion(region))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration of the server: %w", err)
	}
	return cfg, nil
}

// describeStore says in the log where everything is kept.
func describeStore(c config.Store) []any {
	if c.Driver == config.DriverDynamoDB {
		return []any{"store", c.Driver, "table", c.DynamoDB.Table, "region", c.DynamoDB.Region}
	}
	return []any{"store", c.Driver, "path", c.SQLite.Path}
}

// gaugesKept is how long the store's answers are good for at scrapes. On
// DynamoDB they cost money, and take from what the table can do.
func gaugesKept(c config.Store) time.Duration {
	if c.Driver == config.DriverDynamoDB {
		return time.Minute
	}
	return 5 * time.Second
}

// sweepEvery is how often the sweeper looks at the store although it knows of
// no expiry: what another server has invoked before it died is recorded within
// a second, too. A store that only this process writes needs no such look.
func sweepEvery(c config.Store) time.Duration {
	if c.Driver == config.DriverDynamoDB {
		return 500 * time.Millisecond
	}
	return 0
}
