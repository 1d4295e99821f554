package dynamodb

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/store/storetest"
	"breakglass/internal/store/transfer"
	"breakglass/internal/testenv"
)

func testConfig() aws.Config {
	return aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}
}

var tables atomic.Int64

// newTable creates a table of its own for a test.
func newTable(t testing.TB) Options {
	t.Helper()
	o := Options{Table: fmt.Sprintf("breakglass-%d", tables.Add(1)), Endpoint: testenv.SharedDynamoDB(t), PollEvery: 20 * time.Millisecond,
		CallTimeout: 20 * time.Second, Patience: 60 * time.Second}
	_, err := Init(t.Context(), testConfig(), o)
	require.NoError(t, err)
	t.Cleanup(func() { // a transaction copies every table that the emulator holds
		client := newClient(testConfig(), o)
		_, err := client.UpdateTable(context.Background(), &ddb.UpdateTableInput{TableName: &o.Table, DeletionProtectionEnabled: aws.Bool(false)})
		require.NoError(t, err)
		_, err = client.DeleteTable(context.Background(), &ddb.DeleteTableInput{TableName: &o.Table})
		require.NoError(t, err)
	})
	return o
}

func openTest(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), testConfig(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func engine(t *testing.T, o Options) storetest.Engine {
	s := openTest(t, o)
	return storetest.Engine{
		Store:      s,
		StaleLists: true,
		Shared:     true,
		Reopen: func(t *testing.T) storetest.Store {
			require.NoError(t, s.Close())
			return openTest(t, o)
		},
		// Nothing is kept in the process: another one sees all that a dead one was told.
		Crash:   func(t *testing.T) storetest.Store { return openTest(t, o) },
		Replica: func(t *testing.T) storetest.Store { return openTest(t, o) },
		Dump: func(t *testing.T, out io.Writer) (transfer.Header, error) {
			return Dump(t.Context(), testConfig(), o, out)
		},
		Restore: func(t *testing.T, in io.Reader) (storetest.Engine, error) {
			to := newTable(t)
			if _, err := Restore(t.Context(), testConfig(), to, in); err != nil {
				return storetest.Engine{}, err
			}
			return engine(t, to), nil
		},
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Engine { return engine(t, newTable(t)) })
}
