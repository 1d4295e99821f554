package cli

import (
	"context"
	"io"
	"time"

	"breakglass/internal/breakglass"
	"breakglass/internal/cli/credcache"
	"breakglass/internal/cli/show"
)

const (
	// warnBefore is how long before the end of access a person is told.
	warnBefore = 10 * time.Minute
	// warnEvery bounds the sleep: a timer doesn't notice that the machine slept,
	// nor that the end has moved.
	warnEvery = 30 * time.Second
)

// granted is what a running command has access by.
type granted interface {
	// latest is the credentials that it has now.
	latest() credcache.Entry
	// move notes that the grant of c ends at another time.
	move(c credcache.Entry, ends time.Time)
}

// fixedGrant is that of a command with plain keys: what it has, it keeps.
type fixedGrant struct {
	source *source
	have   credcache.Entry
}

func (g *fixedGrant) latest() credcache.Entry {
	have := g.have
	have.Last = true // nothing renews them
	return have
}

func (g *fixedGrant) move(c credcache.Entry, ends time.Time) {
	_ = g.source.cache.Move(c.EventID, c.Profile, ends)
}

// warner tells the person at bgctl exec that access is about to end, once for
// each end.
type warner struct {
	a       *app
	granted granted
	static  bool
	told    time.Time // the end that was told of
}

func (a *app) warner(g granted) *warner {
	_, static := g.(*fixedGrant)
	return &warner{a: a, granted: g, static: static}
}

// start warns from now on until stop is called.
func (w *warner) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			timer := time.NewTimer(w.look(ctx))
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// look warns if it is time for it, and returns when to look again.
func (w *warner) look(ctx context.Context) time.Duration {
	now := w.a.Now()
	c := w.granted.latest()
	ends := c.AccessEnds()
	if ends.IsZero() || !now.Before(ends) || ends.Equal(w.told) {
		return warnEvery
	}
	if due := ends.Add(-warnBefore); now.Before(due) {
		return min(warnEvery, due.Sub(now))
	}
	if !w.static && !c.Last {
		if later := w.extended(ctx, c); later.After(ends) {
			w.granted.move(c, later)
			return 0 // that one may be near as well
		}
	}
	if ctx.Err() != nil {
		return warnEvery
	}
	w.told = ends
	w.write(w.warning(c, ends))
	return warnEvery
}

// extended returns the end of the event as the server has it: it may have been
// extended from another machine. Zero means that it isn't known.
func (w *warner) extended(ctx context.Context, c credcache.Entry) time.Time {
	if c.EventID == "" {
		return time.Time{}
	}
	api, err := w.a.client()
	if err != nil {
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	ev, err := api.Event(ctx, c.EventID)
	if err != nil || ev.Status != breakglass.StatusActive {
		return time.Time{}
	}
	return ev.ExpiresAt.UTC()
}

func (w *warner) warning(c credcache.Entry, ends time.Time) string {
	left := show.Duration(ends.Sub(w.a.Now()))
	text := "bgctl: access to " + show.Safe(c.Profile) + " ends in " + left + ", at " + show.Time(ends, w.a.local) + ". "
	switch {
	case w.static && (c.GrantEnds.IsZero() || c.GrantEnds.Sub(ends) > time.Minute):
		return text + "These keys aren't renewed: run bgctl exec again to go on."
	case c.EventID != "" && !c.Last || c.EventID != "" && w.static:
		return text + "To go on: bgctl extend " + quote(c.EventID) + ` --justification "…"`
	}
	return text + "To go on: bgctl request " + quote(c.Profile) + ` --justification "…"`
}

// write puts one line on standard error, where the command's own output may be.
// On a terminal it begins and ends at the left edge, also where the command has
// switched off what turns a line feed into that.
func (w *warner) write(text string) {
	if w.a.json() {
		return
	}
	line := text + "\n"
	if w.a.err.is {
		line = "\r\n" + text + "\r\n"
	}
	_, err := io.WriteString(w.a.Stderr, line)
	_ = err // nowhere is left to report it
}
