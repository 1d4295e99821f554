package dynamodb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// stuck is an import whose input has stopped after some lines of an export;
// wake hands it more, ends its input and returns how it ended.
func stuck(t *testing.T, o Options, lines [][]byte) (wake func(more [][]byte) error) {
	t.Helper()
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := restoreWithin(context.Background(), testConfig(), o, in, quick)
		_ = in.CloseWithError(errors.New("the import has ended"))
		done <- err
	}()
	_, err := out.Write(bytes.Join(lines, nil))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return items(t, o)[keyHead] != nil }, 20*time.Second, 5*time.Millisecond)
	return func(more [][]byte) error {
		_, _ = out.Write(bytes.Join(more, nil)) // the import may have ended
		_ = out.Close()
		return <-done
	}
}

// TestAnOvertakenImportWritesNothing of what it still had at hand, be it a few
// items or more than a batch.
func TestAnOvertakenImportWritesNothing(t *testing.T) {
	for name, upTo := range map[string]int{"it gives up": 12, "it has more to write": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			o, a, b := newTable(t), filled(t), filled(t) // with other event ids
			lines := bytes.SplitAfter(a, []byte("\n"))
			wake := stuck(t, o, lines[:8]) // fewer items than a batch
			_, err := restoreWithin(t.Context(), testConfig(), o, bytes.NewReader(b), quick)
			require.NoError(t, err)
			before := items(t, o)
			require.ErrorIs(t, wake(lines[8:min(upTo, len(lines))]), errTakenOver)
			require.Equal(t, before, items(t, o))
			requireExport(t, o, b)
		})
	}
}

// TestAClosedEventStaysClosedWhenAnOldImportWakesUp: the same export was
// imported twice, and a server works already.
func TestAClosedEventStaysClosedWhenAnOldImportWakesUp(t *testing.T) {
	src, o := newTable(t), newTable(t)
	s0 := openTest(t, src)
	e := sampleEvent("alice", "prod", time.Now().UTC().Truncate(time.Microsecond))
	require.NoError(t, invoke(t, s0, e))
	require.NoError(t, s0.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
		return tx.Append(breakglass.LogEntry{Timestamp: e.CreatedAt, Event: breakglass.EntryDenied, Actor: "x"}, nil, nil)
	}))
	var dump bytes.Buffer
	_, err := Dump(t.Context(), testConfig(), src, &dump)
	require.NoError(t, err)
	lines := bytes.SplitAfter(dump.Bytes(), []byte("\n"))

	wake := stuck(t, o, lines[:2]) // the header and the invocation
	_, err = restoreWithin(t.Context(), testConfig(), o, bytes.NewReader(dump.Bytes()), quick)
	require.NoError(t, err)
	s := openTest(t, o)
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{EventID: e.ID}, func(tx breakglass.Tx) error {
		ev, err := tx.Event(e.ID)
		if err != nil {
			return err
		}
		ev.Status, ev.ClosedAt = breakglass.StatusClosed, noon
		return tx.PutEvent(ev)
	}))
	require.ErrorIs(t, wake(lines[2:3]), errTakenOver)
	ev, err := s.Event(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, breakglass.StatusClosed, ev.Status)
}

// TestWhoeverTakesOverOutlastsTheOther: the mark is changed, and what the table
// holds stays untouched until the other import can't be writing any more.
func TestWhoeverTakesOverOutlastsTheOther(t *testing.T) {
	require.Greater(t, defaultBounds.quiet, defaultBounds.trust+defaultBounds.send)
	o, export := newTable(t), filled(t)
	wake := halfway(t, o, export)
	held := items(t, o)
	slow := quick
	slow.quiet = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := restoreWithin(ctx, testConfig(), o, bytes.NewReader(export), slow)
		done <- err
	}()
	mark := str(held[keyHead][attrImport])
	require.Eventually(t, func() bool { return str(items(t, o)[keyHead][attrImport]) != mark }, 20*time.Second, 5*time.Millisecond)
	now := items(t, o)
	for k := range held {
		require.Contains(t, now, k)
	}
	require.ErrorIs(t, wake(), errTakenOver)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

// TestAnEmptyImportWhoseLastAnswerIsLostSucceeds: the SDK asks again, and the
// mark is gone by then.
func TestAnEmptyImportWhoseLastAnswerIsLostSucceeds(t *testing.T) {
	src, o := newTable(t), newTable(t)
	var dump bytes.Buffer
	_, err := Dump(t.Context(), testConfig(), src, &dump)
	require.NoError(t, err)
	var lost atomic.Int64
	f := newFaults(t, o.Endpoint)
	f.lose = func(op string) bool { return op == "DeleteItem" && lost.Add(1) == 1 }
	via := o
	via.Endpoint = f.URL
	_, err = Restore(t.Context(), testConfig(), via, &dump)
	require.NoError(t, err)
	require.EqualValues(t, 2, lost.Load())
	require.NotContains(t, items(t, o), keyHead)
}
