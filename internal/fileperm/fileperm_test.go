package fileperm_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/config"
	"breakglass/internal/fileperm"
	"breakglass/internal/reload"
)

func TestFilesThatOthersMayWriteAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.yaml")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	for mode, trusted := range map[fs.FileMode]bool{
		0o600: true, 0o640: true, 0o644: true, 0o755: true, 0o400: true,
		0o660: false, 0o620: false, 0o664: false, 0o602: false, 0o666: false, 0o777: false,
	} {
		require.NoError(t, os.Chmod(path, mode))
		_, rules := reload.Read(path)
		_, configuration := config.Load(path)
		if trusted {
			assert.NoError(t, rules, "%o", mode)
			assert.NotContains(t, configuration.Error(), "others", "%o", mode)
			continue
		}
		for _, err := range []error{rules, configuration} {
			require.ErrorContains(t, err, "can be written by others than its owner", "%o", mode)
			assert.ErrorContains(t, err, path)
		}
	}
}

func TestAFileIsExposedWhenEverybodyMayReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	assert.False(t, fileperm.Exposed(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	for mode, exposed := range map[fs.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o604: true} {
		require.NoError(t, os.Chmod(path, mode))
		assert.Equal(t, exposed, fileperm.Exposed(path), "%o", mode)
	}
}
