package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"breakglass/internal/breakglass"
)

// maxApprovedCompared bounds how many approved access requests are held against
// the trail at start.
const maxApprovedCompared = 200

// compareApproved holds the access requests that give access now against the
// audit trail, for the same reason as compareTrail: whoever can write to the
// database could approve one without an entry.
func compareApproved(ctx context.Context, store breakglass.Store, journal breakglass.Journal, now time.Time) ([]trailFault, error) {
	approved, err := approvedRequests(ctx, store, now)
	var faults []trailFault
	for _, r := range approved {
		problem, failed := unapproved(ctx, journal, r)
		if failed == nil && problem != "" {
			// Other servers may be at work: only what is the same before and after counts.
			var again breakglass.AccessRequest
			if again, failed = store.AccessRequest(ctx, r.ID); failed == nil && (again.Status != r.Status || !again.ExpiresAt.Equal(r.ExpiresAt)) {
				problem = ""
			}
		}
		if failed != nil {
			return faults, errors.Join(err, failed)
		}
		if problem != "" {
			faults = append(faults, trailFault{r.ID, problem})
		}
	}
	return faults, err
}

// approvedRequests are those that an index lists, and those on the agenda, which
// no index stands for.
func approvedRequests(ctx context.Context, store breakglass.Store, now time.Time) ([]breakglass.AccessRequest, error) {
	found, err := store.AccessRequests(ctx, breakglass.RequestQuery{Status: breakglass.RequestApproved, Limit: maxApprovedCompared, Now: now})
	tasks, failed := store.Agenda(ctx, maxActiveCompared)
	err = errors.Join(err, failed)
	for _, t := range tasks {
		known := slices.ContainsFunc(found, func(r breakglass.AccessRequest) bool { return r.ID == t.RequestID })
		if t.RequestID == "" || known || len(found) >= maxApprovedCompared {
			continue
		}
		r, failed := store.AccessRequest(ctx, t.RequestID)
		if err = errors.Join(err, failed); failed == nil && r.StatusAt(now) == breakglass.RequestApproved {
			found = append(found, r)
		}
	}
	return found, err
}

// unapproved says what is in an approved request and not in the trail, or "".
func unapproved(ctx context.Context, journal breakglass.Journal, r breakglass.AccessRequest) (string, error) {
	head, err := journal.Head(ctx)
	if err != nil {
		return "", err
	}
	problem := "is approved without an entry request.approved"
	q := breakglass.EntryQuery{Invoker: r.Requester, Profile: r.Profile, Since: r.ApprovedAt.Add(-clocksDiffer), Limit: 1000}
	for q.After < head {
		entries, through, err := journal.Entries(ctx, q)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if e.Detail[breakglass.DetailAccessRequestID] != r.ID || e.Reason != "" {
				continue
			}
			switch e.Event {
			case breakglass.EntryRequestApproved:
				if problem = ""; !e.ExpiresAt.Equal(r.ExpiresAt) {
					problem = "has another end than its entry request.approved"
				}
			case breakglass.EntryRequestDenied, breakglass.EntryRequestCancelled, breakglass.EntryRequestExpired:
				return "is approved although the trail says that it ended", nil
			}
		}
		q.After = through
	}
	return problem, nil
}
