package breakglass_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestInvokeGrantsAtOnceAndRecordsIt(t *testing.T) {
	w := newWorld(t)
	got, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	assert.Equal(t, breakglass.StatusActive, got.Status)
	assert.Equal(t, t0.Add(time.Hour), got.ExpiresAt, "one hour when nothing is asked for")
	assert.Equal(t, "Primary DB down, INC-4711", got.Justification)
	assert.Equal(t, "alice", got.RequestedBy)
	entries := w.trail(t)
	require.Len(t, entries, 1)
	assert.Equal(t, "req-1", entries[0].RequestID)
	assert.Equal(t, "sha", entries[0].Detail[breakglass.DetailPolicySHA256])
	due, _, err := w.store.DueDeliveries(t.Context(), "secops", t0.Add(time.Hour), 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "the notification was committed with the event")
	assert.Equal(t, got.ID, due[0].Event.ID)
}

func TestPromise01OneActiveEventPerInvokerAndProfile(t *testing.T) {
	w := newWorld(t)
	var granted, refused atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			_, err := w.Invoke(t.Context(), person("alice"), request("prod"))
			var e *breakglass.Error
			switch {
			case err == nil:
				granted.Add(1)
			case errors.As(err, &e) && e.Code == breakglass.CodeAlreadyActive && breakglass.IsID(e.EventID) && !e.ExpiresAt.IsZero():
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, granted.Load())
	assert.EqualValues(t, 63, refused.Load())
	_, err := w.Invoke(t.Context(), person("alice"), request("staging"))
	require.NoError(t, err, "another profile is not blocked")
	_, err = w.Invoke(t.Context(), person("bob"), request("prod"))
	require.NoError(t, err, "another person is not blocked")
}

func TestPromise06ALapsedEventNeverBlocks(t *testing.T) {
	w := newWorld(t)
	first, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	w.at(first.ExpiresAt.Add(-time.Microsecond))
	_, err = w.Invoke(t.Context(), person("alice"), request("prod"))
	_ = requireCode(t, breakglass.CodeAlreadyActive, err)
	w.at(first.ExpiresAt)
	second, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err, "no sweeper has run, and still nothing is in the way")
	assert.NotEqual(t, first.ID, second.ID)
	assert.Equal(t, []string{"breakglass.invoked", "breakglass.denied already_active", "breakglass.expired", "breakglass.invoked"}, w.types(t))
}

func TestPromise05ExpiryIsRecordedExactlyOnce(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	var people []breakglass.Principal
	for i := range 150 { // more than two sweeps at a time
		p := person(fmt.Sprintf("user-%d", i))
		people = append(people, p)
		_, err := w.Invoke(ctx, p, request("prod"))
		require.NoError(t, err)
	}
	w.at(t0.Add(time.Hour))
	var wg sync.WaitGroup
	for range 3 { // sweepers and invocations race for the same expiries
		wg.Go(func() { w.Run(ctx) })
	}
	for _, p := range people[:50] {
		wg.Go(func() { _, err := w.Invoke(ctx, p, request("prod")); assert.NoError(t, err) })
	}
	require.Eventually(t, func() bool {
		open, err := w.store.Agenda(ctx, 1000)
		lapsed := slices.ContainsFunc(open, func(t breakglass.Task) bool { return t.At.Before(t0.Add(90 * time.Minute)) })
		return err == nil && len(open) == 50 && !lapsed
	}, 10*time.Second, 5*time.Millisecond)
	cancel()
	wg.Wait()
	expired := map[string]int{}
	for _, e := range w.trail(t) {
		if e.Event == breakglass.EntryExpired {
			expired[e.EventID]++
			assert.Equal(t, breakglass.SystemActor, e.Actor)
			assert.Equal(t, breakglass.StatusExpired, e.Status)
		}
	}
	assert.Len(t, expired, 150)
	for id, n := range expired {
		assert.Equal(t, 1, n, id)
	}
}

func TestTheSweeperWakesForANewEarlierEnd(t *testing.T) {
	w := newWorld(t)
	w.from(t0)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { w.Run(ctx); close(done) }()
	in := request("prod")
	in.Duration = time.Second
	// A machine that does something else for a second must not fail the test; a
	// sweeper that isn't woken comes late every time.
	for try := 1; ; try++ {
		ev, err := w.Invoke(ctx, person("alice"), in)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return len(w.trail(t)) == 2*try }, 30*time.Second, 5*time.Millisecond)
		last := w.trail(t)[2*try-1]
		require.Equal(t, breakglass.EntryExpired, last.Event)
		if last.Timestamp.Sub(ev.ExpiresAt) < time.Second {
			break
		}
		require.Less(t, try, 3, "not within a second of the end")
	}
	cancel()
	<-done
}

func TestIdempotencyKeyMakesOneEvent(t *testing.T) {
	w := newWorld(t)
	in := request("prod")
	in.IdempotencyKey = "k1"
	var ids sync.Map
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			got, err := w.Invoke(t.Context(), person("alice"), in)
			if assert.NoError(t, err) {
				ids.Store(got.ID, got.Replayed)
			}
		})
	}
	wg.Wait()
	count := 0
	ids.Range(func(any, any) bool { count++; return true })
	assert.Equal(t, 1, count)

	other := in
	other.Justification = "Something else entirely happened"
	_, err := w.Invoke(t.Context(), person("alice"), other)
	_ = requireCode(t, breakglass.CodeIdempotencyMismatch, err)

	_, err = w.Invoke(t.Context(), person("bob"), in)
	require.NoError(t, err, "keys belong to their caller")
}

// purging is a store that says when a purge is done.
type purging struct {
	breakglass.Store
	purged chan error
}

func (p purging) PurgeIdempotent(ctx context.Context, before time.Time) error {
	err := p.Store.PurgeIdempotent(ctx, before)
	p.purged <- err
	return err
}

func TestAnIdempotencyKeyIsKeptForTwoDaysAndThenForgotten(t *testing.T) {
	purged := make(chan error, 1)
	w := newWorldOver(t, func(s breakglass.Store) breakglass.Store { return purging{s, purged} })
	tidy := func() { // a server starts, tidies up and stops
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { w.Run(ctx) })
		require.NoError(t, <-purged)
		cancel()
		wg.Wait()
	}
	in := request("prod")
	in.IdempotencyKey = "k1"
	first, err := w.Invoke(t.Context(), person("alice"), in)
	require.NoError(t, err)
	for _, after := range []time.Duration{24 * time.Hour, 48*time.Hour - time.Microsecond, 48 * time.Hour} {
		w.at(t0.Add(after))
		tidy()
		again, err := w.Invoke(t.Context(), person("alice"), in)
		require.NoError(t, err)
		assert.True(t, again.Replayed, "after %s", after)
		assert.Equal(t, first.ID, again.ID, "after %s", after)
		assert.Equal(t, breakglass.StatusExpired, again.Status, "the event as it is now")
	}
	w.at(t0.Add(48*time.Hour + time.Microsecond))
	tidy()
	fresh, err := w.Invoke(t.Context(), person("alice"), in)
	require.NoError(t, err)
	assert.False(t, fresh.Replayed)
	assert.NotEqual(t, first.ID, fresh.ID, "the key is free again")
}

func TestCloseIsFinal(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	_, err = w.Close(t.Context(), person("mallory"), ev.ID, "not mine", "r")
	_ = requireCode(t, breakglass.CodeEventNotFound, err)
	_, err = w.Close(t.Context(), person("dash", breakglass.RoleAuditor), ev.ID, "may only look", "r")
	_ = requireCode(t, breakglass.CodeForbidden, err)
	_, err = w.Close(t.Context(), person("alice"), ev.ID, "  ", "r")
	_ = requireCode(t, breakglass.CodeInvalidRequest, err)
	closed, err := w.Close(t.Context(), person("sam", breakglass.RoleReviewer), ev.ID, " over ", "r2")
	require.NoError(t, err)
	assert.Equal(t, breakglass.StatusClosed, closed.Status)
	assert.Equal(t, "over", closed.ClosedReason)
	assert.Zero(t, closed.RemainingSeconds)
	_, err = w.Close(t.Context(), person("alice"), ev.ID, "again", "r")
	_ = requireCode(t, breakglass.CodeInvalidTransition, err)

	again, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	w.at(again.ExpiresAt)
	_, err = w.Close(t.Context(), person("alice"), again.ID, "too late", "r")
	_ = requireCode(t, breakglass.CodeInvalidTransition, err)
}

func TestCredentialsGoToTheInvokerAloneWhileActive(t *testing.T) {
	w := newWorld(t)
	bot := person("bot", breakglass.RoleDelegate, breakglass.RoleReviewer)
	in := request("prod")
	in.Invoker = "alice"
	ev, err := w.Invoke(t.Context(), bot, in)
	require.NoError(t, err)
	assert.Equal(t, "alice", ev.Invoker)
	_, err = w.Credentials(t.Context(), bot, ev.ID, "r")
	_ = requireCode(t, breakglass.CodeForbidden, err)
	_, err = w.Credentials(t.Context(), person("bob"), ev.ID, "r")
	_ = requireCode(t, breakglass.CodeEventNotFound, err)
	got, err := w.Credentials(t.Context(), person("alice"), ev.ID, "r")
	require.NoError(t, err)
	assert.Equal(t, "canary-secret", got.SecretAccessKey)
	w.at(ev.ExpiresAt)
	w.issue = func(breakglass.Grant) error { t.Error("keys were made for an event that is over"); return nil }
	_, err = w.Credentials(t.Context(), person("alice"), ev.ID, "r")
	_ = requireCode(t, breakglass.CodeInvalidTransition, err)
	assert.Equal(t, []string{"breakglass.invoked", "credentials.denied forbidden", "credentials.denied event_not_found",
		"credentials.issued", "credentials.denied invalid_transition"}, w.types(t))
	for _, e := range w.trail(t) {
		assert.NotContains(t, fmt.Sprintf("%#v", e), "canary")
	}
}

func TestPromise03CredentialsAreWithheldWhenTheEventEndsMeanwhile(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	w.issue = func(breakglass.Grant) error { // STS is slow, and somebody closes the event
		_, err := w.Close(t.Context(), person("alice"), ev.ID, "over", "r")
		return err
	}
	got, err := w.Credentials(t.Context(), person("alice"), ev.ID, "r")
	_ = requireCode(t, breakglass.CodeInvalidTransition, err)
	assert.Empty(t, got.SecretAccessKey)
	assert.Equal(t, []string{"breakglass.invoked", "breakglass.closed", "credentials.denied invalid_transition"}, w.types(t))
	assert.Equal(t, "ASIATEST", w.trail(t)[2].Detail[breakglass.DetailAccessKeyID], "the entry explains the keys that were made")
}

func TestPromise03NoCredentialsWithoutADurableEntry(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	w.issue = func(breakglass.Grant) error { return w.store.Close() } // the store fails after STS has answered
	got, err := w.Credentials(t.Context(), person("alice"), ev.ID, "r")
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	assert.Empty(t, got.SecretAccessKey)
}

func TestAClockBehindTheTrailGrantsNothing(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	w.at(t0.Add(-4 * time.Second))
	require.NoError(t, w.CheckClock(t.Context()), "small steps back are normal")
	w.at(t0.Add(-time.Hour))
	require.Error(t, w.CheckClock(t.Context()))
	_, err = w.Invoke(t.Context(), person("bob"), request("prod"))
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	w.issue = func(breakglass.Grant) error {
		t.Error("keys were made under a clock that can't be trusted")
		return nil
	}
	_, err = w.Credentials(t.Context(), person("alice"), ev.ID, "r")
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	_, err = w.Close(t.Context(), person("alice"), ev.ID, "closing works", "r")
	require.NoError(t, err, "access can be taken away under any clock")
}

func TestPromise11UnknownMeansNo(t *testing.T) {
	w := newWorld(t)
	_, err := w.Invoke(t.Context(), person("alice"), request("nowhere"))
	_ = requireCode(t, breakglass.CodeProfileUnknown, err)
	in := request("prod")
	in.Invoker = "bob"
	_, err = w.Invoke(t.Context(), person("alice"), in)
	_ = requireCode(t, breakglass.CodeForbidden, err)
	in.Invoker = "stranger"
	_, err = w.Invoke(t.Context(), person("bot", breakglass.RoleDelegate), in)
	_ = requireCode(t, breakglass.CodeInvalidRequest, err)
	w.noRule = errors.New("no policy was ever readable")
	_, err = w.Invoke(t.Context(), person("alice"), request("prod"))
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	_, err = w.Profiles(person("alice"))
	_ = requireCode(t, breakglass.CodeUnavailable, err)
	w.noRule = nil
	w.policy = func(breakglass.PolicyRequest) breakglass.PolicyDecision { return breakglass.PolicyDecision{} }
	_, err = w.Invoke(t.Context(), person("alice"), request("prod"))
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, breakglass.CodePolicyDenied, e.Code)
	events, more, err := w.List(t.Context(), person("sam", breakglass.RoleAuditor), breakglass.EventQuery{Limit: 10})
	require.NoError(t, err)
	assert.Empty(t, events)
	assert.False(t, more)
}

func TestTheProfilesCapHoldsBesideTheRules(t *testing.T) {
	w := newWorld(t)
	in := request("prod")
	in.Duration = 3 * time.Hour
	_, err := w.Invoke(t.Context(), person("alice"), in)
	e := requireCode(t, breakglass.CodePolicyDenied, err)
	assert.Equal(t, breakglass.ConditionProfileCap, e.Condition)
	assert.EqualValues(t, 7200, e.Allowed.MaxDurationSeconds)
}

func TestDryRunDecidesAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	in := request("prod")
	in.DryRun, in.IdempotencyKey = true, "k"
	got, err := w.Invoke(t.Context(), person("alice"), in)
	require.NoError(t, err)
	assert.Empty(t, got.ID)
	assert.Equal(t, t0.Add(time.Hour), got.ExpiresAt)
	in.Profile = "nowhere"
	_, err = w.Invoke(t.Context(), person("alice"), in)
	_ = requireCode(t, breakglass.CodeProfileUnknown, err)
	assert.Empty(t, w.trail(t))
	in = request("prod")
	in.IdempotencyKey = "k"
	real, err := w.Invoke(t.Context(), person("alice"), in)
	require.NoError(t, err)
	assert.False(t, real.Replayed)
}

func TestARateLimitRefusesWithTheTimeToRetry(t *testing.T) {
	w := newWorld(t)
	w.limits = func(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
		return breakglass.LimitDecision{Limit: breakglass.LimitCooldown, Rule: "r", RetryAfter: time.Minute, Message: "wait"}, nil
	}
	_, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	e := requireCode(t, breakglass.CodeRateLimited, err)
	assert.Equal(t, breakglass.LimitCooldown, e.Limit)
	assert.Equal(t, time.Minute, e.RetryAfter)
	assert.Equal(t, []string{"breakglass.denied rate_limited"}, w.types(t))
	assert.Equal(t, "sha", w.trail(t)[0].Detail[breakglass.DetailPolicySHA256], "which policy was in force")
}

func TestEscalationFlagsAlertsAndNeverBlocks(t *testing.T) {
	w := newWorld(t)
	w.limits = func(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
		return breakglass.LimitDecision{Permit: true, Escalate: true, Rule: "r", Count: 3, Threshold: 3}, nil
	}
	got, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	assert.True(t, got.Escalated)
	assert.Equal(t, []string{"breakglass.invoked", "breakglass.escalated"}, w.types(t))
	due, _, err := w.store.DueDeliveries(t.Context(), "secops", t0.Add(time.Hour), 10)
	require.NoError(t, err)
	assert.Len(t, due, 2)
}

func TestABurstOfRefusalsDoesNotFillTheTrailAndIsNotLost(t *testing.T) {
	w := newWorld(t)
	for range 300 {
		_, err := w.Invoke(t.Context(), person("alice"), request("nowhere"))
		_ = requireCode(t, breakglass.CodeProfileUnknown, err)
	}
	assert.Len(t, w.trail(t), 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Run(ctx) // a server that stops writes down what it counted
	entries := w.trail(t)
	require.Len(t, entries, 2)
	assert.Equal(t, "299", entries[1].Detail[breakglass.DetailSuppressed])
}

func TestListShowsOthersEventsToReviewersAndAuditorsAlone(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"alice", "bob"} {
		_, err := w.Invoke(t.Context(), person(name), request("prod"))
		require.NoError(t, err)
	}
	q := breakglass.EventQuery{Limit: 1}
	views, more, err := w.List(t.Context(), person("alice"), q)
	require.NoError(t, err)
	require.Len(t, views, 1)
	assert.Equal(t, "alice", views[0].Invoker)
	assert.False(t, more)
	_, more, err = w.List(t.Context(), person("dash", breakglass.RoleAuditor), q)
	require.NoError(t, err)
	assert.True(t, more)
	q.Invoker = "bob"
	_, _, err = w.List(t.Context(), person("alice"), q)
	_ = requireCode(t, breakglass.CodeForbidden, err)
}

func TestFeedWaitsForWhatIsNew(t *testing.T) {
	w := newWorld(t)
	auditor := person("dash", breakglass.RoleAuditor)
	_, _, err := w.Feed(t.Context(), person("alice"), breakglass.EntryQuery{Limit: 10}, 0)
	_ = requireCode(t, breakglass.CodeForbidden, err)
	_, _, err = w.Feed(t.Context(), auditor, breakglass.EntryQuery{After: 7, Limit: 10}, 0)
	_ = requireCode(t, breakglass.CodeInvalidRequest, err)
	type answer struct {
		entries []breakglass.LogEntry
		next    int64
	}
	got := make(chan answer)
	go func() {
		entries, next, err := w.Feed(t.Context(), auditor, breakglass.EntryQuery{Profile: "prod", Limit: 10}, time.Minute)
		assert.NoError(t, err)
		got <- answer{entries, next}
	}()
	_, err = w.Invoke(t.Context(), person("alice"), request("staging"))
	require.NoError(t, err, "not what the reader waits for")
	_, err = w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	a := <-got
	require.Len(t, a.entries, 1)
	assert.Equal(t, "prod", a.entries[0].Profile)
	entries, next, err := w.Feed(t.Context(), auditor, breakglass.EntryQuery{After: 3, Limit: 10}, 30*time.Millisecond)
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.EqualValues(t, 3, next)
}

func TestCredentialsInALoopAreRefusedBeforeSTSIsAsked(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	issued := 0
	w.issue = func(breakglass.Grant) error { issued++; return nil }
	for range 10 {
		_, err = w.Credentials(t.Context(), person("alice"), ev.ID, "r")
		require.NoError(t, err)
	}
	for range 100 {
		_, err = w.Credentials(t.Context(), person("alice"), ev.ID, "r")
		e := requireCode(t, breakglass.CodeRateLimited, err)
		assert.Equal(t, 30*time.Second, e.RetryAfter)
	}
	assert.Equal(t, 10, issued)
	assert.Len(t, w.trail(t), 12, "one entry for the invocation, ten for keys, one for all refusals")
	w.at(t0.Add(30 * time.Second))
	_, err = w.Credentials(t.Context(), person("alice"), ev.ID, "r")
	require.NoError(t, err)
}

func TestNobodyPutsAnothersNameOnHisRefusal(t *testing.T) {
	w := newWorld(t)
	in := request("prod")
	in.Invoker = "bob"
	_, err := w.Invoke(t.Context(), person("mallory"), in)
	_ = requireCode(t, breakglass.CodeForbidden, err)
	e := w.trail(t)[0]
	assert.Equal(t, "mallory", e.Invoker)
	assert.Equal(t, "bob", e.Detail[breakglass.DetailRequestedInvoker])
}

func TestARefusalSaysWhichEventWasAskedFor(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"00000000000000aa", "00000000000000bb"} {
		_, err := w.Credentials(t.Context(), person("mallory"), id, "r")
		_ = requireCode(t, breakglass.CodeEventNotFound, err)
	}
	entries := w.trail(t)
	require.Len(t, entries, 2, "they are not one and the same")
	assert.Equal(t, "00000000000000bb", entries[1].Detail[breakglass.DetailRequestedEvent])
}

func TestADryRunForAnotherDoesNotTellOfTheirEvents(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	bot := person("bot", breakglass.RoleDelegate)
	in := request("prod")
	in.Invoker, in.DryRun = "alice", true
	_, err = w.Invoke(t.Context(), bot, in)
	active := requireCode(t, breakglass.CodeForbidden, err)
	assert.NotContains(t, active.Message, ev.ID)
	entries := w.trail(t)
	require.Len(t, entries, 2, "the question is on record")
	assert.Equal(t, breakglass.EntryDenied, entries[1].Event)
	assert.Equal(t, "already_active", entries[1].Reason, "the trail knows why")
	assert.Equal(t, "alice", entries[1].Invoker)
	assert.Equal(t, "bot", entries[1].Actor)
	assert.Equal(t, "true", entries[1].Detail[breakglass.DetailDryRun])

	w.limits = func(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
		return breakglass.LimitDecision{Limit: breakglass.LimitCooldown, RetryAfter: time.Minute, Message: "until 03:00", Rule: "r"}, nil
	}
	in.Profile = "staging"
	_, err = w.Invoke(t.Context(), bot, in)
	limited := requireCode(t, breakglass.CodeForbidden, err)
	in.Profile = "prod"
	assert.Equal(t, strings.ReplaceAll(active.Message, "prod", ""), strings.ReplaceAll(limited.Message, "staging", ""), "the two can't be told apart")
	active.Message, limited.Message = "", ""
	assert.Equal(t, active, limited)

	own := request("staging")
	own.DryRun = true
	_, err = w.Invoke(t.Context(), bot, own)
	_ = requireCode(t, breakglass.CodeRateLimited, err)

	in.DryRun = false
	_, err = w.Invoke(t.Context(), bot, in)
	e := requireCode(t, breakglass.CodeAlreadyActive, err)
	assert.Empty(t, e.EventID, "the real call tells no more than looking the event up would")
}

// Whoever may not look an event up doesn't learn its id and end by running into it.
func TestAnActiveEventInTheWayIsNamedToThoseWhoSeeIt(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	bot, chief := person("bot", breakglass.RoleDelegate), person("chief", breakglass.RoleDelegate, breakglass.RoleAuditor)
	in := request("prod")
	in.Invoker = "alice"
	_, err = w.Invoke(t.Context(), bot, in)
	e := requireCode(t, breakglass.CodeAlreadyActive, err)
	assert.Equal(t, breakglass.Error{Code: breakglass.CodeAlreadyActive, Message: "alice already has an active event on prod."}, *e)
	entries := w.trail(t)
	assert.Equal(t, ev.ID, entries[len(entries)-1].EventID, "the trail knows which")
	for _, caller := range []breakglass.Principal{chief, person("alice")} {
		_, err = w.Invoke(t.Context(), caller, in)
		e = requireCode(t, breakglass.CodeAlreadyActive, err)
		assert.Equal(t, ev.ID, e.EventID, caller.Name)
		assert.Equal(t, ev.ExpiresAt, e.ExpiresAt)
	}
	in.Profile = "staging"
	own, err := w.Invoke(t.Context(), bot, in)
	require.NoError(t, err)
	_, err = w.Invoke(t.Context(), bot, in)
	e = requireCode(t, breakglass.CodeAlreadyActive, err)
	assert.Equal(t, own.ID, e.EventID, "it asked for that one itself")
}

func TestADryRunWithAUsedKeyAnswersForANewCall(t *testing.T) {
	w := newWorld(t)
	in := request("prod")
	in.IdempotencyKey = "k"
	_, err := w.Invoke(t.Context(), person("alice"), in)
	require.NoError(t, err)
	in.DryRun = true
	_, err = w.Invoke(t.Context(), person("alice"), in)
	_ = requireCode(t, breakglass.CodeAlreadyActive, err)
}

// A token in other hands must not hide behind the refusals of its owner's login.
func TestARefusalByASecondWayInIsAnEntryOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.policy = func(breakglass.PolicyRequest) breakglass.PolicyDecision {
		return breakglass.PolicyDecision{Condition: breakglass.ConditionNoRule, Message: "No rule."}
	}
	alice := person("alice")
	for _, via := range []breakglass.Via{{Method: breakglass.MethodToken, Source: "laptop"}, {Method: breakglass.MethodOIDC, Source: "https://login.example.com"}} {
		alice.Via = via
		for range 3 {
			_, err := w.Invoke(t.Context(), alice, request("prod"))
			assert.Equal(t, breakglass.CodePolicyDenied, breakglass.AsError(err).Code)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	w.Run(ended) // writes down what was only counted
	trail := w.trail(t)
	require.Len(t, trail, 3)
	assert.Equal(t, "token:laptop", trail[0].Detail[breakglass.DetailAuthenticatedBy])
	assert.Equal(t, "oidc:https://login.example.com", trail[1].Detail[breakglass.DetailAuthenticatedBy])
	assert.Equal(t, "2× policy_denied prod oidc:https://login.example.com; 2× policy_denied prod token:laptop", trail[2].Detail[breakglass.DetailCounts])
}
