package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"breakglass/internal/breakglass"
)

// recentEvents is how many events are held against the trail at start.
const recentEvents = 100

const (
	// maxTrailEntries bounds how much of the trail is read for that, per type.
	maxTrailEntries = 20_000
	// trailTimeout bounds how long a start waits for it.
	trailTimeout = 5 * time.Second
	// trailAgain is how long after a first look a second one follows.
	trailAgain = 500 * time.Millisecond
)

// trailFault is an event that the audit trail doesn't explain.
type trailFault struct{ eventID, problem string }

// compareTrail holds the newest events against the audit trail. The chain of
// hashes shows that no entry was changed; this shows that no event was: whoever
// can write to the database could make, prolong or revive one without an entry.
func compareTrail(ctx context.Context, store breakglass.Store, journal breakglass.Journal, now time.Time) ([]trailFault, error) {
	events, err := store.Events(ctx, breakglass.EventQuery{Limit: recentEvents, Now: now})
	if err != nil || len(events) == 0 {
		return nil, err
	}
	since := events[0].CreatedAt
	for _, ev := range events {
		for _, t := range []time.Time{ev.CreatedAt, ev.UpdatedAt} {
			if t.Before(since) {
				since = t
			}
		}
	}
	entries := map[breakglass.EntryType]map[string]breakglass.LogEntry{}
	for _, typ := range []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryClosed, breakglass.EntryExpired} {
		if entries[typ], err = entriesSince(ctx, journal, typ, since); err != nil {
			return nil, err
		}
	}
	var faults []trailFault
	for _, ev := range events {
		if problem := unexplained(ev, entries); problem != "" {
			faults = append(faults, trailFault{ev.ID, problem})
		}
	}
	return faults, nil
}

// confirmTrail compares again until what it finds is the same twice. Other
// servers may be at work on the same store, and its listings may lag behind.
func confirmTrail(ctx context.Context, store breakglass.Store, journal breakglass.Journal, now func() time.Time) ([]trailFault, error) {
	last, err := compareTrail(ctx, store, journal, now())
	for err == nil && len(last) > 0 {
		select {
		case <-time.After(trailAgain):
		case <-ctx.Done():
			return last, nil
		}
		var again []trailFault
		if again, err = compareTrail(ctx, store, journal, now()); slices.Equal(last, again) {
			return again, err
		}
		last = again
	}
	return last, err
}

// entriesSince returns the entries of a type by event.
func entriesSince(ctx context.Context, journal breakglass.Journal, typ breakglass.EntryType, since time.Time) (map[string]breakglass.LogEntry, error) {
	head, err := journal.Head(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]breakglass.LogEntry{}
	q := breakglass.EntryQuery{Event: typ, Since: since, Limit: 1000}
	for q.After < head { // a page may end before the trail does, however little it holds
		entries, through, err := journal.Entries(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			found[e.EventID] = e
		}
		if len(found) > maxTrailEntries {
			return nil, fmt.Errorf("more than %d entries of type %s since %s", maxTrailEntries, typ, since.Format(time.RFC3339))
		}
		q.After = through
	}
	return found, nil
}

// unexplained says what is in the event and not in the trail, or "".
func unexplained(ev breakglass.Event, entries map[breakglass.EntryType]map[string]breakglass.LogEntry) string {
	invoked, ok := entries[breakglass.EntryInvoked][ev.ID]
	_, closed := entries[breakglass.EntryClosed][ev.ID]
	_, expired := entries[breakglass.EntryExpired][ev.ID]
	switch {
	case !ok:
		return "has no entry breakglass.invoked"
	case invoked.Invoker != ev.Invoker, invoked.Profile != ev.Profile:
		return "has another invoker or profile than its entry breakglass.invoked"
	case !invoked.ExpiresAt.Equal(ev.ExpiresAt):
		return "has another end than its entry breakglass.invoked"
	case ev.Status == breakglass.StatusClosed && !closed:
		return "is closed without an entry breakglass.closed"
	case ev.Status == breakglass.StatusExpired && !expired:
		return "is expired without an entry breakglass.expired"
	case ev.Status == breakglass.StatusActive && (closed || expired):
		return "is active although the trail says that it ended"
	}
	return ""
}

// maxFaultsLogged bounds the lines about unexplained events.
const maxFaultsLogged = 10

// checkTrail compares once, at start, and makes what it finds visible. A
// server with such events works on: refusing would be a way to stop it.
func (a *App) checkTrail(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trailTimeout)
	defer cancel()
	faults, err := confirmTrail(ctx, a.store, a.store, a.opts.Now)
	if err != nil {
		return fmt.Errorf("compare the newest events with the audit trail: %w", err)
	}
	a.unexplained = len(faults)
	a.metrics.unexplained.Set(float64(len(faults)))
	for _, f := range faults[:min(len(faults), maxFaultsLogged)] {
		a.opts.Log.Error("an event is not what the audit trail says: the database was changed by something else than this server",
			"event_id", f.eventID, "problem", f.problem, "events", len(faults))
	}
	return nil
}
