package sqlite

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnImportNeedsAnEmptyDatabaseThatNobodyUses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openTest(t, path)
	require.NoError(t, grant(t, s, event("alice", "prod")))
	var out bytes.Buffer
	_, err := dumpBeside(t, path, &out)
	require.NoError(t, err)
	_, err = Restore(t.Context(), path, bytes.NewReader(out.Bytes()))
	require.ErrorContains(t, err, "in use by process")
	require.NoError(t, s.Close())
	_, err = Restore(t.Context(), path, bytes.NewReader(out.Bytes()))
	require.ErrorContains(t, err, "needs an empty one")
	require.Equal(t, 1, requireWhole(t, openTest(t, path)))
}

func TestAFailedImportLeavesAnEmptyDatabase(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, filepath.Join(dir, "a.db"))
	for _, who := range []string{"alice", "bob"} {
		require.NoError(t, grant(t, s, event(who, "prod")))
	}
	var out bytes.Buffer
	_, err := dumpBeside(t, filepath.Join(dir, "a.db"), &out)
	require.NoError(t, err)
	path := filepath.Join(dir, "b.db")
	_, err = Restore(t.Context(), path, bytes.NewReader(out.Bytes()[:out.Len()-2]))
	require.ErrorContains(t, err, "nothing was imported: line 4")
	require.Zero(t, requireWhole(t, openTest(t, path)))
}

func TestAnExportBesideAServerIsOneInstant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openTest(t, path)
	require.NoError(t, grant(t, s, event("alice", "prod")))
	var out bytes.Buffer
	grown := false
	_, err := dumpBeside(t, path, writerFunc(func(b []byte) (int, error) {
		if !grown { // the header is on its way: the read has begun
			require.NoError(t, grant(t, s, event("bob", "prod")))
			grown = true
		}
		return out.Write(b)
	}))
	require.NoError(t, err)
	require.EqualValues(t, 2, s.head.Load())
	h, err := Restore(t.Context(), filepath.Join(t.TempDir(), "b.db"), &out)
	require.NoError(t, err)
	require.EqualValues(t, 1, h.Head.Seq)
}

func TestAnExportOfATrailThatWasChangedIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openTest(t, path)
	for _, who := range []string{"alice", "bob", "carol"} {
		require.NoError(t, grant(t, s, event(who, "prod")))
	}
	for _, c := range []struct{ change, undo, message string }{
		{"UPDATE entries SET body = replace(body, '\"bob\"', '\"mal\"') WHERE seq = 2", "UPDATE entries SET body = replace(body, '\"mal\"', '\"bob\"') WHERE seq = 2", "entry 2 has been changed"},
		{"UPDATE events SET id = 'gone' WHERE invoker = 'bob'", "", "the event is missing"},
	} {
		require.NoError(t, s.apply(t.Context(), func(k *conn) error { _, err := k.exec(c.change); return err }))
		var out bytes.Buffer
		_, err := dumpBeside(t, path, &out)
		require.ErrorContains(t, err, c.message)
		require.NotContains(t, out.String(), "trailer")
		if c.undo != "" {
			require.NoError(t, s.apply(t.Context(), func(k *conn) error { _, err := k.exec(c.undo); return err }))
		}
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
