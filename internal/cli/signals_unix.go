//go:build unix

package cli

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// holdSignals begins to collect signals, so that none is lost while the command
// starts and bgctl lives to report its end. forward passes them on to the
// running command; stop ends both.
func holdSignals() (forward func(*os.Process), stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	quit := make(chan struct{})
	var done sync.WaitGroup
	forward = func(child *os.Process) {
		done.Go(func() {
			for {
				select {
				case s := <-signals:
					if !sentToAll(s) {
						_ = child.Signal(s) // it may be gone already
					}
				case <-quit:
					return
				}
			}
		})
	}
	return forward, func() {
		signal.Stop(signals)
		close(quit)
		done.Wait()
	}
}

// sentToAll says that the terminal has sent the signal to the command as well:
// Ctrl-C and Ctrl-\ go to every process of the foreground group. Passing them on
// would deliver them twice, and a second one makes Terraform, for instance, drop
// everything at once.
func sentToAll(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false // no terminal, so somebody sent it to us alone
	}
	defer func() { _ = tty.Close() }()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == syscall.Getpgrp()
}

// exitCodeOf is what a shell would report.
func exitCodeOf(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}
