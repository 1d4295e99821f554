package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// builds holds one build for each package of this test process. It is the one
// piece of shared state here: linking the same program for every test would
// cost seconds each.
var builds sync.Map // package → func() (string, error)

// Build builds a main package of this module, such as "./cmd/bgctl", once for
// each test process and returns the path of the binary.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	root := Root(t)
	once, _ := builds.LoadOrStore(pkg, sync.OnceValues(func() (string, error) { return build(root, pkg) }))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return path
}

// build puts the binary below .cache/testbin/<process id>. A test process has
// no moment at its end to clean up after itself, so each removes what ended
// ones have left.
func build(root, pkg string) (string, error) {
	base := filepath.Join(root, ".cache", "testbin")
	removeLeftovers(base)
	dir := filepath.Join(base, strconv.Itoa(os.Getpid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New("go build " + pkg + ": " + err.Error() + "\n" + string(out))
	}
	return path, nil
}

func removeLeftovers(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(filepath.Join(base, e.Name()))
		}
	}
}
