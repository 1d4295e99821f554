package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// loseDisk makes an ext4 stop as at a power loss: what was not flushed is gone
// and nothing more is written, not even its own journal (ioctl
// EXT4_IOC_SHUTDOWN, linux/fs/ext4/ext4.h; 2 is EXT4_GOING_FLAGS_NOLOGFLUSH).
func loseDisk(t testing.TB, dir string) {
	t.Helper()
	const shutdown = 0x8004587d
	flags := uint32(2)
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer func() { _ = f.Close() }() // only read
	_, _, no := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags)))
	testenv.Require(t, no == 0, fmt.Sprintf("needs an ext4 that can be shut down: %v", no))
}

// TestPromise04AcknowledgedSurvivesPowerLoss is the same as with kill -9, but
// what the server wrote without asking the disk to keep it is lost.
func TestPromise04AcknowledgedSurvivesPowerLoss(t *testing.T) {
	dir, image := newExt4(t, 128<<20)
	losses := rounds(30, 300)
	if testing.Short() {
		losses = 4
	}
	c := newCrash(t, site{dir: t.TempDir(), store: filepath.Join(dir, "breakglass.db")})
	c.strike = func(p *process) {
		// A machine without power sends no answers. This one does for a moment;
		// what it says then, its disk being gone, doesn't count.
		c.acks.cutOff(true)
		loseDisk(t, dir)
		p.kill()
		run(t, "umount", dir)
		run(t, "mount", "-o", "loop", image, dir)
	}
	for range losses {
		c.round(t)
	}
	c.finish(t)
}
