//go:build unix

package reload_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPipeIsNoFileAndBlocksNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	_, err := open(t, path).Current()
	require.ErrorContains(t, err, "is not a regular file")
}
