package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/settings"
	"breakglass/internal/cli/show"
	"breakglass/internal/client"
	"breakglass/internal/version"
)

// app is one run of bgctl.
type app struct {
	Program
	local *time.Location
	out   terminal
	err   terminal

	flagOutput string
	flagServer string

	ran     bool   // a command has begun
	command string // its name
	loaded  *settings.Settings
	calling sync.Mutex // guards api: exec renews and warns beside its command
	api     *client.Client
	tried   *attempt // the login that is being tried

	questions *asker // asked on the terminal; nil before the first one
}

// terminal says what a stream can show.
type terminal struct {
	is      bool
	columns int // 0 where there is no terminal
	show.Palette
}

func newApp(p Program) *app {
	a := &app{Program: p, local: time.Local}
	a.out, a.err = a.terminal(p.Stdout), a.terminal(p.Stderr)
	return a
}

func (a *app) terminal(w any) terminal {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return terminal{}
	}
	t := terminal{is: true, columns: 80}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		t.columns = w
	} else if w, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && w > 0 {
		t.columns = w
	}
	// https://no-color.org: set and not empty.
	t.Colour = a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	return t
}

// canAsk says that a person is there to answer: both ends of a conversation
// are terminals.
func (a *app) canAsk() bool {
	return a.err.is && a.terminal(a.Stdin).is && !a.json()
}

// getenv returns a variable of the environment; the last one counts.
func (a *app) getenv(key string) string {
	for i := len(a.Environ) - 1; i >= 0; i-- {
		if k, v, ok := strings.Cut(a.Environ[i], "="); ok && k == key {
			return v
		}
	}
	return ""
}

// settings reads the settings once.
func (a *app) settings() (settings.Settings, error) {
	if a.loaded == nil {
		s, err := settings.Load(a.getenv, a.flagServer)
		if err != nil {
			return s, &usageError{message: "bgctl is not set up right.", faults: strings.Split(err.Error(), "\n")}
		}
		a.loaded = &s
	}
	return *a.loaded, nil
}

// format is the format of the result.
func (a *app) format() (string, error) {
	switch a.flagOutput {
	case settings.Table, settings.JSON:
		return a.flagOutput, nil
	case "":
		s, err := a.settings()
		return s.Output, err
	}
	return "", usage("--output must be table or json, not %q", a.flagOutput)
}

// json reports whether the result is JSON. It can be asked while reporting an
// error, so a format that can't be found out counts as table.
func (a *app) json() bool {
	f, err := a.format()
	return err == nil && f == settings.JSON
}

// client returns the client for the configured server with its token.
func (a *app) client() (*client.Client, error) {
	a.calling.Lock()
	defer a.calling.Unlock()
	if a.api != nil {
		return a.api, nil
	}
	if _, err := a.format(); err != nil {
		return nil, err
	}
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if s.Server == "" {
		return nil, &usageError{message: "No server is configured.",
			now: []string{"bgctl login --server https://breakglass.example.com", "or set BGCTL_SERVER, or server: in " + s.ConfigFile}}
	}
	switch {
	case s.Identity() == "":
		return nil, &notLoggedIn{server: s.Server, emptyToken: slices.Contains(a.Environ, "BGCTL_TOKEN=")}
	case s.OIDC != nil:
		a.api, err = a.makeClient(s, client.Config{TokenSource: a.session(s).token})
	case s.AWS != nil:
		a.api, err = a.makeClient(s, client.Config{TokenSource: (&awsSession{a: a, s: s, have: *s.AWS}).token})
	default:
		a.api, err = a.newClient(s, s.Token)
	}
	return a.api, err
}

// newClient returns a client with that token; none when it is empty.
func (a *app) newClient(s settings.Settings, token string) (*client.Client, error) {
	return a.makeClient(s, client.Config{Token: token})
}

func (a *app) makeClient(s settings.Settings, tokens client.Config) (*client.Client, error) {
	c, err := client.New(client.Config{
		Server: s.Server, Token: tokens.Token, TokenSource: tokens.TokenSource, AllowHTTP: s.AllowHTTP, CAPEM: s.CAPEM, CertPEM: s.CertPEM, KeyPEM: s.KeyPEM, UserAgent: "bgctl/" + version.Version,
		Retrying: func(cause error, wait time.Duration) {
			if a.err.is {
				a.hint("%s; trying again", show.Safe(cause.Error()))
			}
		},
	})
	if err != nil {
		return nil, usage("%s", err.Error())
	}
	return c, nil
}

// cache is the credential cache of the configured identity.
func (a *app) cache() credcache.Cache {
	s, err := a.settings()
	if err != nil {
		return credcache.Cache{}
	}
	return credcache.Open(s.CacheDir, s.Server, s.Identity())
}

// print writes the result, and nothing else goes to standard output.
func (a *app) print(result []byte) error {
	if _, err := a.Stdout.Write(result); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func (a *app) printJSON(v any) error {
	b, err := show.Indented(v)
	if err != nil {
		return err
	}
	return a.print(b)
}

// hint tells the person something beside the result. Programs that asked for
// JSON aren't told.
func (a *app) hint(format string, args ...any) {
	if !a.json() {
		a.say(format, args...)
	}
}

func (a *app) say(format string, args ...any) {
	text := show.Lines(fmt.Sprintf(format, args...))
	if a.err.columns > 20 {
		text = show.WrapLines(text, a.err.columns)
	}
	_, err := io.WriteString(a.Stderr, text+"\n")
	_ = err // nowhere is left to report it
}

// when writes an instant for a person: absolute, and how far away it is.
func (a *app) when(t time.Time) string {
	return show.Time(t, a.local) + ", " + show.Relative(t, a.Now())
}

// childExit ends bgctl with the exit code of the program it ran.
type childExit struct{ code int }

func (childExit) Error() string { return "the command failed" }
