package bench

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/app"
	"breakglass/internal/config"
	"breakglass/internal/testenv"
)

const (
	tableHistory = 100_000
	tableTurns   = 15
)

// measureTableHistory compares calls over a long history with the same calls over a
// short one, as on SQLite, and does the same with single calls of the emulator:
// what grows there is its own.
func measureTableHistory(t *testing.T, made []transaction) []row {
	e := &emulator{endpoint: testenv.DynamoDBIn(t, tableFile(t, smallHistory, tableHistory))}
	small, smallTable := e.past(t, smallHistory)
	large, largeTable := e.past(t, tableHistory)
	raw := dial(t, e.addr())
	made = made[historyProfiles:manyOf] // of people and profiles that the histories don't have
	single := func(table string) func(p *past, i int) []byte {
		return func(_ *past, i int) []byte {
			return made[i%len(made)].withHead(func(head *action) { ownHead(i, head) }).besideTrail().at(table).request()
		}
	}
	read := func(table string) func(p *past, i int) []byte {
		return func(p *past, i int) []byte {
			return amazon("GetItem", fmt.Sprintf(`{"TableName":%q,"ConsistentRead":true,"Key":{"pk":{"S":"event#%s"},"sk":{"S":"event"}}}`,
				table, historyID((i*7919+13)%p.n)))
		}
	}
	var rows []row
	for _, call := range []struct {
		what         string
		status       int
		calls        int
		small, large func(p *past, i int) []byte
		raw          bool
	}{
		{"check", http.StatusOK, 100, (*past).check, (*past).check, false},
		{"a raw GetItem", http.StatusOK, 100, read(smallTable.Table), read(largeTable.Table), true},
		{"list, own", http.StatusOK, 50, (*past).listOwn, (*past).listOwn, false},
		{"list, of a profile", http.StatusOK, 50, (*past).listProfile, (*past).listProfile, false},
		{"poll, nothing new", http.StatusOK, 100, (*past).poll, (*past).poll, false},
		{"poll, a page of 20", http.StatusOK, 50, (*past).page, (*past).page, false},
		{"invoke", http.StatusCreated, 30, (*past).invoke, (*past).invoke, false},
		{"a raw TransactWriteItems", http.StatusOK, 30, single(smallTable.Table), single(largeTable.Table), true},
	} {
		r := row{what: "DynamoDB: " + call.what + ", after 100,000 events"}
		a, b := small, large
		if call.raw {
			a, b = &past{n: small.n, c: raw}, &past{n: large.n, c: raw}
		} else {
			r.target = 1.2
		}
		var base, got []float64
		for turn := range tableTurns + 1 {
			var s, l []float64
			for i := range call.calls {
				nth := turn*call.calls + i
				s = append(s, a.time(t, call.status, call.small(a, nth)))
				l = append(l, b.time(t, call.status, call.large(b, nth)))
			}
			if turn > 0 { // the first is to warm up
				base, got, r.ratios = append(base, median(s)), append(got, median(l)), append(r.ratios, median(l)/median(s))
			}
		}
		r.yardstick, r.measured = short(seconds(median(base)))+" after 1,000", short(seconds(median(got)))
		rows = append(rows, r)
	}
	return rows
}

// past is a server on the table with n events.
func (e *emulator) past(t *testing.T, n int) (*past, *config.DynamoDB) {
	t.Helper()
	table := &config.DynamoDB{Table: tableOf(n), Region: "us-east-1", Endpoint: e.endpoint}
	s := site{dir: scratch(t), table: table, users: historyUsers, profiles: historyProfiles, quota: 200}.start(t)
	return pastOf(t, s, n), table
}

func tableOf(n int) string { return fmt.Sprint("history-", n) }

// tableFile is a file of the emulator with a table for each history: a copy of
// one that is kept for later runs.
func tableFile(t *testing.T, sizes ...int) string {
	t.Helper()
	var from []string
	for _, n := range sizes {
		from = append(from, history(t, n))
	}
	kept := strings.TrimSuffix(from[len(from)-1], ".db") + ".dynamodb"
	if _, err := os.Stat(kept); errors.Is(err, os.ErrNotExist) {
		file := filepath.Join(inMemory(t), "dynamodb")
		t.Run("fill", func(t *testing.T) { // the emulator ends with it
			e := &emulator{endpoint: testenv.DynamoDBIn(t, file)}
			for i, n := range sizes {
				e.fill(t, n, from[i])
			}
		})
		removeOlder(t, filepath.Join(cache(t), "history-*.dynamodb*"), "")
		require.NoError(t, errors.Join(copyFile(file+"-wal", kept+"-wal"), copyFile(file, kept)))
	}
	file := filepath.Join(inMemory(t), "dynamodb")
	require.NoError(t, errors.Join(copyFile(kept, file), copyFile(kept+"-wal", file+"-wal")))
	return file
}

// inMemory is a folder in memory where there is such a thing: the emulator waits
// for the disk after each write of each item, which is of no interest here.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "breakglass-bench-")
	if err != nil {
		return scratch(t)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// copyFile copies a file if it is there.
func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.WriteFile(to, b, 0o600))
}

// fill makes a table with n events, which get there as they get to any new
// store: by an export and an import.
func (e *emulator) fill(t *testing.T, n int, database string) {
	t.Helper()
	from, to := config.Default().Store, config.Default().Store
	from.SQLite.Path = database
	to.Driver, to.DynamoDB = config.DriverDynamoDB, config.DynamoDB{Table: tableOf(n), Region: "us-east-1", Endpoint: e.endpoint}
	_, err := app.InitDynamoDB(t.Context(), to.DynamoDB)
	require.NoError(t, err)
	begun := time.Now()
	log := slog.New(slog.DiscardHandler)
	r, w := io.Pipe()
	go func() {
		_, err := app.Export(t.Context(), from, log, w)
		_ = w.CloseWithError(err) // always nil; the reader gets the error
	}()
	_, err = app.Import(t.Context(), to, log, r)
	require.NoError(t, err)
	t.Logf("a table with %d events was filled in %s", n, time.Since(begun).Round(100*time.Millisecond))
}
