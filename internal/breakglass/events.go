package breakglass

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// notFound is the answer for an event that isn't there and for one that the
// caller may not know of: the two must not be told apart.
func notFound() *Error {
	return &Error{Code: CodeEventNotFound,
		Message: "There is no such event, or it is not yours. `bgctl list` shows the events that you can see."}
}

// visible turns the store's answer into the event, or into not found.
func visible(caller Principal, ev Event, err error) (Event, error) {
	if errors.Is(err, ErrNotFound) || err == nil && !sees(caller, ev) {
		return Event{}, notFound()
	}
	return ev, err
}

// Check returns one event with every detail.
func (s *Service) Check(ctx context.Context, caller Principal, id string) (View, error) {
	ev, err := s.event(ctx, caller, id)
	if err != nil {
		e := AsError(err)
		s.recordCall(ctx, "check", caller, askedFor(caller, id, originOf(ctx).RequestID), e)
		return View{}, e
	}
	return ev.At(s.now()), nil
}

func (s *Service) event(ctx context.Context, caller Principal, id string) (Event, error) {
	if !IsID(id) {
		return Event{}, notFound()
	}
	ev, err := s.cfg.Store.Event(ctx, id)
	return visible(caller, ev, err)
}

// List returns events, newest first, and whether there are more. A caller who
// is neither reviewer nor auditor sees the events invoked for them alone.
func (s *Service) List(ctx context.Context, caller Principal, q EventQuery) ([]View, bool, error) {
	if refusal := May(caller, CallList, TargetForeign); refusal != nil {
		if q.Invoker != "" && q.Invoker != caller.Name {
			entry := LogEntry{RequestID: originOf(ctx).RequestID, Invoker: caller.Name}
			if CheckName(q.Invoker) == "" {
				entry.put(DetailRequestedInvoker, q.Invoker)
			}
			s.recordCall(ctx, "list", caller, entry, refusal)
			return nil, false, refusal
		}
		q.Invoker = caller.Name
	}
	q.Now = s.now()
	wanted := q.Limit
	q.Limit++ // one more tells whether there is a next page
	events, err := s.cfg.Store.Events(ctx, q)
	if err != nil {
		return nil, false, AsError(err)
	}
	more := len(events) > wanted
	if more {
		events = events[:wanted]
	}
	views := make([]View, len(events))
	for i, ev := range events {
		views[i] = ev.At(q.Now)
	}
	return views, more, nil
}

// Close ends an event early. Its invoker, the delegate who asked for it and
// reviewers may close it, once. Refusals are recorded.
func (s *Service) Close(ctx context.Context, caller Principal, id, reason, requestID string) (View, error) {
	out, err := s.close(ctx, caller, id, reason, requestID)
	if err != nil {
		e := AsError(err)
		s.recordCall(ctx, "close", caller, askedFor(caller, id, requestID), e)
		return View{}, e
	}
	return out, nil
}

func (s *Service) close(ctx context.Context, caller Principal, id, reason, requestID string) (View, error) {
	if problem := CheckClosedReason(reason); problem != "" {
		return View{}, InvalidRequest([]FieldError{{Field: "reason", Message: problem}})
	}
	if !IsID(id) {
		return View{}, notFound()
	}
	var out View
	err := s.cfg.Store.Update(ctx, Keys{EventID: id}, func(tx Tx) error {
		ev, err := tx.Event(id)
		if ev, err = visible(caller, ev, err); err != nil {
			return err
		}
		if refusal := May(caller, CallClose, targetOf(caller, ev)); refusal != nil {
			return refusal
		}
		// Closing takes access away, so it works under a clock that is behind.
		now := s.now()
		if !ev.StatusAt(now).CanTransitionTo(StatusClosed) {
			return ended(ev.At(now))
		}
		ev = ev.closed(now, caller.Name, strings.TrimSpace(reason))
		if err := tx.PutEvent(ev); err != nil {
			return err
		}
		out = ev.At(now)
		entry := entryFor(EntryClosed, caller.Name, now, ev)
		entry.Detail = withCaller(caller, fromWhere(ctx, callDetail(ev.RequestID, requestID)))
		return s.record(tx, entry, &ev)
	})
	return out, err
}

// ended says that an event is over.
func ended(v View) *Error {
	words := fmt.Sprintf("Event %s expired at %s.", v.ID, v.ExpiresAt.Format(time.RFC3339))
	if v.Status == StatusClosed {
		words = fmt.Sprintf("Event %s was closed by %s at %s.", v.ID, v.ClosedBy, v.ClosedAt.Format(time.RFC3339))
	}
	return &Error{Code: CodeInvalidTransition, EventID: v.ID, Message: words + " If access is still needed, invoke again."}
}

// callDetail keeps the id of this call beside the correlation id of what it is about.
func callDetail(correlation, callID string) map[string]string {
	if callID == "" || callID == correlation {
		return nil
	}
	return map[string]string{DetailCallRequestID: callID}
}

// Feed reads the audit trail. With wait it blocks until there is something
// new, or wait has passed. next is where to continue.
func (s *Service) Feed(ctx context.Context, caller Principal, q EntryQuery, wait time.Duration) (entries []LogEntry, next int64, err error) {
	if refusal := May(caller, CallFeed, TargetServer); refusal != nil {
		s.recordCall(ctx, "feed", caller, LogEntry{RequestID: originOf(ctx).RequestID, Invoker: caller.Name}, refusal)
		return nil, 0, refusal
	}
	head, err := s.cfg.Journal.Head(ctx)
	if err != nil {
		return nil, 0, AsError(err)
	}
	if q.After > head {
		return nil, 0, InvalidRequest([]FieldError{{Field: "after", Message: fmt.Sprintf(
			"is beyond the end of the audit trail (%d); if the server was restored from a backup, read it again from 0", head)}})
	}
	waiting := ctx
	if wait > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	for next = q.After; ; q.After = next {
		if head > q.After {
			if entries, next, err = s.cfg.Journal.Entries(ctx, q); err != nil {
				return nil, 0, AsError(err)
			}
		}
		if len(entries) > 0 || wait <= 0 || s.cfg.Journal.Wait(waiting, next) != nil {
			return entries, next, nil
		}
		head = next + 1
	}
}
