package cli

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// warned is a warner over the fake server, with the terminal that it writes to.
func warned(t *testing.T, f *fakeAPI, s *source, g granted) (*warner, *bytes.Buffer) {
	t.Helper()
	var screen bytes.Buffer
	a := newApp(Program{Now: f.clock, Stderr: &screen})
	a.local, a.flagOutput = time.UTC, "table"
	api, err := s.api()
	require.NoError(t, err)
	a.api = api
	return a.warner(g), &screen
}

func TestTheApproachingEndIsToldOnceTenMinutesBefore(t *testing.T) {
	f, s := newFakeAPI(t)
	w, screen := warned(t, f, s, testEndpoint(t, s))
	assert.Equal(t, warnEvery, w.look(t.Context()))
	f.set(func() { f.now = f.ends.Add(-warnBefore - time.Second) })
	assert.Equal(t, time.Second, w.look(t.Context()), "and it is looked again just in time")
	assert.Empty(t, screen.String())
	f.pass(time.Second)
	for range 3 {
		w.look(t.Context())
		f.pass(time.Minute)
	}
	assert.Equal(t, "bgctl: access to prod ends in 10m, at 2026-11-23 06:00:00 UTC. To go on: bgctl extend 0123456789abcdef --justification \"…\"\n", screen.String())
}

func TestLessThanTenMinutesAreToldAtOnce(t *testing.T) {
	f, s := newFakeAPI(t)
	f.set(func() { f.ends = f.now.Add(3 * time.Minute) })
	w, screen := warned(t, f, s, testEndpoint(t, s))
	w.look(t.Context())
	assert.Contains(t, screen.String(), "ends in 3m")
}

func TestAnExtensionIsLearntInTimeAndToldOfAgain(t *testing.T) {
	f, s := newFakeAPI(t)
	f.lifetime = 12 * time.Hour
	ep := testEndpoint(t, s)
	w, screen := warned(t, f, s, ep)
	first := f.ends
	f.set(func() { f.now, f.ends = first.Add(-warnBefore), first.Add(time.Hour) }) // from another machine
	w.look(t.Context())
	assert.Empty(t, screen.String(), "nobody is frightened of an end that is none")
	assert.Equal(t, f.ends, ep.latest().GrantEnds)
	kept, ok := s.cache.Get("prod", f.clock())
	require.True(t, ok)
	assert.Equal(t, f.ends, kept.GrantEnds, "other processes learn it too")
	f.set(func() { f.now = f.ends.Add(-warnBefore) })
	w.look(t.Context())
	assert.Contains(t, screen.String(), "07:00:00 UTC")

	// An extension on this machine is in the cache.
	ask(t, ep, nil)
	later := f.ends.Add(30 * time.Minute)
	screen.Reset()
	require.NoError(t, s.cache.Move(testEvent, "prod", later))
	calls := f.calls.Load()
	w.look(t.Context())
	assert.Empty(t, screen.String())
	assert.Equal(t, calls, f.calls.Load())
	f.set(func() { f.now, f.ends = later.Add(-warnBefore), later })
	w.look(t.Context())
	assert.Contains(t, screen.String(), "07:30:00 UTC")
}

func TestAnEventThatWasClosedIsNotWarnedOf(t *testing.T) {
	f, s := newFakeAPI(t)
	f.lifetime = 12 * time.Hour
	w, screen := warned(t, f, s, testEndpoint(t, s))
	require.NoError(t, s.cache.Drop(testEvent, "prod")) // as `bgctl close` does in another terminal
	f.set(func() { f.now = f.ends.Add(-time.Minute) })
	w.look(t.Context())
	assert.Empty(t, screen.String())
}

func TestTheWarningIsGivenAlsoWhenTheServerIsAway(t *testing.T) {
	f, s := newFakeAPI(t)
	w, screen := warned(t, f, s, testEndpoint(t, s))
	f.set(func() { f.now, f.broken = f.ends.Add(-warnBefore), 500 })
	w.look(t.Context())
	assert.Contains(t, screen.String(), "ends in 10m")
}

func TestTheWarningSaysHowToGoOn(t *testing.T) {
	for name, c := range map[string]struct {
		link   breakglass.Link
		static bool
		says   string
	}{
		"event":         {breakglass.LinkBreakglass, false, "bgctl extend 0123456789abcdef"},
		"request":       {breakglass.LinkRequest, false, "bgctl request prod"},
		"policy":        {breakglass.LinkPolicy, false, "bgctl request prod"},
		"keys, event":   {breakglass.LinkBreakglass, true, "bgctl extend 0123456789abcdef"},
		"keys, request": {breakglass.LinkRequest, true, "bgctl request prod"},
	} {
		f, s := newFakeAPI(t)
		f.set(func() { f.link, f.ends = c.link, f.now.Add(20*time.Minute) })
		var g granted = testEndpoint(t, s)
		if c.static {
			first, err := s.get(t.Context())
			require.NoError(t, err)
			g = &fixedGrant{s, first}
		}
		w, screen := warned(t, f, s, g)
		f.pass(11 * time.Minute)
		w.look(t.Context())
		assert.Contains(t, screen.String(), c.says, name)
	}
	// Keys that end before their grant.
	f, s := newFakeAPI(t)
	first, err := s.get(t.Context())
	require.NoError(t, err)
	w, screen := warned(t, f, s, &fixedGrant{s, first})
	f.pass(51 * time.Minute)
	w.look(t.Context())
	assert.Contains(t, screen.String(), "ends in 9m")
	assert.Contains(t, screen.String(), "run bgctl exec again")
}

func TestAccessWithoutAnEndIsNotWarnedOf(t *testing.T) {
	f, s := newFakeAPI(t)
	f.set(func() { f.link, f.ends = breakglass.LinkPolicy, time.Time{} })
	w, screen := warned(t, f, s, testEndpoint(t, s))
	f.pass(55 * time.Minute)
	w.look(t.Context())
	assert.Empty(t, screen.String())
}

func TestALookThatIsCutOffWarnsNobody(t *testing.T) {
	f, s := newFakeAPI(t)
	w, screen := warned(t, f, s, testEndpoint(t, s))
	f.set(func() { f.now = f.ends.Add(-time.Minute) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.look(ctx)
	assert.Empty(t, screen.String(), "the command is over")
}
