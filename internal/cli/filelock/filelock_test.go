package filelock

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "lock")
	unlock, err := Lock(t.Context(), path, time.Second)
	require.NoError(t, err)
	_, err = Lock(t.Context(), path, 50*time.Millisecond)
	require.ErrorIs(t, err, ErrBusy)
	unlock()

	var all sync.WaitGroup
	var held atomic.Int32
	for range 20 {
		all.Go(func() {
			unlock, err := Lock(t.Context(), path, 10*time.Second)
			if assert.NoError(t, err) {
				assert.EqualValues(t, 1, held.Add(1), "somebody else holds it, too")
				held.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
}
