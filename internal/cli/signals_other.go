//go:build !unix

package cli

import (
	"os"
	"os/exec"
	"os/signal"
)

// holdSignals keeps bgctl alive while Ctrl-C reaches the command: the console
// sends it to both.
func holdSignals() (forward func(*os.Process), stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	return func(*os.Process) {}, func() { signal.Stop(signals) }
}

func exitCodeOf(e *exec.ExitError) int { return e.ExitCode() }
