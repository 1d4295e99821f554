// Package teststore makes the stores of tests that any engine has to pass.
// BREAKGLASS_TEST_STORE=dynamodb runs them on DynamoDB (see package testenv).
package teststore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
	"breakglass/internal/notify"
	"breakglass/internal/store/dynamodb"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/testenv"
)

// Store is what every engine offers.
type Store interface {
	breakglass.Store
	breakglass.Journal
	notify.Queue
	Close() error
}

// Config is the store of the server whose files are in dir: a database there, or
// a table of its own on the emulator that this process shares. The same folder
// has the same store, so a server that starts again finds what it has left.
func Config(t testing.TB, dir string) config.Store {
	t.Helper()
	c := config.Default().Store
	c.SQLite.Path = filepath.Join(dir, "breakglass.db")
	if !testenv.OnDynamoDB(t) {
		return c
	}
	return config.Store{Driver: config.DriverDynamoDB, DynamoDB: Table(t, dir)}
}

// Table is the table of the folder, whatever the engine of the other tests is.
func Table(t testing.TB, dir string) config.DynamoDB {
	t.Helper()
	environment()
	name := sha256.Sum256([]byte(dir))
	c := config.DynamoDB{Table: "breakglass-" + hex.EncodeToString(name[:8]), Region: "us-east-1", Endpoint: testenv.SharedDynamoDB(t)}
	_, err := dynamodb.Init(t.Context(), AWS(), dynamodb.Options{Table: c.Table, Endpoint: c.Endpoint})
	require.NoError(t, err)
	return c
}

// AWS is a configuration for the emulator, which accepts any key.
func AWS() aws.Config {
	return aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("testing", "testing", "")}
}

// environment gives servers in this process, and those that inherit from it,
// keys of AWS; it stays for as long as the process, as the emulator does.
var environment = sync.OnceFunc(func() {
	for _, line := range testenv.AWSEnv() {
		name, value, _ := strings.Cut(line, "=")
		if err := os.Setenv(name, value); err != nil {
			panic(err) // a name without an equals sign is always accepted
		}
	}
})

// YAML is the line that makes a store part of a configuration file.
func YAML(c config.Store) string {
	if c.Driver == config.DriverSQLite {
		return fmt.Sprintf("store: {driver: sqlite, sqlite: {path: %q}}\n", c.SQLite.Path)
	}
	d := c.DynamoDB
	return fmt.Sprintf("store: {driver: dynamodb, dynamodb: {table: %q, region: %q, endpoint: %q}}\n", d.Table, d.Region, d.Endpoint)
}

// Open opens the store of the folder. Who opens it closes it.
func Open(t testing.TB, dir string) Store {
	t.Helper()
	var s Store
	var err error
	switch c := Config(t, dir); c.Driver {
	case config.DriverSQLite:
		s, err = sqlite.Open(t.Context(), c.SQLite.Path, sqlite.Options{})
	default:
		s, err = dynamodb.Open(t.Context(), AWS(), dynamodb.Options{Table: c.DynamoDB.Table, Endpoint: c.DynamoDB.Endpoint,
			CallTimeout: 20 * time.Second, Patience: time.Minute}) // these tests are not about a slow store
	}
	require.NoError(t, err)
	return s
}
