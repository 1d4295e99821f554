package filelock

import (
	"path/filepath"
	"sync"
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
	held := 0 // guarded by the lock alone
	for range 20 {
		all.Go(func() {
			unlock, err := Lock(t.Context(), path, 10*time.Second)
			if assert.NoError(t, err) {
				held++
				assert.Equal(t, 1, held)
				held--
				unlock()
			}
		})
	}
	all.Wait()
}
