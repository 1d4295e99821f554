package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// trailEntries are entries by type and event.
type trailEntries map[breakglass.EntryType]map[string]breakglass.LogEntry

// trailReader finds the entries of events.
type trailReader struct {
	store   breakglass.Store
	journal breakglass.Journal
	since   time.Time // entries holds everything from then on
	entries trailEntries
}

// read gets the entries since the oldest of the events began that are among the
// newest, or that can give access at now. When the others began is their own
// claim: one that says 1970 would have the whole trail read.
func (t *trailReader) read(ctx context.Context, events []breakglass.Event, now time.Time) (err error) {
	t.since = now.Add(-breakglass.MaxDuration)
	for _, ev := range events[:min(len(events), recentEvents)] {
		if ev.CreatedAt.Before(t.since) {
			t.since = ev.CreatedAt
		}
	}
	t.since = t.since.Add(-clocksDiffer)
	t.entries, err = entriesSince(ctx, t.journal, t.since)
	return err
}

// problem says what is in the event and not in the trail, or "".
func (t *trailReader) problem(ctx context.Context, ev breakglass.Event) (string, error) {
	if !ev.CreatedAt.Add(-clocksDiffer).Before(t.since) {
		return unexplained(ev, t.entries), nil
	}
	// An active event from before: it must have begun when it says.
	near, err := entriesNear(ctx, t.journal, ev.CreatedAt)
	if err != nil {
		return "", err
	}
	return unexplained(ev, trailEntries{
		breakglass.EntryInvoked:  near[breakglass.EntryInvoked],
		breakglass.EntryExtended: t.entries[breakglass.EntryExtended],
		breakglass.EntryClosed:   t.entries[breakglass.EntryClosed],
		breakglass.EntryExpired:  t.entries[breakglass.EntryExpired],
	}), nil
}

// confirm compares again what the store says for certain. An event and its
// entry are written together: when the event is the same before and after the
// entries were read, they belong to it.
func (t *trailReader) confirm(ctx context.Context, id string) (string, error) {
	before, err := t.store.Event(ctx, id)
	for look := 1; ; look++ { // a server changes an event only a few times
		if errors.Is(err, breakglass.ErrNotFound) {
			return "", nil // the listing was behind
		}
		if err != nil {
			return "", err
		}
		if t.entries, err = entriesSince(ctx, t.journal, t.since); err != nil {
			return "", err
		}
		var problem string
		problem, err = t.problem(ctx, before)
		if problem == "" || err != nil {
			return "", err
		}
		var after breakglass.Event
		after, err = t.store.Event(ctx, id)
		if err == nil && after == before || look == looksAtMost {
			return problem, err
		}
		before = after
	}
}

// entriesSince returns the entries that begin, prolong and end events.
func entriesSince(ctx context.Context, journal breakglass.Journal, since time.Time) (trailEntries, error) {
	head, err := journal.Head(ctx)
	if err != nil {
		return nil, err
	}
	found := trailEntries{}
	for _, typ := range []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryExtended, breakglass.EntryClosed, breakglass.EntryExpired} {
		of := map[string]breakglass.LogEntry{}
		found[typ] = of
		q := breakglass.EntryQuery{Event: typ, Since: since, Limit: 1000}
		for q.After < head { // a page may end before the trail does, however little it holds
			entries, through, err := journal.Entries(ctx, q)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				of[e.EventID] = e
			}
			if len(of) > maxTrailEntries {
				return nil, fmt.Errorf("more than %d entries of type %s since %s", maxTrailEntries, typ, since.Format(time.RFC3339))
			}
			q.After = through
		}
	}
	return found, nil
}

// entriesNear returns the entries of about an instant.
func entriesNear(ctx context.Context, journal breakglass.Journal, at time.Time) (trailEntries, error) {
	head, err := journal.Head(ctx)
	if err != nil {
		return nil, err
	}
	found := trailEntries{}
	q := breakglass.EntryQuery{Since: at.Add(-clocksDiffer), Limit: 1000}
	for seen := 0; q.After < head; {
		entries, through, err := journal.Entries(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if found[e.Event] == nil {
				found[e.Event] = map[string]breakglass.LogEntry{}
			}
			found[e.Event][e.EventID] = e
			if e.Timestamp.After(at.Add(2 * clocksDiffer)) { // so much later that nothing of then follows
				return found, nil
			}
		}
		if seen += len(entries); seen > maxTrailEntries {
			return nil, fmt.Errorf("more than %d entries about %s", maxTrailEntries, at.Format(time.RFC3339))
		}
		q.After = through
	}
	return found, nil
}
