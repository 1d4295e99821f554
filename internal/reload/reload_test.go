package reload_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/reload"
)

var errBroken = errors.New("broken")

// parse accepts every text that doesn't begin with "broken".
func parse(_ string, data []byte) (string, error) {
	if strings.HasPrefix(string(data), "broken") {
		return "half-read", errBroken
	}
	return string(data), nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// watched is a file on disk, read by a reload.File, with what was reported.
type watched struct {
	*reload.File[string]
	t       *testing.T
	path    string
	changes []reload.Change
}

func open(t *testing.T, path string) *watched {
	t.Helper()
	w := &watched{t: t, path: path}
	w.File = reload.Open(path, parse, func(c reload.Change) { w.changes = append(w.changes, c) })
	return w
}

func openText(t *testing.T, text string) *watched {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return open(t, path)
}

func (w *watched) write(text string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.path, []byte(text), 0o600))
	w.Reload()
}

func (w *watched) requireInForce(text string) {
	w.t.Helper()
	got, err := w.Current()
	require.NoError(w.t, err)
	require.Equal(w.t, text, got)
	require.Equal(w.t, digest(text), w.Status().SHA256)
}

func TestAChangedFileComesIntoForce(t *testing.T) {
	w := openText(t, "one")
	w.requireInForce("one")
	assert.Equal(t, w.path, w.Status().Path)
	assert.WithinDuration(t, time.Now(), w.Status().LoadedAt, time.Minute)

	w.write("two")
	w.requireInForce("two")
	w.Reload()
	w.Reload()
	assert.Equal(t, []reload.Change{{New: digest("one")}, {Old: digest("one"), New: digest("two")}}, w.changes,
		"the same content is no change")
}

func TestABrokenFileLeavesTheLastGoodOneInForceAndIsReportedOnce(t *testing.T) {
	w := openText(t, "one")
	loaded := w.Status().LoadedAt
	w.write("broken")
	w.Reload()
	w.Reload()
	w.requireInForce("one")
	require.ErrorIs(t, w.Status().Err, errBroken)
	assert.Equal(t, loaded, w.Status().LoadedAt)
	require.Len(t, w.changes, 2)
	assert.Equal(t, reload.Change{Old: digest("one"), New: digest("one"), Err: errBroken}, w.changes[1])

	w.write("broken in another way")
	assert.Len(t, w.changes, 3, "other content, other report")

	w.write("one")
	w.requireInForce("one")
	require.NoError(t, w.Status().Err, "the old content again is good again")
	assert.Equal(t, reload.Change{Old: digest("one"), New: digest("one")}, w.changes[3])
}

func TestAVanishedFileLeavesTheLastGoodOneInForce(t *testing.T) {
	w := openText(t, "one")
	require.NoError(t, os.Remove(w.path))
	w.Reload()
	w.Reload()
	w.requireInForce("one")
	require.ErrorIs(t, w.Status().Err, os.ErrNotExist)
	assert.Len(t, w.changes, 2, "reported once")

	w.write("two")
	w.requireInForce("two")
	require.NoError(t, w.Status().Err)
}

func TestAFileThatWasNeverReadableIsAnError(t *testing.T) {
	w := open(t, filepath.Join(t.TempDir(), "rules.yaml"))
	_, err := w.Current()
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Contains(t, err.Error(), "was never readable")
	assert.Empty(t, w.Status().SHA256)

	w.write("broken")
	got, err := w.Current()
	require.ErrorIs(t, err, errBroken)
	assert.Empty(t, got, "nothing of a broken file is used")
	assert.Empty(t, w.changes[1].New)

	w.write("one")
	w.requireInForce("one")
}

// A ConfigMap is mounted as a link to a link to a folder; an update makes a new
// folder and renames a new link over the old one.
func TestTheSwappedLinksOfAConfigMapAreFollowed(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, text string) {
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, version, "rules.yaml"), []byte(text), 0o600))
		require.NoError(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	publish("..1", "one")
	path := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.Symlink(filepath.Join("..data", "rules.yaml"), path))
	w := open(t, path)
	w.requireInForce("one")

	publish("..2", "two")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "..1")))
	w.Reload()
	w.requireInForce("two")
}

func TestAFolderIsNoFile(t *testing.T) {
	w := open(t, t.TempDir())
	_, err := w.Current()
	require.ErrorContains(t, err, "is not a regular file")
}

func TestAHugeFileIsRefused(t *testing.T) {
	w := openText(t, "one")
	require.NoError(t, os.Truncate(w.path, 5<<20))
	w.Reload()
	require.ErrorContains(t, w.Status().Err, "is larger than")
	w.requireInForce("one")
}

func TestRunTakesAChangeThatTwoLooksAgreeOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openText(t, "one")
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { w.Run(ctx) })
		time.Sleep(reload.Interval / 2) // from here on a look is half an interval away
		look := func() {
			time.Sleep(reload.Interval)
			synctest.Wait()
		}
		edit := func(text string) { require.NoError(t, os.WriteFile(w.path, []byte(text), 0o600)) }

		edit("two, half-writ")
		look()
		w.requireInForce("one")
		edit("two, whole")
		look()
		w.requireInForce("one")
		look()
		w.requireInForce("two, whole")

		edit("broken")
		look()
		require.NoError(t, w.Status().Err)
		look()
		require.ErrorIs(t, w.Status().Err, errBroken)
		w.requireInForce("two, whole")

		cancel()
		done.Wait()
	})
}

func TestReadersSeeOneWholeVersionWhileTheFileChanges(t *testing.T) {
	w := openText(t, "0")
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				text, err := w.Current()
				assert.NoError(t, err)
				assert.Len(t, text, 1)
				assert.Len(t, w.Status().SHA256, 64)
			}
		})
	}
	for i := range 50 {
		w.write(string(rune('a' + i%26)))
	}
	close(stop)
	readers.Wait()
}

func TestFilesThatBelongTogetherComeIntoForceTogether(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write := func(path, content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	write(a, "1")
	write(b, "1")
	fit := func(data [][]byte) (string, error) {
		if string(data[0]) != string(data[1]) {
			return "", errors.New("they don't fit")
		}
		return string(data[0]), nil
	}
	var changes []reload.Change
	f := reload.OpenSet([]string{a, b}, fit, func(c reload.Change) { changes = append(changes, c) })
	current := func() string {
		v, err := f.Current()
		require.NoError(t, err)
		return v
	}
	require.Equal(t, "1", current())
	write(b, "2")
	f.Reload()
	require.Equal(t, "1", current())
	require.ErrorContains(t, f.Status().Err, "fit")
	write(a, "2")
	f.Reload()
	require.Equal(t, "2", current())
	require.NoError(t, os.Remove(b))
	f.Reload()
	require.Equal(t, "2", current())
	require.Len(t, changes, 4)
}
