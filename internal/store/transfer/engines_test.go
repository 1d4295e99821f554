package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"breakglass/internal/store/dynamodb"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/store/storetest"
	"breakglass/internal/store/transfer"
	"breakglass/internal/testenv"
)

func onSQLite(t *testing.T, path string) storetest.Engine {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return storetest.Engine{Store: s, Dump: func(t *testing.T, out io.Writer) (transfer.Header, error) {
		b, err := sqlite.OpenBeside(t.Context(), path)
		require.NoError(t, err)
		h, err := b.Dump(t.Context(), out)
		return h, errors.Join(err, b.Close())
	}}
}

func onDynamoDB(t *testing.T, cfg aws.Config, o dynamodb.Options) storetest.Engine {
	t.Helper()
	s, err := dynamodb.Open(t.Context(), cfg, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return storetest.Engine{Store: s, StaleLists: true, Shared: true,
		Dump: func(t *testing.T, out io.Writer) (transfer.Header, error) {
			return dynamodb.Dump(context.Background(), cfg, o, out)
		}}
}

// TestAStoreMovesToAnotherEngineAndBack: what was on SQLite is on DynamoDB and
// again on SQLite, to the byte, and each goes on as the first would.
func TestAStoreMovesToAnotherEngineAndBack(t *testing.T) {
	dir := t.TempDir()
	first := onSQLite(t, filepath.Join(dir, "first.db"))
	storetest.FillForTransfer(t, first)
	there, _ := storetest.Export(t, first)

	cfg := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")}
	o := dynamodb.Options{Table: "moved", Endpoint: testenv.SharedDynamoDB(t), CallTimeout: 20 * time.Second, Patience: time.Minute}
	_, err := dynamodb.Init(t.Context(), cfg, o)
	require.NoError(t, err)
	_, err = dynamodb.Restore(t.Context(), cfg, o, bytes.NewReader(there))
	require.NoError(t, err)
	table := onDynamoDB(t, cfg, o)
	between, h := storetest.Export(t, table)
	require.Equal(t, "dynamodb", h.Source)
	middle := func(export []byte) string { // without header and trailer
		lines := strings.SplitAfter(string(export), "\n")
		return strings.Join(lines[1:len(lines)-2], "")
	}
	require.Equal(t, middle(there), middle(between))

	path := filepath.Join(dir, "second.db")
	_, err = sqlite.Restore(t.Context(), path, bytes.NewReader(between))
	require.NoError(t, err)
	second := onSQLite(t, path)
	back, _ := storetest.Export(t, second)
	require.Equal(t, string(there), string(back))

	storetest.RequireSame(t, first, table)
	storetest.RequireSame(t, first, second)
}
