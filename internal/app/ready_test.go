package app

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/config"
	"breakglass/internal/testenv/teststore"
)

func TestAStoreThatDoesNotAnswerSaysNothingAboutTheClock(t *testing.T) {
	c := devConfig(t)
	c.Store = config.Store{Driver: config.DriverDynamoDB, DynamoDB: teststore.Table(t, t.TempDir())} // the other one knows by itself
	a, err := New(t.Context(), c, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	require.Equal(t, api.Check{Name: "clock", OK: true, Detail: "agrees with the audit trail"}, checkOf(t, a, "clock"))
	require.NoError(t, a.store.Close())
	require.Equal(t, api.Check{Name: "clock", Detail: "can't be compared: the store does not answer"}, checkOf(t, a, "clock"))
	require.Equal(t, api.Check{Name: "store", Detail: "can't be written to; see the server's log"}, checkOf(t, a, "store"))
}

func TestAClockBehindTheTrailIsCalledThat(t *testing.T) {
	c := lived(t)
	a, err := New(t.Context(), c, Options{Now: func() time.Time { return time.Now().Add(-3 * time.Hour) }})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	require.Equal(t, api.Check{Name: "clock", Detail: "lies behind the audit trail; see the server's log"}, checkOf(t, a, "clock"))
}

// TestAnUnfinishedImportIsTheReasonWhyAServerIsNotReady: it ran on the empty
// table before.
func TestAnUnfinishedImportIsTheReasonWhyAServerIsNotReady(t *testing.T) {
	c, err := DevConfig("127.0.0.1:0", t.TempDir())
	require.NoError(t, err)
	from, err := OpenStore(t.Context(), c.Store, nil, nil)
	require.NoError(t, err)
	require.NoError(t, from.Close())
	source := c.Store
	c.Store = config.Store{Driver: config.DriverDynamoDB, DynamoDB: teststore.Table(t, t.TempDir())}
	a, err := New(t.Context(), c, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	require.True(t, checkOf(t, a, "store").OK)

	export, more := io.Pipe()
	in, out := io.Pipe() // the import waits for what never comes
	go func() {
		_, err := Export(t.Context(), source, slog.New(slog.DiscardHandler), more)
		_ = more.CloseWithError(err)
	}()
	whole, err := io.ReadAll(export)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := Import(t.Context(), c.Store, slog.New(slog.DiscardHandler), in)
		done <- err
	}()
	_, err = out.Write(whole[:len(whole)-10])
	require.NoError(t, err)
	want := api.Check{Name: "store", Detail: "is being filled by an import that isn't finished: run breakglassd import again to finish it"}
	require.Eventually(t, func() bool { return checkOf(t, a, "store") == want }, 20*time.Second, 5*time.Millisecond)
	_, err = out.Write(whole[len(whole)-10:])
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, <-done)
	require.True(t, checkOf(t, a, "store").OK)
}

// concernedStore works, and has something to say.
type concernedStore struct{ Store }

func (concernedStore) Concern() string { return "IT ROTS" }

func TestAStoreThatWorksCanHaveAConcern(t *testing.T) {
	a, err := New(t.Context(), devConfig(t), Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	require.Equal(t, api.Check{Name: "store", OK: true, Detail: "reachable and writable, BUT IT ROTS"}, withConcern(storeCheck(nil), concernedStore{a.store}))
}

func TestTheLogSaysWhereEverythingIsKept(t *testing.T) {
	c := devConfig(t)
	log := &logBuffer{}
	a, err := New(t.Context(), c, Options{Log: log.logger()})
	require.NoError(t, err)
	require.NoError(t, a.Start())
	require.NoError(t, a.Stop(t.Context()))
	if c.Store.Driver == config.DriverSQLite {
		assert.Contains(t, log.String(), `"store":"sqlite","path":"`+c.Store.SQLite.Path+`"`)
	}
	assert.Equal(t, []any{"store", "dynamodb", "table", "breakglass", "region", "us-east-1"},
		describeStore(config.Store{Driver: config.DriverDynamoDB, DynamoDB: config.DynamoDB{Table: "breakglass", Region: "us-east-1"}}))
}
