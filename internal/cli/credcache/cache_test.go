package credcache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func start() time.Time { return time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC) }

func entry() Entry {
	return Entry{AccessKeyID: "ASIA", SecretAccessKey: "s3cret", SessionToken: "t0ken", Expiration: start().Add(time.Hour),
		GrantEnds: start().Add(time.Hour), FetchedAt: start(), GrantedBy: breakglass.LinkBreakglass, EventID: "0123456789abcdef", Profile: "prod", Region: "us-east-1"}
}

func files(t *testing.T, root string) (paths []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

func TestCredentialsAreNeverUsedFromTheirEndOn(t *testing.T) {
	end := start().Add(time.Hour)
	for name, e := range map[string]Entry{
		"credentials end": func() Entry { e := entry(); e.GrantEnds = end.Add(time.Hour); return e }(),
		"grant ends":      func() Entry { e := entry(); e.Expiration = end.Add(time.Hour); return e }(),
	} {
		c := Open(t.TempDir(), "https://a.example", "token")
		require.NoError(t, c.Put("prod", e))
		_, ok := c.Get("prod", end.Add(-time.Nanosecond))
		assert.True(t, ok, name)
		_, ok = c.Get("prod", end)
		assert.False(t, ok, "%s: at the end itself they are over", name)
	}
}

func TestAClockSetBackMakesNothingUsable(t *testing.T) {
	assert.True(t, entry().Usable(start().Add(-4*time.Second)))
	assert.False(t, entry().Usable(start().Add(-time.Minute)))
}

func TestCredentialsAreReplacedEarlyOnlyWhereTheEventLastsLonger(t *testing.T) {
	e := entry()
	assert.False(t, e.Stale(e.Expiration.Add(-time.Second)), "the event ends with them: there are no better ones")
	e.GrantEnds = e.Expiration.Add(time.Hour)
	assert.False(t, e.Stale(e.Expiration.Add(-16*time.Minute)))
	assert.True(t, e.Stale(e.Expiration.Add(-15*time.Minute)), "botocore asks again from here on")
	e.Expiration = e.FetchedAt.Add(4 * time.Minute)
	assert.False(t, e.Stale(e.FetchedAt.Add(time.Minute)), "short ones aren't replaced at every call")
	assert.True(t, e.Stale(e.FetchedAt.Add(3*time.Minute)))
}

func TestTokensAndServersDoNotShareCredentials(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, Open(root, "https://a.example", "token").Put("prod", entry()))
	for _, c := range []Cache{Open(root, "https://a.example", "other"), Open(root, "https://b.example", "token"), Open("", "", ""), {}} {
		_, ok := c.Get("prod", start())
		assert.False(t, ok)
	}
	_, ok := Open(root, "https://a.example", "token").Get("staging", start())
	assert.False(t, ok)
}

func TestFilesArePrivateAndNamesNeverBecomePaths(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cache")
	c := Open(root, "https://a.example", "the-token")
	for _, ref := range []string{"prod", "../../../evil", "/etc/passwd", "a\x00b", strings.Repeat("x", 5000)} {
		e := entry()
		e.Profile = ref
		require.NoError(t, c.Put(ref, e))
		_, ok := c.Get(ref, start())
		assert.True(t, ok)
	}
	paths := files(t, root)
	assert.Len(t, paths, 5)
	for _, path := range paths {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		assert.NotContains(t, path, "the-token")
	}
	info, err := os.Stat(root)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestDamagedOrReadableFilesCountAsNotThere(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	path := c.path("credentials", "prod")
	for _, text := range []string{"", "{", "null", "[]", `{"expiration":7}`, "{}", strings.Repeat(" ", maxEntryBytes+1)} {
		require.NoError(t, c.Put("prod", entry()))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, ok := c.Get("prod", start())
		assert.False(t, ok, text)
	}
	require.NoError(t, c.Put("prod", entry()))
	require.NoError(t, os.Chmod(path, 0o644))
	_, ok := c.Get("prod", start())
	assert.False(t, ok)
}

func TestAnEntryUnderAnotherNameIsNotUsed(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	require.NoError(t, c.Put("staging", entry()))
	_, ok := c.Get("staging", start())
	assert.False(t, ok, "a file that was renamed or swapped must not pass for another profile's")
}

func TestTheEndOfAnEventDropsItsCredentialsOnly(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	e := entry()
	require.NoError(t, c.Put("prod", e))
	require.NoError(t, c.Put(e.EventID, e))
	require.NoError(t, c.Drop("fedcba9876543210", "prod"))
	_, ok := c.Get("prod", start())
	assert.True(t, ok, "another event on the profile was closed")
	require.NoError(t, c.Keep(e.EventID, "prod"))
	_, ok = c.Get("prod", start())
	assert.True(t, ok)
	require.NoError(t, c.Drop(e.EventID, "prod"))
	for _, ref := range []string{"prod", e.EventID} {
		_, ok = c.Get(ref, start())
		assert.False(t, ok)
	}
	require.NoError(t, c.Put("prod", e))
	require.NoError(t, c.Keep("fedcba9876543210", "prod"))
	_, ok = c.Get("prod", start())
	assert.False(t, ok, "a new event on the profile means that the old one is over")
	require.NoError(t, c.Put("prod", e))
	require.NoError(t, c.Clear())
	_, ok = c.Get("prod", start())
	assert.False(t, ok)
}

func TestTheEndOfARequestDropsItsCredentialsOnly(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	e := entry()
	e.GrantedBy, e.EventID, e.RequestID = breakglass.LinkRequest, "", "fedcba9876543210"
	require.NoError(t, c.Put("prod", e))
	require.NoError(t, c.Drop("0123456789abcdef", "prod"))
	require.NoError(t, c.Keep("0123456789abcdef", "prod"))
	_, ok := c.Get("prod", start())
	assert.True(t, ok, "an event says nothing about access by request")
	require.NoError(t, c.Drop(e.RequestID, "prod"))
	_, ok = c.Get("prod", start())
	assert.False(t, ok)
}

func TestAnExtensionMovesTheEndOfItsEventOnly(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	e, later := entry(), start().Add(2*time.Hour)
	for _, ref := range []string{"prod", e.EventID} {
		require.NoError(t, c.Put(ref, e))
	}
	require.NoError(t, c.Move("fedcba9876543210", "prod", later))
	got, _ := c.Get("prod", start())
	assert.Equal(t, e.GrantEnds, got.GrantEnds)
	require.NoError(t, c.Move(e.EventID, "prod", later))
	for _, ref := range []string{"prod", e.EventID} {
		got, ok := c.Get(ref, start())
		require.True(t, ok)
		assert.Equal(t, later, got.GrantEnds)
		assert.Equal(t, e.Expiration, got.Expiration, "AWS doesn't know of it")
		assert.True(t, got.Stale(start().Add(50*time.Minute)), "and longer ones are fetched in time")
	}
}

func TestWhatAnEarlierVersionKeptIsNotUsed(t *testing.T) {
	e := entry()
	e.GrantedBy = ""
	assert.False(t, e.Usable(start()), "it doesn't say what granted it, nor until when")
}

func TestSweepRemovesWhatIsOver(t *testing.T) {
	root := t.TempDir()
	c := Open(root, "https://a.example", "token")
	require.NoError(t, c.Put("prod", entry()))
	Sweep(root, start())
	assert.Len(t, files(t, root), 1)
	Sweep(root, time.Now().Add(24*time.Hour))
	assert.Empty(t, files(t, root))
}

func TestConcurrentReadersNeverSeeHalfAnEntry(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	first := entry()
	first.SessionToken = "00"
	require.NoError(t, c.Put("prod", first))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 50 {
				e := entry()
				e.SessionToken = strings.Repeat(fmt.Sprint(i), 1000+n*10)
				assert.NoError(t, c.Put("prod", e))
			}
		})
		wg.Go(func() {
			for range 500 {
				e, ok := c.Get("prod", start())
				if assert.True(t, ok) {
					assert.Equal(t, strings.Repeat(e.SessionToken[:1], len(e.SessionToken)), e.SessionToken)
				}
			}
		})
	}
	wg.Wait()
}

func TestTheLockKeepsOthersOutUntilItIsReleasedOrPatienceEnds(t *testing.T) {
	c := Open(t.TempDir(), "https://a.example", "token")
	unlock := c.Lock(t.Context(), "prod", time.Second)
	got := make(chan struct{})
	go func() {
		c.Lock(context.Background(), "prod", time.Minute)()
		close(got)
	}()
	c.Lock(t.Context(), "staging", time.Minute)() // another one's lock is free
	c.Lock(t.Context(), "prod", 30*time.Millisecond)()
	select {
	case <-got:
		t.Fatal("two held the lock")
	default:
	}
	unlock()
	select {
	case <-got:
	case <-time.After(10 * time.Second):
		t.Fatal("the lock was not handed on")
	}
}

func TestEntriesHideTheirSecrets(t *testing.T) {
	for _, text := range []string{fmt.Sprint(entry()), fmt.Sprintf("%+v", entry()), fmt.Sprintf("%#v", entry())} {
		assert.NotContains(t, text, "s3cret")
		assert.NotContains(t, text, "t0ken")
	}
}
