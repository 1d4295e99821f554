package credcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"breakglass/internal/cli/filelock"
	"breakglass/internal/cli/settings"
)

const maxEntryBytes = 64 << 10

// Cache holds the credentials of one token at one server. The zero Cache holds
// nothing and keeps nothing.
type Cache struct{ dir string }

// Open returns the cache below root for a token at a server. Nothing is touched
// on disk. An empty root gives the zero Cache.
func Open(root, server, token string) Cache {
	if root == "" || token == "" {
		return Cache{}
	}
	// A hash tells tokens apart without giving them away.
	return Cache{filepath.Join(root, "identity-"+digest(server+"\x00"+token))}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// path is where something is kept. The name of a profile is anybody's text, so
// it never becomes part of a path.
func (c Cache) path(kind, ref string) string {
	return filepath.Join(c.dir, kind+"-"+digest(ref)+".json")
}

// Get returns the credentials kept for a profile or event id, if they are
// usable at now.
func (c Cache) Get(ref string, now time.Time) (Entry, bool) {
	var e Entry
	if !c.Load("credentials", ref, &e) || !e.Usable(now) || e.Profile != ref && e.EventID != ref {
		return Entry{}, false
	}
	return e, true
}

// Put keeps credentials for a profile or event id.
func (c Cache) Put(ref string, e Entry) error { return c.Save("credentials", ref, e) }

// Load reads what was saved under a kind and name. Everything that is missing,
// damaged or readable by others counts as not there.
func (c Cache) Load(kind, ref string, v any) bool {
	if c.dir == "" {
		return false
	}
	return load(c.path(kind, ref), v)
}

func load(path string, v any) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return false
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEntryBytes+1))
	return err == nil && len(data) <= maxEntryBytes && json.Unmarshal(data, v) == nil
}

// Save keeps v under a kind and name.
func (c Cache) Save(kind, ref string, v any) error {
	if c.dir == "" {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the cache: %w", err)
	}
	if err := settings.WritePrivate(c.path(kind, ref), data); err != nil {
		return fmt.Errorf("write the cache: %w", err)
	}
	return nil
}

// Drop forgets the credentials of an event or access request, under whichever
// name they are kept.
func (c Cache) Drop(id, profile string) error {
	var e Entry
	err := c.remove(c.path("credentials", id))
	if c.Load("credentials", profile, &e) && (e.EventID == id || e.RequestID == id) {
		err = errors.Join(err, c.Forget(profile))
	}
	return err
}

// Forget forgets the credentials kept for a profile or event id, whatever granted them.
func (c Cache) Forget(ref string) error { return c.remove(c.path("credentials", ref)) }

// Keep forgets what an earlier event left for the profile: that event is over,
// whatever the kept times say.
func (c Cache) Keep(eventID, profile string) error {
	var e Entry
	if c.Load("credentials", profile, &e) && e.EventID != "" && e.EventID != eventID {
		return c.Drop(e.EventID, profile)
	}
	return nil
}

// Move notes that an event ends at another time: what is kept of it is renewed
// up to there.
func (c Cache) Move(eventID, profile string, ends time.Time) error {
	var err error
	for _, ref := range []string{eventID, profile} {
		var e Entry
		if c.Load("credentials", ref, &e) && e.EventID == eventID && !e.GrantEnds.Equal(ends) {
			e.GrantEnds, e.Last = ends.UTC(), false
			err = errors.Join(err, c.Put(ref, e))
		}
	}
	return err
}

// Clear forgets everything of this token.
func (c Cache) Clear() error {
	if c.dir == "" {
		return nil
	}
	return os.RemoveAll(c.dir)
}

// Sweep removes the credentials of every identity that are over at now.
func Sweep(root string, now time.Time) {
	paths, err := filepath.Glob(filepath.Join(root, "identity-*", "credentials-*.json"))
	if err != nil {
		return
	}
	for _, path := range paths {
		var e Entry
		if info, err := os.Stat(path); err != nil || now.Sub(info.ModTime()) < time.Minute {
			continue // perhaps just being replaced
		}
		if !load(path, &e) || !e.Usable(now) {
			_ = os.Remove(path)
		}
	}
}

func (c Cache) remove(path string) error {
	if c.dir == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock keeps other processes from fetching the same credentials meanwhile. It
// saves calls but nothing rests on it, so where it can't be had within a few
// seconds the caller goes on without.
func (c Cache) Lock(ctx context.Context, ref string, patience time.Duration) (unlock func()) {
	if c.dir == "" {
		return func() {}
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(c.dir, "lock-"+digest(ref)), patience)
	if err != nil {
		return func() {}
	}
	return unlock
}
