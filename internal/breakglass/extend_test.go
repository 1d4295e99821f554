package breakglass_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// run runs the sweeper until the returned function is called.
func (w *world) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func (w *world) count(t *testing.T, typ breakglass.EntryType) (n int) {
	t.Helper()
	for _, e := range w.trail(t) {
		if e.Event == typ {
			n++
		}
	}
	return n
}

func extensions(n int) func(breakglass.Subject, string) (breakglass.Terms, bool) {
	return func(breakglass.Subject, string) (breakglass.Terms, bool) {
		return breakglass.Terms{Rule: "open", MaxDuration: 4 * time.Hour, MaxExtensions: n}, true
	}
}

func more(d time.Duration) breakglass.Extension {
	return breakglass.Extension{Justification: "The restore takes longer than we thought", Duration: d, CallID: "call-7"}
}

func TestAnEventIsExtendedAndKeepsItsIdentity(t *testing.T) {
	w := newWorld(t)
	w.terms = extensions(1)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("staging"))
	require.NoError(t, err)
	w.at(t0.Add(55 * time.Minute))
	got, err := w.Extend(t.Context(), alice, ev.ID, more(90*time.Minute))
	require.NoError(t, err)
	assert.Equal(t, ev.ID, got.ID)
	assert.Equal(t, t0.Add(150*time.Minute), got.ExpiresAt)
	assert.Equal(t, t0.Add(140*time.Minute), got.WarnAt)
	assert.EqualValues(t, 9000, got.DurationSeconds)
	assert.Equal(t, 1, got.Extensions)
	assert.Equal(t, ev.Justification, got.Justification)
	out, err := w.CredentialsFor(t.Context(), alice, "staging", "")
	require.NoError(t, err)
	assert.Equal(t, got.ExpiresAt, out.Expiration)
	_, err = w.Extend(t.Context(), alice, ev.ID, more(time.Minute))
	assert.Equal(t, breakglass.ConditionExtensions, requireCode(t, breakglass.CodeExtensionRefused, err).Condition)

	entry := w.trail(t)[1]
	assert.Equal(t, breakglass.EntryExtended, entry.Event)
	assert.Equal(t, "The restore takes longer than we thought", entry.Justification)
	assert.Equal(t, "1", entry.Detail[breakglass.DetailExtension])
	assert.Equal(t, "5400", entry.Detail[breakglass.DetailExtendedBy])
	assert.Equal(t, "call-7", entry.Detail[breakglass.DetailCallRequestID])
	assert.Equal(t, got.ExpiresAt, entry.ExpiresAt)
}

func TestNoExtensionReachesPastFourHours(t *testing.T) {
	w := newWorld(t)
	w.terms = extensions(10)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("staging"))
	require.NoError(t, err)
	_, err = w.Extend(t.Context(), alice, ev.ID, more(3*time.Hour+time.Second))
	assert.Equal(t, breakglass.ConditionMaxDuration, requireCode(t, breakglass.CodeExtensionRefused, err).Condition)
	got, err := w.Extend(t.Context(), alice, ev.ID, more(3*time.Hour-time.Minute))
	require.NoError(t, err)
	got, err = w.Extend(t.Context(), alice, ev.ID, more(0))
	require.NoError(t, err, "without a duration, what is left")
	assert.Equal(t, t0.Add(4*time.Hour), got.ExpiresAt)
	_, err = w.Extend(t.Context(), alice, ev.ID, more(0))
	_ = requireCode(t, breakglass.CodeExtensionRefused, err)

	prod, err := w.Invoke(t.Context(), alice, request("prod")) // at most two hours by its profile
	require.NoError(t, err)
	_, err = w.Extend(t.Context(), alice, prod.ID, more(time.Hour+time.Second))
	_ = requireCode(t, breakglass.CodeExtensionRefused, err)
	got, err = w.Extend(t.Context(), alice, prod.ID, more(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, t0.Add(2*time.Hour), got.ExpiresAt)
}

func TestOnlyWhoMayExtendsOnlyWhatIsActive(t *testing.T) {
	w := newWorld(t)
	w.terms = extensions(1)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	_, err = w.Extend(t.Context(), person("bob@example.com"), ev.ID, more(0))
	_ = requireCode(t, breakglass.CodeEventNotFound, err)
	_, err = w.Extend(t.Context(), person("sam@example.com", breakglass.RoleReviewer), ev.ID, more(0))
	_ = requireCode(t, breakglass.CodeForbidden, err)
	_, err = w.Extend(t.Context(), alice, ev.ID, breakglass.Extension{Justification: "short"})
	_ = requireCode(t, breakglass.CodeInvalidRequest, err)
	w.policy = func(breakglass.PolicyRequest) breakglass.PolicyDecision {
		return breakglass.PolicyDecision{Rule: "open", Condition: breakglass.ConditionTime, Message: "It is closed.", MaxDuration: time.Hour}
	}
	_, err = w.Extend(t.Context(), alice, ev.ID, more(0))
	_ = requireCode(t, breakglass.CodePolicyDenied, err)
	w.terms = extensions(0)
	_, err = w.Extend(t.Context(), alice, ev.ID, more(0))
	_ = requireCode(t, breakglass.CodeExtensionRefused, err)
	w.terms = func(breakglass.Subject, string) (breakglass.Terms, bool) { return breakglass.Terms{}, false }
	_, err = w.Extend(t.Context(), alice, ev.ID, more(0))
	_ = requireCode(t, breakglass.CodeExtensionRefused, err)
	w.terms = extensions(1)
	w.at(ev.ExpiresAt)
	_, err = w.Extend(t.Context(), alice, ev.ID, more(0))
	_ = requireCode(t, breakglass.CodeInvalidTransition, err)
	for _, e := range w.trail(t)[1:] {
		assert.Equal(t, "extend", e.Detail[breakglass.DetailCall])
	}
}

// Whatever comes first, the event has one end, and the trail the same.
func TestExtensionsRaceWithCloseAndExpiry(t *testing.T) {
	w := newWorld(t)
	w.terms = extensions(10)
	alice := person("alice@example.com")
	w.from(t0)
	stop := w.run(t)
	defer stop()
	for range 10 {
		in := request("prod")
		in.Duration = time.Second
		ev, err := w.Invoke(t.Context(), alice, in)
		require.NoError(t, err)
		var wg sync.WaitGroup
		var extended, closed error
		wg.Go(func() {
			time.Sleep(time.Until(time.Now().Add(980 * time.Millisecond)))
			_, extended = w.Extend(t.Context(), alice, ev.ID, more(time.Second))
		})
		wg.Go(func() {
			time.Sleep(985 * time.Millisecond)
			_, closed = w.Close(t.Context(), alice, ev.ID, "over", "")
		})
		wg.Wait()
		for _, err := range []error{extended, closed} {
			if err != nil {
				_ = requireCode(t, breakglass.CodeInvalidTransition, err)
			}
		}
		require.Eventually(t, func() bool {
			now, err := w.store.Event(t.Context(), ev.ID)
			return err == nil && now.Status != breakglass.StatusActive
		}, 10*time.Second, 5*time.Millisecond)
		ends := map[breakglass.EntryType]int{}
		for _, e := range w.trail(t) {
			if e.EventID == ev.ID && e.Detail[breakglass.DetailCall] == "" {
				ends[e.Event]++
			}
		}
		require.Equal(t, 1, ends[breakglass.EntryClosed]+ends[breakglass.EntryExpired], "%v", ends)
		require.Equal(t, extended == nil, ends[breakglass.EntryExtended] == 1)
	}
}

func TestTheEndIsAnnouncedOnceAndAgainAfterAnExtension(t *testing.T) {
	w := newWorld(t)
	w.terms = extensions(1)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	w.from(ev.WarnAt.Add(-300 * time.Millisecond))
	stop := w.run(t)
	require.Eventually(t, func() bool { return w.count(t, breakglass.EntryExpiring) == 1 }, 10*time.Second, 10*time.Millisecond)
	trail := w.trail(t)
	warned := trail[len(trail)-1]
	assert.WithinDuration(t, ev.WarnAt, warned.Timestamp, time.Second)
	assert.False(t, warned.Timestamp.Before(ev.WarnAt))
	assert.Equal(t, ev.ExpiresAt, warned.ExpiresAt)
	assert.Equal(t, breakglass.StatusActive, warned.Status)
	now, err := w.Check(t.Context(), alice, ev.ID)
	require.NoError(t, err)
	assert.Zero(t, now.WarnAt)
	stop()

	now, err = w.Extend(t.Context(), alice, ev.ID, more(30*time.Minute))
	require.NoError(t, err)
	assert.Equal(t, ev.WarnAt.Add(30*time.Minute), now.WarnAt)
	w.from(now.WarnAt)
	stop = w.run(t)
	require.Eventually(t, func() bool { return w.count(t, breakglass.EntryExpiring) == 2 }, 10*time.Second, 10*time.Millisecond)
	stop()
	w.from(now.ExpiresAt)
	stop = w.run(t)
	require.Eventually(t, func() bool { return w.count(t, breakglass.EntryExpired) == 1 }, 10*time.Second, 10*time.Millisecond)
	stop()
	assert.Equal(t, 2, w.count(t, breakglass.EntryExpiring))
	story, err := w.Why(t.Context(), alice, "alice@example.com."+ev.ID)
	require.NoError(t, err)
	var told []breakglass.EntryType
	for _, e := range story.Entries {
		told = append(told, e.Event)
	}
	assert.Equal(t, []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryExpiring, breakglass.EntryExtended, breakglass.EntryExpiring, breakglass.EntryExpired}, told)
}

func TestAnEndThatWasWrittenDownLateIsPartOfTheStory(t *testing.T) {
	w := newWorld(t)
	alice := person("alice@example.com")
	ev, err := w.Invoke(t.Context(), alice, request("prod"))
	require.NoError(t, err)
	w.from(ev.ExpiresAt.Add(5 * time.Hour)) // no server ran
	stop := w.run(t)
	require.Eventually(t, func() bool { return w.count(t, breakglass.EntryExpired) == 1 }, 10*time.Second, 10*time.Millisecond)
	stop()
	story, err := w.Why(t.Context(), alice, ev.ID)
	require.NoError(t, err)
	assert.Equal(t, breakglass.EntryExpired, story.Entries[len(story.Entries)-1].Event)
	assert.Zero(t, w.count(t, breakglass.EntryExpiring), "a warning after the end helps nobody")
}

// More time is asked for as the time before it was: what a stolen token can't
// begin it can't prolong either.
func TestAnExtensionWantsTheSecondFactorOfItsRule(t *testing.T) {
	onBothEngines(t, func(t *testing.T, s *strict) {
		who := person("alice")
		app := s.enrol(t, who)
		ev, err := s.try(t, who, "prod", app.at(s.now))
		require.NoError(t, err)
		extend := func(code breakglass.TOTPCode) error {
			in := more(10 * time.Minute)
			in.TOTP = code
			_, err := s.Extend(t.Context(), who, ev.ID, in)
			return err
		}
		_ = requireCode(t, breakglass.CodeMFARequired, extend(""))
		_ = requireCode(t, breakglass.CodeMFAInvalid, extend(app.at(s.now))) // used for the invocation
		s.now = s.now.Add(30 * time.Second)
		_ = requireCode(t, breakglass.CodeMFAInvalid, extend(app.wrong(s.now, 1)))
		require.NoError(t, extend(app.at(s.now)))
		entries := s.trail(t)
		last := entries[len(entries)-1]
		assert.Equal(t, breakglass.EntryExtended, last.Event)
		assert.Equal(t, "totp", last.Detail[breakglass.DetailMFA])
		assert.Contains(t, s.types(t), "mfa.failed mfa_invalid")
	})
}
