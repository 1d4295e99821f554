package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func newRequest(requester, profile string, created time.Time) breakglass.AccessRequest {
	return breakglass.AccessRequest{
		ID: breakglass.NewID(), Requester: requester, Profile: profile, Justification: "the quarterly restore test",
		DurationSeconds: 3600, Status: breakglass.RequestPending, CreatedAt: created, UpdatedAt: created,
		ExpiresAt: created.Add(24 * time.Hour), ApprovalRule: "two-of-five", ApprovalsRequired: 2, CorrelationID: "req-" + breakglass.NewID(),
	}
}

// approvedRequest was approved a minute after it was made.
func approvedRequest(requester, profile string, created time.Time) breakglass.AccessRequest {
	r := newRequest(requester, profile, created)
	now := created.Add(time.Minute)
	r.Approvals = []breakglass.Approval{{By: "carol", At: created.Add(time.Second), Comment: "seen"}, {By: "dave", At: now}}
	r.Status, r.UpdatedAt, r.ApprovedAt, r.ExpiresAt = breakglass.RequestApproved, now, now, now.Add(time.Hour)
	return r
}

// endedRequest was denied, cancelled or expired.
func endedRequest(requester, profile string, created time.Time, as breakglass.RequestStatus) breakglass.AccessRequest {
	r := newRequest(requester, profile, created)
	r.Status, r.UpdatedAt = as, created.Add(2*time.Minute)
	if as != breakglass.RequestExpired {
		r.EndedAt, r.EndedBy, r.EndedReason = r.UpdatedAt, "carol", "not this week"
	}
	return r
}

func pairOf(r breakglass.AccessRequest) breakglass.Pair {
	return breakglass.Pair{Person: r.Requester, Profile: r.Profile}
}

func requestKeys(r breakglass.AccessRequest) breakglass.Keys {
	return breakglass.Keys{Requests: pairOf(r)}
}

// putRequests stores access requests, each in a transaction of its own.
func putRequests(t *testing.T, s Store, requests ...breakglass.AccessRequest) {
	t.Helper()
	for _, r := range requests {
		require.NoError(t, s.Update(t.Context(), requestKeys(r), func(tx breakglass.Tx) error { return tx.PutAccessRequest(r) }))
	}
}

func findOpen(t *testing.T, s Store, p breakglass.Pair) (open breakglass.OpenRequests) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{Requests: p}, func(tx breakglass.Tx) (err error) {
		open, err = tx.FindOpenRequests(p)
		return err
	}))
	return open
}

// change reads a request by its id, changes it and puts it back.
func change(t *testing.T, s Store, id string, f func(r *breakglass.AccessRequest) error) error {
	return s.Update(t.Context(), breakglass.Keys{RequestID: id}, func(tx breakglass.Tx) error {
		r, err := tx.AccessRequest(id)
		if err != nil {
			return err
		}
		if err := f(&r); err != nil {
			return err
		}
		return tx.PutAccessRequest(r)
	})
}

func testRequestRoundTrip(t *testing.T, e Engine) {
	strange := newRequest("bob's \"name\" <b&b>", "prod/db — 東京", at(time.Microsecond))
	strange.Justification = "e\u0301 👩‍🚒 \\ ' \" % _ ; -- </script> \u2028 " + strings.Repeat("🔥", 900)
	strange.Ticket, strange.AutoApproved, strange.Sessions = "CHG-4711", true, 12
	full := approvedRequest("alice", "prod", at(time.Second))
	full.Approvals[0].Comment = "<ok> \u2028 & \" \\ 東京"
	full.Approvals[1].At = at(59*time.Second + time.Microsecond)
	denied := endedRequest("alice", "prod", at(2*time.Second), breakglass.RequestDenied)
	denied.Approvals = full.Approvals
	denied.ApprovedAt = at(time.Minute)
	requests := []breakglass.AccessRequest{strange, full, denied,
		endedRequest("alice", "prod", at(3*time.Second), breakglass.RequestCancelled),
		endedRequest("alice", "prod", at(4*time.Second), breakglass.RequestExpired), newRequest("alice", "prod", at(5*time.Second))}
	putRequests(t, e, requests...)
	for _, want := range requests {
		got, err := e.AccessRequest(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, change(t, e, want.ID, func(r *breakglass.AccessRequest) error {
			got = *r
			return nil
		}))
		require.Equal(t, want, got, "the same in a transaction")
		got, err = e.AccessRequest(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, got, "and put back")
	}
	requests[2].EndedReason = "for another reason"
	putRequests(t, e, requests[2])
	got, err := e.AccessRequest(t.Context(), denied.ID)
	require.NoError(t, err)
	require.Equal(t, requests[2], got, "replaced, although only its pair was named")
	changed := endedRequest(strange.Requester, strange.Profile, at(6*time.Second), breakglass.RequestCancelled)
	changed.ID, changed.Approvals, changed.ApprovedAt = strange.ID, full.Approvals, at(7*time.Second)
	changed.Ticket, changed.DurationSeconds, changed.ApprovalRule, changed.ApprovalsRequired, changed.Sessions = "CHG-1", 7200, "another", 3, 13
	requests[0] = changed
	putRequests(t, e, changed)
	got, err = e.AccessRequest(t.Context(), strange.ID)
	require.NoError(t, err)
	require.Equal(t, changed, got, "every field was replaced")
	settled(t, e, func(c require.TestingT) {
		got, err := e.AccessRequests(t.Context(), breakglass.RequestQuery{Limit: 10, Now: at(0)})
		require.NoError(c, err)
		require.Len(c, got, len(requests))
		for _, want := range requests {
			require.Contains(c, got, want, "the same in a list")
		}
	})
}

func testRequestNotFound(t *testing.T, e Engine) {
	ev := newEvent("alice", "prod", at(0))
	put(t, e, ev)
	for _, id := range []string{breakglass.NewID(), ev.ID} {
		_, err := e.AccessRequest(t.Context(), id)
		require.ErrorIs(t, err, breakglass.ErrNotFound)
		require.ErrorIs(t, change(t, e, id, func(*breakglass.AccessRequest) error { return nil }), breakglass.ErrNotFound)
	}
	require.Zero(t, findOpen(t, e, breakglass.Pair{Person: "alice", Profile: "prod"}))
	r := newRequest("bob", "prod", at(0))
	putRequests(t, e, r)
	_, err := e.Event(t.Context(), r.ID)
	require.ErrorIs(t, err, breakglass.ErrNotFound)
}

func testRequestKeys(t *testing.T, e Engine) {
	mine, other := newRequest("alice", "prod", at(0)), newRequest("bob", "prod", at(0))
	putRequests(t, e, mine, other)
	keys := breakglass.Keys{RequestID: mine.ID, Requests: pairOf(mine), Invoker: "bob", Profile: "prod", EventID: other.ID}
	for name, lookUp := range map[string]func(tx breakglass.Tx) error{
		"request":             func(tx breakglass.Tx) error { _, err := tx.AccessRequest(other.ID); return err },
		"no request":          func(tx breakglass.Tx) error { _, err := tx.AccessRequest(""); return err },
		"open of bob":         func(tx breakglass.Tx) error { _, err := tx.FindOpenRequests(pairOf(other)); return err },
		"open of nobody":      func(tx breakglass.Tx) error { _, err := tx.FindOpenRequests(breakglass.Pair{}); return err },
		"put":                 func(tx breakglass.Tx) error { return tx.PutAccessRequest(other) },
		"put a new one":       func(tx breakglass.Tx) error { return tx.PutAccessRequest(newRequest("alice", "staging", at(0))) },
		"put without an id":   func(tx breakglass.Tx) error { r := mine; r.ID = ""; return tx.PutAccessRequest(r) },
		"an event of that id": func(tx breakglass.Tx) error { _, err := tx.Event(mine.ID); return err },
	} {
		err := e.Update(t.Context(), keys, lookUp)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, breakglass.ErrNotFound, "%s: a look-up outside the keys must not pass for one that found nothing", name)
	}
}

func testFindOpenRequests(t *testing.T, e Engine) {
	alice := breakglass.Pair{Person: "alice", Profile: "prod"}
	pending, approved := newRequest("alice", "prod", at(0)), approvedRequest("alice", "prod", at(-time.Hour))
	putRequests(t, e, endedRequest("alice", "prod", at(time.Hour), breakglass.RequestDenied), approved, pending,
		newRequest("alice", "staging", at(0)), approvedRequest("bob", "prod", at(0)))
	require.Equal(t, breakglass.OpenRequests{Pending: &pending, Approved: &approved}, findOpen(t, e, alice))

	t.Run("what was found is the caller's own", func(t *testing.T) {
		require.ErrorIs(t, e.Update(t.Context(), breakglass.Keys{Requests: alice}, func(tx breakglass.Tx) error {
			open, err := tx.FindOpenRequests(alice)
			if err != nil {
				return err
			}
			open.Approved.Approvals[0].By, open.Approved.Sessions = "mallory", 99
			again, err := tx.FindOpenRequests(alice)
			if err == nil && (again.Approved.Approvals[0].By != "carol" || again.Approved.Sessions != 0) {
				err = errors.New("what one look-up has handed out changed another")
			}
			return errors.Join(err, errRefused)
		}), errRefused)
		require.Equal(t, &approved, findOpen(t, e, alice).Approved)
		given := approved
		given.Approvals = slices.Clone(approved.Approvals)
		require.NoError(t, e.Update(t.Context(), breakglass.Keys{Requests: alice}, func(tx breakglass.Tx) error {
			err := tx.PutAccessRequest(given)
			given.Approvals[0].By = "mallory"
			return err
		}))
		require.Equal(t, &approved, findOpen(t, e, alice).Approved, "and what was put is as it was then")
	})
	t.Run("writes take effect when the function returns", func(t *testing.T) {
		lapsed := approved
		lapsed.Status, lapsed.UpdatedAt = breakglass.RequestExpired, lapsed.ExpiresAt
		became := pending
		became.Status, became.ApprovedAt, became.ExpiresAt = breakglass.RequestApproved, at(time.Hour), at(2*time.Hour)
		next := newRequest("alice", "prod", at(time.Hour))
		require.NoError(t, e.Update(t.Context(), breakglass.Keys{Requests: alice}, func(tx breakglass.Tx) error {
			err := errors.Join(tx.PutAccessRequest(lapsed), tx.PutAccessRequest(became), tx.PutAccessRequest(next))
			seen, err2 := tx.FindOpenRequests(alice)
			if err2 == nil && seen.Pending.ID != pending.ID {
				err2 = errors.New("its own writes are visible")
			}
			return errors.Join(err, err2)
		}))
		require.Equal(t, breakglass.OpenRequests{Pending: &next, Approved: &became}, findOpen(t, e, alice))
	})
	t.Run("one that is named by its id alone leaves, too", func(t *testing.T) {
		for _, r := range []*breakglass.AccessRequest{findOpen(t, e, alice).Pending, findOpen(t, e, alice).Approved} {
			require.NoError(t, change(t, e, r.ID, func(r *breakglass.AccessRequest) error {
				r.Status, r.EndedAt = breakglass.RequestCancelled, at(time.Hour)
				return nil
			}))
		}
		require.Zero(t, findOpen(t, e, alice))
	})
}

// testRequestRefused: the engine itself refuses a second open request, whatever
// the function has looked at.
func testRequestRefused(t *testing.T, e Engine) {
	pending, approved := newRequest("alice", "prod", at(0)), approvedRequest("alice", "prod", at(0))
	putRequests(t, e, pending, approved)
	for _, second := range []breakglass.AccessRequest{newRequest("alice", "prod", at(1)), approvedRequest("alice", "prod", at(1))} {
		require.Error(t, e.Update(t.Context(), requestKeys(second), func(tx breakglass.Tx) error {
			return errors.Join(tx.PutAccessRequest(second),
				tx.Append(newEntry(breakglass.EntryRequestCreated, newEvent("alice", "prod", at(0)), at(0)), nil, nil))
		}))
		_, err := e.AccessRequest(t.Context(), second.ID)
		require.ErrorIs(t, err, breakglass.ErrNotFound)
	}
	require.Error(t, change(t, e, pending.ID, func(r *breakglass.AccessRequest) error {
		r.Status = breakglass.RequestApproved
		return nil
	}), "named by its id alone")
	require.Equal(t, breakglass.OpenRequests{Pending: &pending, Approved: &approved}, findOpen(t, e, pairOf(pending)))
	require.Zero(t, mustHead(t, e))
}

// servers are the engine and a replica of it, where there can be one.
func servers(t *testing.T, e Engine) []Store {
	if e.Replica == nil {
		return []Store{e.Store}
	}
	return []Store{e.Store, e.Replica(t)}
}

// testRequestRace lets all contenders ask, or be approved, at once.
func testRequestRace(t *testing.T, e Engine) {
	servers := servers(t, e)
	for _, made := range []func(string, string, time.Time) breakglass.AccessRequest{newRequest, approvedRequest} {
		granted := 0
		for _, err := range inParallel(contenders, func(i int) error {
			r := made("alice", "prod", at(0))
			return servers[i%len(servers)].Update(t.Context(), requestKeys(r), func(tx breakglass.Tx) error {
				open, err := tx.FindOpenRequests(pairOf(r))
				if err != nil {
					return err
				}
				if open.Pending != nil && r.Status == breakglass.RequestPending || open.Approved != nil && r.Status == breakglass.RequestApproved {
					return errRefused
				}
				return errors.Join(tx.PutAccessRequest(r), tx.Append(requestEntry(breakglass.EntryRequestCreated, r, at(0)), nil, []string{"siem"}))
			})
		}) {
			if err == nil {
				granted++
				continue
			}
			require.ErrorIs(t, err, errRefused, "the loser must be told why, not that something broke")
		}
		require.Equal(t, 1, granted)
	}
	require.EqualValues(t, 2, mustHead(t, e), "one entry for each that was made")
	open := findOpen(t, e, breakglass.Pair{Person: "alice", Profile: "prod"})
	require.NotNil(t, open.Pending)
	require.NotNil(t, open.Approved)
	settled(t, e, func(c require.TestingT) {
		got, err := e.AccessRequests(t.Context(), breakglass.RequestQuery{Requester: "alice", Limit: 10, Now: at(0)})
		require.NoError(c, err)
		require.Len(c, got, 2)
	})
}

func requestEntry(typ breakglass.EntryType, r breakglass.AccessRequest, when time.Time) breakglass.LogEntry {
	return breakglass.LogEntry{Timestamp: when, Event: typ, RequestID: r.CorrelationID, Actor: r.Requester, Invoker: r.Requester,
		Profile: r.Profile, Justification: r.Justification, DurationSeconds: r.DurationSeconds, ExpiresAt: r.ExpiresAt,
		Detail: map[string]string{breakglass.DetailAccessRequestID: r.ID}}
}

// testApprovers has many approve one request that needs two: whoever comes
// first and second counts, and all after that see that it is approved.
func testApprovers(t *testing.T, e Engine) {
	servers := servers(t, e)
	r := newRequest("alice", "prod", at(0))
	putRequests(t, e, r)
	counted := 0
	for _, err := range inParallel(contenders, func(i int) error {
		return servers[i%len(servers)].Update(t.Context(), breakglass.Keys{RequestID: r.ID}, func(tx breakglass.Tx) error {
			now, err := tx.AccessRequest(r.ID)
			if err != nil {
				return err
			}
			if now.Status != breakglass.RequestPending {
				return errRefused
			}
			typ := breakglass.EntryRequestEndorsed
			now.Approvals = append(now.Approvals, breakglass.Approval{By: fmt.Sprintf("approver-%d", i), At: at(time.Minute)})
			if len(now.Approvals) == now.ApprovalsRequired {
				now.Status, now.ApprovedAt, now.ExpiresAt = breakglass.RequestApproved, at(time.Minute), at(time.Hour)
				typ = breakglass.EntryRequestApproved
			}
			return errors.Join(tx.PutAccessRequest(now), tx.Append(requestEntry(typ, now, at(time.Minute)), nil, nil))
		})
	}) {
		if err == nil {
			counted++
			continue
		}
		require.ErrorIs(t, err, errRefused)
	}
	require.Equal(t, 2, counted)
	got, err := e.AccessRequest(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, breakglass.RequestApproved, got.Status)
	require.Len(t, got.Approvals, 2)
	require.NotEqual(t, got.Approvals[0].By, got.Approvals[1].By)
	require.Equal(t, breakglass.OpenRequests{Approved: &got}, findOpen(t, e, pairOf(r)))
	entries := feed(t, e, breakglass.EntryQuery{Limit: 10})
	require.Len(t, entries, 2)
	require.Equal(t, breakglass.EntryRequestApproved, entries[1].Event)
	require.Equal(t, []breakglass.Task{requestTask(got)}, agenda(t, e, 10))
}

// testRequestCount has every caller count on a request that its pair doesn't
// know any more: none may be lost.
func testRequestCount(t *testing.T, e Engine) {
	r := endedRequest("alice", "prod", at(0), breakglass.RequestDenied)
	putRequests(t, e, r)
	servers := servers(t, e)
	for _, err := range inParallel(contenders, func(i int) error {
		return change(t, servers[i%len(servers)], r.ID, func(r *breakglass.AccessRequest) error {
			r.Sessions++
			return nil
		})
	}) {
		require.NoError(t, err)
	}
	got, err := e.AccessRequest(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, contenders, got.Sessions)
}

// testStanding: what Standing returns is what the look-ups of a transaction do.
func testStanding(t *testing.T, e Engine) {
	alice := breakglass.Pair{Person: "alice", Profile: "prod"}
	standing := func(p breakglass.Pair) breakglass.Standing {
		t.Helper()
		s, err := e.Standing(t.Context(), p)
		require.NoError(t, err)
		return s
	}
	require.Zero(t, standing(alice))
	ev, pending, approved := newEvent("alice", "prod", at(0)), newRequest("alice", "prod", at(0)), approvedRequest("alice", "prod", at(0))
	ev.Sessions, ev.Extensions, ev.WarnAt, approved.Sessions = 3, 1, at(50*time.Minute), 4
	// Others around it don't show.
	put(t, e, newEvent("bob", "prod", at(0)), newEvent("alice", "staging", at(0)), closedEvent("alice", "prod", at(time.Hour)))
	putRequests(t, e, newRequest("bob", "prod", at(0)), approvedRequest("alice", "staging", at(0)),
		endedRequest("alice", "prod", at(time.Hour), breakglass.RequestCancelled))
	require.Zero(t, standing(alice))
	putRequests(t, e, pending)
	require.Equal(t, breakglass.Standing{Pending: &pending}, standing(alice))
	put(t, e, ev)
	record(t, e, newEntry(breakglass.EntryInvoked, ev, at(time.Hour)), nil)
	record(t, e, newEntry(breakglass.EntryDenied, ev, at(time.Minute)), nil)
	require.Equal(t, breakglass.Standing{Event: &ev, Pending: &pending, LatestEntry: at(time.Hour)}, standing(alice))
	putRequests(t, e, approved)
	require.Equal(t, breakglass.Standing{Event: &ev, Pending: &pending, Approved: &approved, LatestEntry: at(time.Hour)}, standing(alice))

	ev.Status, pending.Status = breakglass.StatusClosed, breakglass.RequestDenied
	put(t, e, ev)
	putRequests(t, e, pending)
	require.Equal(t, breakglass.Standing{Approved: &approved, LatestEntry: at(time.Hour)}, standing(alice), "seen at once")
	require.NoError(t, change(t, e, approved.ID, func(r *breakglass.AccessRequest) error {
		r.Status = breakglass.RequestDenied // withdrawn
		return nil
	}))
	require.Equal(t, breakglass.Standing{LatestEntry: at(time.Hour)}, standing(alice))
}
