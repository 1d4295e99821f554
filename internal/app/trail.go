package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// recentEvents is how many events are held against the trail at start.
const recentEvents = 100

const (
	// maxTrailEntries bounds how much of the trail is read for that, per type.
	maxTrailEntries = 20_000
	// maxActiveCompared bounds how many active events are held against it beside
	// the newest.
	maxActiveCompared = 1000
	// trailTimeout bounds how long a start waits for it.
	trailTimeout = 5 * time.Second
	// looksAtMost bounds how often an event is read that changes meanwhile.
	looksAtMost = 5
	// clocksDiffer is by how much the clocks of servers may.
	clocksDiffer = time.Minute
)

// trailFault is an event or access request that the audit trail doesn't explain.
type trailFault struct{ id, problem string }

// compareTrail holds the newest events and those that are active against the
// audit trail. The chain of hashes shows that no entry was changed; this shows
// that no event was: whoever can write to the database could make, prolong or
// revive one without an entry.
//
// Listings may lag behind the trail, and other servers may be at work, so
// whatever looks wrong is read again before it is reported. What was found
// before an error is returned with it.
func compareTrail(ctx context.Context, store breakglass.Store, journal breakglass.Journal, now time.Time) ([]trailFault, error) {
	events, unlisted := suspects(ctx, store, now)
	if len(events) == 0 {
		return nil, unlisted
	}
	t := trailReader{store: store, journal: journal}
	if err := t.read(ctx, events, now); err != nil {
		return nil, err
	}
	var faults []trailFault
	for _, ev := range events {
		problem, err := t.problem(ctx, ev)
		if err == nil && problem != "" {
			problem, err = t.confirm(ctx, ev.ID)
		}
		if err != nil {
			return faults, err
		}
		if problem != "" {
			faults = append(faults, trailFault{ev.ID, problem})
		}
	}
	return faults, unlisted
}

// suspects are the events to look at, each once: the newest, and beside them
// all that give access or may be taken for active, however old they claim to be.
func suspects(ctx context.Context, store breakglass.Store, now time.Time) (events []breakglass.Event, err error) {
	seen := map[string]bool{}
	add := func(list []breakglass.Event, failed error) {
		err = errors.Join(err, failed)
		for _, ev := range list {
			if !seen[ev.ID] {
				seen[ev.ID] = true
				events = append(events, ev)
			}
		}
	}
	add(store.Events(ctx, breakglass.EventQuery{Limit: recentEvents, Now: now}))
	add(store.Events(ctx, breakglass.EventQuery{Status: breakglass.StatusActive, Limit: maxActiveCompared, Now: now}))
	tasks, failed := store.Agenda(ctx, maxActiveCompared)
	add(nil, failed)
	for _, t := range tasks {
		if t.EventID != "" && !seen[t.EventID] { // it has lapsed, and nothing has written that down
			ev, failed := store.Event(ctx, t.EventID)
			add([]breakglass.Event{ev}, failed)
		}
	}
	return events, err
}

// unexplained says what is in the event and not in the trail, or "".
func unexplained(ev breakglass.Event, entries trailEntries) string {
	invoked, ok := entries[breakglass.EntryInvoked][ev.ID]
	_, closed := entries[breakglass.EntryClosed][ev.ID]
	_, expired := entries[breakglass.EntryExpired][ev.ID]
	end := invoked.ExpiresAt
	if extended, ok := entries[breakglass.EntryExtended][ev.ID]; ok {
		end = extended.ExpiresAt
	}
	switch {
	case !ok:
		return "has no entry breakglass.invoked"
	case invoked.Invoker != ev.Invoker, invoked.Profile != ev.Profile:
		return "has another invoker or profile than its entry breakglass.invoked"
	case !end.Equal(ev.ExpiresAt):
		return "has another end than its entries breakglass.invoked and breakglass.extended"
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
	faults, err := compareTrail(ctx, a.store, a.store, a.opts.Now())
	requests, failed := compareApproved(ctx, a.store, a.store, a.opts.Now())
	faults, err = append(faults, requests...), errors.Join(err, failed)
	a.unexplained = len(faults)
	a.metrics.unexplained.Set(float64(len(faults)))
	for _, f := range faults[:min(len(faults), maxFaultsLogged)] {
		a.opts.Log.Error("an event or access request is not what the audit trail says: the database was changed by something else than this server",
			"id", f.id, "problem", f.problem, "of", len(faults))
	}
	if err != nil {
		return fmt.Errorf("compare the newest events with the audit trail: %w", err)
	}
	return nil
}
