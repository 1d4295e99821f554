package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// killTarget is set in the process that TestNothingAcknowledgedIsLostToKill9
// kills: the database it is to work on.
const killTarget = "BREAKGLASS_TEST_KILL_TARGET"

// TestKillTarget is not a test but that process: it grants as fast as it can
// and prints each event id once its grant is acknowledged.
func TestKillTarget(t *testing.T) {
	path := os.Getenv(killTarget)
	if path == "" {
		t.Skip("only runs as a child process")
	}
	s, err := Open(context.Background(), path, Options{})
	require.NoError(t, err)
	var out sync.Mutex
	for range 16 {
		go func() {
			for {
				ev := event(breakglass.NewID(), "prod")
				if err := grant(t, s, ev); err != nil {
					panic(err)
				}
				out.Lock()
				fmt.Printf("ack %s\n", ev.ID)
				out.Unlock()
			}
		}()
	}
	select {} // until it is killed
}

// TestNothingAcknowledgedIsLostToKill9 kills a working store again and again.
// BREAKGLASS_HEAVY=1 does so 100 times.
func TestNothingAcknowledgedIsLostToKill9(t *testing.T) {
	rounds := 3
	if os.Getenv("BREAKGLASS_HEAVY") == "1" {
		rounds = 100
	} else if testing.Short() {
		rounds = 1
	}
	path := filepath.Join(t.TempDir(), "a.db")
	acknowledged := map[string]bool{}
	for round := range rounds {
		for _, id := range runAndKill(t, path, 50+37*(round%7)) {
			acknowledged[id] = true
		}
		began := time.Now()
		s := openTest(t, path)
		t.Logf("round %d: open after %s, %d acknowledged so far", round, time.Since(began), len(acknowledged))
		for id := range acknowledged {
			_, err := s.Event(t.Context(), id)
			require.NoError(t, err, "an acknowledged event is gone")
		}
		require.GreaterOrEqual(t, requireWhole(t, s), len(acknowledged))
		require.NoError(t, s.Close())
	}
}

// runAndKill starts the child, kills it in the middle after n acknowledgements
// and returns all that it gave.
func runAndKill(t *testing.T, path string, n int) []string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestKillTarget$")
	cmd.Env = append(os.Environ(), killTarget+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var ids []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "ack "); ok && breakglass.IsID(id) {
			ids = append(ids, id)
		}
		if len(ids) == n {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "killed")
	require.GreaterOrEqual(t, len(ids), n)
	return ids
}
