package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestADamagedEntryIsNamed(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "b.db"), Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for range 3 {
		require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
			return tx.Append(breakglass.LogEntry{Timestamp: time.Unix(1, 0).UTC(), Event: breakglass.EntryDenied, Actor: "alice"}, nil, nil)
		}))
	}
	require.NoError(t, s.apply(t.Context(), func(c *conn) error { _, err := c.exec(`UPDATE entries SET body = 'x' WHERE seq = 2`); return err }))
	_, _, err = s.Entries(t.Context(), breakglass.EntryQuery{Limit: 10})
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Message, "Audit entry 2 is damaged")
	rest, _, err := s.Entries(t.Context(), breakglass.EntryQuery{After: 2, Limit: 10})
	require.NoError(t, err)
	require.Len(t, rest, 1)
}
