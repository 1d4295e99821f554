package sqlite

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/store/storetest"
	"breakglass/internal/store/transfer"
)

func openTest(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// copyAsIs copies the database and its log as they are on disk now, which is
// what a killed server leaves behind.
func copyAsIs(t testing.TB, from, to string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(from + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, b, 0o600))
	}
}

func engine(t *testing.T, path string) storetest.Engine {
	dir := filepath.Dir(path)
	s := openTest(t, path)
	return storetest.Engine{
		Store: s,
		Reopen: func(t *testing.T) storetest.Store {
			require.NoError(t, s.Close())
			return openTest(t, path)
		},
		Crash: func(t *testing.T) storetest.Store {
			crashed := filepath.Join(dir, "crashed.db")
			copyAsIs(t, path, crashed)
			return openTest(t, crashed)
		},
		Dump: func(t *testing.T, out io.Writer) (transfer.Header, error) { return dumpBeside(t, path, out) },
		Restore: func(t *testing.T, in io.Reader) (storetest.Engine, error) {
			to := filepath.Join(t.TempDir(), "restored.db")
			if _, err := Restore(t.Context(), to, in); err != nil {
				return storetest.Engine{}, err
			}
			return engine(t, to), nil
		},
	}
}

func dumpBeside(t *testing.T, path string, out io.Writer) (transfer.Header, error) {
	b, err := OpenBeside(t.Context(), path)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	return b.Dump(t.Context(), out)
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		return engine(t, filepath.Join(t.TempDir(), "breakglass.db"))
	})
}
