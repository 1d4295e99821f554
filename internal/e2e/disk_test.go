package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// failing is a server whose disk takes no more, and what it held before.
type failing struct {
	http   caller
	open   breakglass.View // an event of user-0 that is active
	events int
	head   int
}

// holding makes an event on a server that is about to fail.
func holding(t *testing.T, c caller) *failing {
	t.Helper()
	open := decode[breakglass.View](t, c.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600)))
	return &failing{http: c, open: open, events: len(c.allEvents(t)), head: len(c.feed(t, "0"))}
}

// startOn starts a server with its database in dir.
func startOn(t *testing.T, dir string) *server {
	t.Helper()
	c := newConfig(t, t.TempDir(), openPolicy, "")
	c.Store.SQLite.Path = filepath.Join(dir, "breakglass.db")
	return start(t, c)
}

// refuses checks that every change is refused as a failure of the server, and
// that nobody gets anything.
func (f *failing) refuses(t *testing.T) {
	t.Helper()
	for i := range 8 {
		for _, call := range []struct{ as, path, body string }{
			{user(i), "/v1/breakglass", invocation("staging", 3600)},
			{user(0), "/v1/breakglass/" + f.open.ID + "/credentials", ""},
			{user(0), "/v1/breakglass/" + f.open.ID + "/close", `{"reason":"over"}`},
		} {
			a := f.http.must(t, http.StatusServiceUnavailable, call.as, http.MethodPost, call.path, call.body)
			assert.Equal(t, "unavailable", a.code(), "%s", a.body)
			assert.NotEmpty(t, a.header.Get("Retry-After"))
			assert.NotContains(t, string(a.body), "access_key_id")
			assert.NotContains(t, string(a.body), "disk", "internal causes are for the log")
		}
	}
	f.http.must(t, http.StatusServiceUnavailable, "nobody", http.MethodGet, "/readyz", "")
	f.http.must(t, http.StatusOK, "nobody", http.MethodGet, "/healthz", "")
	events := f.http.allEvents(t)
	assert.Equal(t, breakglass.StatusActive, events[f.open.ID].Status)
	assert.Len(t, events, f.events, "something was granted")
	assert.Len(t, f.http.feed(t, "0"), f.head)
}

// recovers checks that the server works again, and that what it refused has
// left no trace.
func (f *failing) recovers(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		a, err := f.http.do(t.Context(), "nobody", http.MethodGet, "/readyz", "")
		return err == nil && a.status == http.StatusOK
	}, patience, 10*time.Millisecond, "never ready again")
	f.works(t)
}

func (f *failing) works(t *testing.T) {
	t.Helper()
	f.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("staging", 3600))
	f.http.must(t, 200, user(0), http.MethodPost, "/v1/breakglass/"+f.open.ID+"/credentials", "")
	f.http.must(t, 200, user(0), http.MethodPost, "/v1/breakglass/"+f.open.ID+"/close", `{"reason":"over"}`)
	assert.Len(t, f.http.allEvents(t), f.events+1)
	entries := f.http.feed(t, "0")
	assert.Len(t, ofType(entries, breakglass.EntryInvoked), 2)
	assert.Len(t, ofType(entries, breakglass.EntryCredentialsIssued), 1, "a refused call left an issuance")
	verify(t, entries)
}

// verify checks the hash chain of a whole trail.
func verify(t *testing.T, entries []breakglass.LogEntry) {
	t.Helper()
	v := audit.NewVerifier(audit.Options{})
	for _, e := range entries {
		require.NoError(t, v.Add(e))
	}
	_, err := v.Finish()
	require.NoError(t, err)
}

func TestPromise03AFullDiskGrantsNothingAndHealsByItself(t *testing.T) {
	testenv.OnlySQLite(t, "a disk of the server's own that fills up")
	dir := newTmpfs(t, "4m")
	f := holding(t, startOn(t, dir).http)
	ballast := fill(t, dir)
	f.refuses(t)
	require.NoError(t, os.Remove(ballast))
	f.recovers(t)
}

func TestAFullDiskHealsWithoutAnybodyAskingForReadiness(t *testing.T) {
	testenv.OnlySQLite(t, "a disk of the server's own that fills up")
	dir := newTmpfs(t, "4m")
	f := holding(t, startOn(t, dir).http)
	ballast := fill(t, dir)
	f.http.must(t, http.StatusServiceUnavailable, user(0), http.MethodPost, "/v1/breakglass", invocation("staging", 3600))
	require.NoError(t, os.Remove(ballast))
	f.works(t)
}

// An ext4 that finds an error goes read-only under the programs that use it.
// That can't be undone without mounting it again, so this server stays dead;
// the next one has lost nothing.
func TestPromise03AReadOnlyDatabaseGrantsNothing(t *testing.T) {
	testenv.OnlySQLite(t, "a disk of the server's own that goes read-only")
	dir, image := newExt4(t, 32<<20)
	s := site{dir: t.TempDir(), database: filepath.Join(dir, "breakglass.db")}
	p := s.start(t)
	f := holding(t, p.http)
	run(t, "mount", "-o", "remount,abort", dir)
	f.refuses(t)

	p.kill()
	run(t, "umount", dir)
	run(t, "mount", "-o", "loop", image, dir)
	f.http = s.start(t).http
	f.recovers(t)
}

// A server that starts on a read-only disk says what is wrong and ends.
func TestAServerDoesNotStartOnAReadOnlyDisk(t *testing.T) {
	testenv.OnlySQLite(t, "a disk of the server's own that goes read-only")
	dir, image := newExt4(t, 32<<20)
	s := site{dir: t.TempDir(), database: filepath.Join(dir, "breakglass.db")}
	require.Zero(t, s.start(t).terminate(t))
	run(t, "umount", dir)
	run(t, "mount", "-o", "loop,ro", image, dir)
	p := s.spawn(t)
	assert.Equal(t, 1, p.wait(t))
	assert.Contains(t, p.logs.String(), "read-only file system")
}
