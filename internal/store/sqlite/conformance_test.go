package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/store/storetest"
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

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Engine {
		dir := t.TempDir()
		path := filepath.Join(dir, "breakglass.db")
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
		}
	})
}
