package dynamodb

import (
	"context"

	"breakglass/internal/breakglass"
)

// Event implements breakglass.Store.
func (s *Store) Event(ctx context.Context, id string) (breakglass.Event, error) {
	if err := ctx.Err(); err != nil {
		return breakglass.Event{}, err
	}
	it, err := s.get(ctx, eventKey(id))
	if err != nil {
		return breakglass.Event{}, unavailable(err)
	}
	if it == nil {
		return breakglass.Event{}, breakglass.ErrNotFound
	}
	return decodeEvent(it)
}

func unavailableOrNil(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}

var listedEvents = listed[breakglass.Event]{
	decode: decodeEvent,
	place:  placeOf,
	states: []string{string(breakglass.StatusActive), string(breakglass.StatusClosed), string(breakglass.StatusExpired)},
	open:   []string{string(breakglass.StatusActive)},
	lapsed: string(breakglass.StatusExpired),
}

func placeOf(e breakglass.Event) breakglass.Position {
	return breakglass.Position{CreatedAt: e.CreatedAt, ID: e.ID}
}

// Events implements breakglass.Store. It asks the indexes, which lag a little
// behind.
func (s *Store) Events(ctx context.Context, q breakglass.EventQuery) ([]breakglass.Event, error) {
	return listAll(ctx, s, listedEvents, selection{person: q.Invoker, profile: q.Profile, status: string(q.Status), reason: string(q.ReasonCode),
		since: q.Since, until: q.Until, before: q.Before, limit: q.Limit, now: q.Now})
}
