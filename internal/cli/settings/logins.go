package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"breakglass/internal/cli/filelock"
	"breakglass/internal/cli/signin"
)

// Logins are the tokens that `bgctl login` has stored, each for one server.
type Logins struct {
	Version  int              `json:"version"`
	Current  string           `json:"current,omitempty"` // the server of the last login
	ByServer map[string]Login `json:"logins"`
	// Providers are those that were agreed to for each server. They outlive a login.
	Providers map[string][]Provider `json:"providers,omitempty"`
}

// Provider is an identity provider as a server named it. Nothing in it is secret.
type Provider struct {
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes,omitempty"`
	Token    string   `json:"token"`
}

// Same reports whether two servers' words about a provider are the same.
func (p Provider) Same(q Provider) bool {
	return p.Issuer == q.Issuer && p.ClientID == q.ClientID && p.Token == q.Token && slices.Equal(p.Scopes, q.Scopes)
}

// Provider is what was agreed to for a server and an issuer, or stands in a
// login from before agreements were kept; nil when there is none.
func (l Logins) Provider(server, issuer string) *Provider {
	for _, p := range l.Providers[server] {
		if p.Issuer == issuer {
			return &p
		}
	}
	if o := l.ByServer[server].OIDC; o != nil && o.Issuer == issuer {
		p := o.Provider()
		return &p
	}
	return nil
}

// Login is one stored token, or what gets one. It is secret.
type Login struct {
	Token string `json:"token,omitempty"`
	Name  string `json:"name"` // whose it is, as the server said
	OIDC  *OIDC  `json:"oidc,omitempty"`
	AWS   *AWS   `json:"aws,omitempty"`
}

// AWS is a login with an AWS identity: a session of the server, and what is
// needed to get another one.
type AWS struct {
	ID      string    `json:"id"` // names this login, and its cache
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
	Profile string    `json:"profile,omitempty"` // of the AWS configuration; empty: whatever the AWS CLI finds
	Region  string    `json:"region,omitempty"`
}

// OIDC is a login at an identity provider.
type OIDC struct {
	// ID names this login: its key in the keyring, and its cache.
	ID       string   `json:"id"`
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes,omitempty"`
	Token    string   `json:"token"` // the kind that is the bearer token
	// The tokens are sealed with a key that the operating system's keyring
	// holds, or, where there is none, stand here as they are.
	Sealed []byte         `json:"sealed,omitempty"`
	Plain  *signin.Tokens `json:"tokens,omitempty"`
}

// Provider is where the login is.
func (o OIDC) Provider() Provider {
	return Provider{Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes, Token: o.Token}
}

// lockPatience is how long to wait for another bgctl that refreshes a login.
const lockPatience = 45 * time.Second

// UpdateLogins changes the stored logins. Nobody else changes them meanwhile:
// a refresh token that two processes use, or that one of them overwrites, can
// end the login.
func UpdateLogins(ctx context.Context, path string, change func(*Logins) error) error {
	unlock, err := filelock.Lock(ctx, path+".lock", lockPatience)
	if err != nil {
		return fmt.Errorf("lock the stored logins: %w", err)
	}
	defer unlock()
	l, err := ReadLogins(path)
	if err != nil {
		return err
	}
	if err := change(&l); err != nil {
		return err
	}
	return WriteLogins(path, l)
}

// ReadLogins reads the stored logins; none when the file doesn't exist. A file
// that other people could have read is refused: what it holds is no secret any more.
func ReadLogins(path string) (Logins, error) {
	none := Logins{Version: 1, ByServer: map[string]Login{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("read the stored logins: %w", err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return none, fmt.Errorf("%s can be read by others (mode %04o), so its tokens may be known; replace the tokens if that "+
			"worries you, then run: chmod 600 %s", path, mode, path)
	}
	data, err := readCapped(path)
	if err != nil {
		return none, fmt.Errorf("read the stored logins: %w", err)
	}
	l := none
	if err := json.Unmarshal(data, &l); err != nil || l.Version != 1 {
		// The text of the error could quote a token.
		return none, fmt.Errorf("%s is damaged or of another version; remove it and log in again", path)
	}
	if l.ByServer == nil {
		l.ByServer = map[string]Login{}
	}
	return l, nil
}

// WriteLogins replaces the stored logins, whole or not at all.
func WriteLogins(path string, l Logins) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("store the login: %w", err)
	}
	if err := WritePrivate(path, append(data, '\n')); err != nil {
		return fmt.Errorf("store the login: %w", err)
	}
	return nil
}

// WritePrivate writes a file that its owner alone can read (0600, in a
// directory that is made with 0700), whole or not at all: readers see the old
// or the new file, never half of one.
func WritePrivate(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
