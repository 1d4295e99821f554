package dynamodb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/store/sqlite"
	"breakglass/internal/store/storetest"
)

// filled is an export of one of everything.
func filled(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	require.NoError(t, err)
	storetest.FillForTransfer(t, s)
	require.NoError(t, s.Close())
	b, err := sqlite.OpenBeside(t.Context(), path)
	require.NoError(t, err)
	var out bytes.Buffer
	_, err = b.Dump(t.Context(), &out)
	require.NoError(t, errors.Join(err, b.Close()))
	return out.Bytes()
}

// items is every item of the table by its key, without revisions, which count
// how often a guard was written.
func items(t *testing.T, o Options) map[key]item {
	t.Helper()
	out, err := newClient(testConfig(), o).Scan(t.Context(), &ddb.ScanInput{TableName: &o.Table})
	require.NoError(t, err)
	require.Empty(t, out.LastEvaluatedKey)
	all := map[key]item{}
	for _, it := range out.Items {
		delete(it, attrRev)
		all[keyOf(it)] = it
	}
	return all
}

func requireExport(t *testing.T, o Options, want []byte) {
	t.Helper()
	var out bytes.Buffer
	_, err := Dump(t.Context(), testConfig(), o, &out)
	require.NoError(t, err)
	require.Equal(t, middle(want), middle(out.Bytes()))
}

// middle is an export without its header, which names the engine, and the
// trailer, whose hash covers that.
func middle(export []byte) string {
	lines := strings.SplitAfter(string(export), "\n")
	return strings.Join(lines[1:len(lines)-2], "")
}

func TestAnImportNeedsAnEmptyTable(t *testing.T) {
	o, export := newTable(t), filled(t)
	s := openTest(t, o)
	require.NoError(t, s.Ping(t.Context()), "the items by which a server marks and probes a table are no contents")
	_, err := Restore(t.Context(), testConfig(), o, bytes.NewReader(export))
	require.NoError(t, err)
	before := items(t, o)
	_, err = Restore(t.Context(), testConfig(), o, bytes.NewReader(export))
	require.ErrorIs(t, err, errNotEmpty)
	require.Equal(t, before, items(t, o))

	o = newTable(t)
	s = openTest(t, o)
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{Caller: "a", Idempotency: "k"}, func(tx breakglass.Tx) error {
		return tx.PutIdempotent(breakglass.Idempotent{Caller: "a", Key: "k", CreatedAt: time.Unix(0, 0)})
	}))
	_, err = Restore(t.Context(), testConfig(), o, bytes.NewReader(export))
	require.ErrorIs(t, err, errNotEmpty)
}

// TestGuardsThatDontFitIntoMemoryAreRebuiltAllTheSame also with several pages.
func TestGuardsThatDontFitIntoMemoryAreRebuiltAllTheSame(t *testing.T) {
	a, b, export := newTable(t), newTable(t), filled(t)
	few := quick
	few.guards = 2
	_, err := restoreWithin(t.Context(), testConfig(), a, bytes.NewReader(export), quick)
	require.NoError(t, err)
	_, err = restoreWithin(t.Context(), testConfig(), b, bytes.NewReader(export), few)
	require.NoError(t, err)
	want := items(t, a)
	require.Contains(t, want, pageKey(userKey("carol"), 1))
	require.Equal(t, want, items(t, b))
}

// quick takes over at once: an import here is never cut off on its way.
var quick = bounds{guards: 1000, trust: time.Millisecond, send: 20 * time.Second, quiet: time.Millisecond}

// halfway is an import that has got to the middle of its input.
func halfway(t *testing.T, o Options, export []byte) (finish func() error) {
	t.Helper()
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := restoreWithin(context.Background(), testConfig(), o, in, quick)
		_ = in.CloseWithError(errors.New("the import has ended"))
		done <- err
	}()
	_, err := out.Write(export[:len(export)/2])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(items(t, o)) > 20 }, 20*time.Second, 10*time.Millisecond)
	return func() error {
		_, _ = out.Write(export[len(export)/2:]) // the import may have ended
		_ = out.Close()
		return <-done
	}
}

func TestNoServerUsesATableThatIsHalfImported(t *testing.T) {
	o, export := newTable(t), filled(t)
	early := openTest(t, o) // before the import began
	finish := halfway(t, o, export)

	_, err := Open(t.Context(), testConfig(), o)
	require.ErrorIs(t, err, errImporting)
	require.ErrorContains(t, err, o.Table)
	_, err = Dump(t.Context(), testConfig(), o, io.Discard)
	require.ErrorIs(t, err, errImporting)
	refusal := breakglass.LogEntry{Timestamp: time.Unix(0, 0), Event: breakglass.EntryDenied, Actor: "a"}
	err = early.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { return tx.Append(refusal, nil, nil) })
	require.ErrorIs(t, err, errImporting)
	told := breakglass.AsError(err)
	require.Contains(t, told.Message, "is being filled by an import", "callers are told")
	require.ErrorContains(t, told.Cause, "run breakglassd import again", "and so is the log")
	_, err = early.Head(t.Context())
	require.ErrorIs(t, err, ErrImporting)

	require.NoError(t, finish())
	requireExport(t, o, export)
	require.NoError(t, early.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { return tx.Append(refusal, nil, nil) }))
}

func TestOfTwoImportsTheLaterOneHasTheTable(t *testing.T) {
	o, export := newTable(t), filled(t)
	finish := halfway(t, o, export)
	_, err := restoreWithin(t.Context(), testConfig(), o, bytes.NewReader(export), quick)
	require.NoError(t, err)
	require.ErrorIs(t, finish(), errTakenOver)
	requireExport(t, o, export)
}

func TestAnExportEndsWhenTheTrailGrowsMeanwhile(t *testing.T) {
	o, export := newTable(t), filled(t)
	_, err := Restore(t.Context(), testConfig(), o, bytes.NewReader(export))
	require.NoError(t, err)
	s := openTest(t, o)
	var out bytes.Buffer
	_, err = Dump(t.Context(), testConfig(), o, writerFunc(func(b []byte) (int, error) {
		if out.Len() == 0 {
			require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
				return tx.Append(breakglass.LogEntry{Timestamp: time.Unix(0, 0), Event: breakglass.EntryDenied, Actor: "a"}, nil, nil)
			}))
		}
		return out.Write(b)
	}))
	require.ErrorContains(t, err, "stop every server")
	require.NotContains(t, out.String(), "trailer")
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// importTarget is set in the process that the next test kills: endpoint and table.
const importTarget = "BREAKGLASS_TEST_IMPORT_TARGET"

// TestImportTarget is not a test but that process: it imports its input.
func TestImportTarget(t *testing.T) {
	endpoint, table, ok := strings.Cut(os.Getenv(importTarget), " ")
	if !ok {
		t.Skip("only runs as a child process")
	}
	_, err := Restore(t.Context(), testConfig(), Options{Endpoint: endpoint, Table: table}, os.Stdin)
	require.NoError(t, err)
}

// TestAnImportThatWasKilledIsRunAgain, even with another export: nothing of the
// first is left.
func TestAnImportThatWasKilledIsRunAgain(t *testing.T) {
	o := newTable(t)
	first, second := filled(t), filled(t) // with other event ids
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestImportTarget$")
	cmd.Env = append(os.Environ(), importTarget+"="+o.Endpoint+" "+o.Table)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = in.Write(first[:len(first)/2])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(items(t, o)) > 50 }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	_, err = Open(t.Context(), testConfig(), o)
	require.ErrorIs(t, err, errImporting)
	_, err = restoreWithin(t.Context(), testConfig(), o, bytes.NewReader(second[:len(second)-1]), quick)
	require.ErrorContains(t, err, "cut off")
	_, err = Open(t.Context(), testConfig(), o)
	require.ErrorIs(t, err, errImporting, "still")
	_, err = restoreWithin(t.Context(), testConfig(), o, bytes.NewReader(second), quick)
	require.NoError(t, err)
	requireExport(t, o, second)

	fresh := newTable(t)
	_, err = Restore(t.Context(), testConfig(), fresh, bytes.NewReader(second))
	require.NoError(t, err)
	require.Equal(t, items(t, fresh), items(t, o))
}
