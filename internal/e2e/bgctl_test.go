package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// ctl is somebody's bgctl, with a home of its own.
type ctl struct {
	bin, home, server, as string
	env                   []string // of its own; with it there is no token but from a login
}

func newCtl(t testing.TB, c caller, as string) ctl {
	t.Helper()
	return ctl{bin: testenv.Build(t, "./cmd/bgctl"), home: t.TempDir(), server: c.base, as: as}
}

// command is bgctl with these arguments, not started yet.
func (b ctl) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.bin, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.home, "BGCTL_SERVER=" + b.server}
	if b.env == nil {
		b.env = []string{"BGCTL_TOKEN=" + token(b.as)}
	}
	cmd.Env = append(cmd.Env, b.env...)
	return cmd
}

// run runs bgctl and returns its exit code and what it wrote.
func (b ctl) run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := b.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
