package sqlite

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// pragma sets a pragma of the writing connection.
func pragma(t *testing.T, s *Store, text string) {
	t.Helper()
	require.NoError(t, s.apply(t.Context(), func(c *conn) error { return c.script("PRAGMA " + text) }))
}

// hold keeps the writer busy until release is called, so that whatever is
// submitted meanwhile ends up in one group with it.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	started, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once // it runs again when its group fails
	go func() {
		done <- s.Update(t.Context(), breakglass.Keys{}, func(breakglass.Tx) error {
			once.Do(func() { close(started) })
			<-free
			return nil
		})
	}()
	<-started
	release = sync.OnceFunc(func() {
		close(free)
		if err := <-done; err != nil {
			t.Logf("the holding transaction: %v", err)
		}
	})
	t.Cleanup(release)
	return release
}

// queued waits until n requests wait for the writer.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(s.requests) == n }, patience, tick)
}
