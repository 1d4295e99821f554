package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/ratelimit"
	"breakglass/internal/store/transfer"
)

// FillForTransfer writes one of everything that an export carries, the way the
// service does.
func FillForTransfer(t *testing.T, s Store) {
	t.Helper()
	// More than a history holds before its older half moves to a page.
	for _, err := range inParallel(135, func(i int) error {
		ev := closedEvent("carol", fmt.Sprintf("profile-%d", i%3), at(time.Duration(i)*time.Minute))
		return s.Update(t.Context(), pairKeys(ev), func(tx breakglass.Tx) error {
			return errors.Join(tx.PutEvent(ev), tx.Append(newEntry(breakglass.EntryInvoked, ev, ev.CreatedAt), &ev, nil),
				tx.Append(newEntry(breakglass.EntryClosed, ev, ev.CreatedAt), &ev, nil))
		})
	}) {
		require.NoError(t, err)
	}
	first, lapsed := newEvent("alice", "prod", at(3*time.Hour)), newEvent("dora", "staging", at(-2*time.Hour)) // the clock was set back
	first.Justification, first.Ticket, first.Escalated = "é <b> & \u2028 \" \\ 東京 — down for good", "INC-4711", true
	idem := breakglass.Idempotent{Caller: "alice", Key: `key "1" <&> — ü`, Fingerprint: "f", EventID: first.ID, CreatedAt: first.CreatedAt}
	keys := breakglass.Keys{Invoker: "alice", Profile: "prod", Caller: idem.Caller, Idempotency: idem.Key}
	require.NoError(t, s.Update(t.Context(), keys, func(tx breakglass.Tx) error {
		return errors.Join(tx.PutEvent(first), tx.PutIdempotent(idem),
			tx.Append(newEntry(breakglass.EntryInvoked, first, first.CreatedAt), &first, []string{"siem", "a-sink", "secops"}),
			tx.Append(newEntry(breakglass.EntryEscalated, first, first.CreatedAt), &first, []string{"siem"}))
	}))
	require.NoError(t, invoke(t, s, lapsed, ratelimit.None{}))
	idem.Key, idem.EventID = "another", lapsed.ID
	putIdempotent(t, s, idem)
	putFactor(t, s, newFactor("zoë # %"))
	putFactor(t, s, breakglass.Factor{Name: "bob", CreatedAt: at(0)})
	putFactor(t, s, newFactor("gone"))
	require.NoError(t, s.Update(t.Context(), factorKeys("gone"), func(tx breakglass.Tx) error { return tx.DeleteFactor("gone") }))
	bobs := newEvent("bob", "prod", at(4*time.Hour))
	require.NoError(t, invoke(t, s, bobs, ratelimit.None{}))
	ended := bobs
	ended.Status, ended.ClosedAt, ended.ClosedBy, ended.ClosedReason = breakglass.StatusClosed, at(5*time.Hour), "sam", "it is over"
	ended.UpdatedAt = ended.ClosedAt
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{EventID: bobs.ID}, func(tx breakglass.Tx) error {
		return errors.Join(tx.PutEvent(ended), tx.Append(newEntry(breakglass.EntryClosed, ended, ended.ClosedAt), &ended, []string{"siem"}))
	}))
	extend(t, s, first.ID)
	fillRequests(t, s)
	refusal := breakglass.LogEntry{Timestamp: at(90 * time.Minute), Event: breakglass.EntryDenied, Actor: "mallory", Reason: "policy_denied",
		Detail: map[string]string{breakglass.DetailMessage: "<no> \u2028", breakglass.DetailCondition: "time"}}
	record(t, s, refusal, nil, "siem") // the newest entry is not the latest

	seq := int64(2*135 + 1) // first's invocation
	require.NoError(t, settle(t, s, seq, "a-sink", breakglass.DeliveryOutcome{Delivered: true}))
	require.NoError(t, settle(t, s, seq, "siem", breakglass.DeliveryOutcome{Dead: true, Attempts: 10, NextAttempt: at(3 * time.Hour), LastError: "410 Gone"}))
	require.NoError(t, settle(t, s, seq, "secops", breakglass.DeliveryOutcome{Attempts: 2, NextAttempt: at(6*time.Hour + time.Microsecond), LastError: "503"}))
}

// extend gives an event an hour more, and notes its use.
func extend(t *testing.T, s Store, id string) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{EventID: id}, func(tx breakglass.Tx) error {
		ev, err := tx.Event(id)
		if err != nil {
			return err
		}
		ev.ExpiresAt, ev.Extensions, ev.Sessions = ev.ExpiresAt.Add(time.Hour), 1, 3
		ev.WarnAt = ev.ExpiresAt.Add(-10 * time.Minute)
		return errors.Join(tx.PutEvent(ev), tx.Append(newEntry(breakglass.EntryExtended, ev, at(4*time.Hour)), &ev, nil))
	}))
}

// fillRequests writes an access request in each state, and one that has lapsed,
// with the entries that tell of it.
func fillRequests(t *testing.T, s Store) {
	t.Helper()
	created, endorsed, approved := breakglass.EntryRequestCreated, breakglass.EntryRequestEndorsed, breakglass.EntryRequestApproved
	withdrawn := endedRequest("bob", "prod", at(4*time.Hour), breakglass.RequestDenied)
	withdrawn.ApprovedAt, withdrawn.Approvals = at(4*time.Hour), approvedRequest("bob", "prod", at(4*time.Hour)).Approvals
	for _, c := range []struct {
		r    breakglass.AccessRequest
		told []breakglass.EntryType
	}{
		{newRequest("alice", "prod", at(4*time.Hour)), []breakglass.EntryType{created}},
		{approvedRequest("alice", "prod", at(4*time.Hour)), []breakglass.EntryType{created, endorsed, approved}},
		{withdrawn, []breakglass.EntryType{created, endorsed, approved, breakglass.EntryRequestDenied}},
		{endedRequest("bob", "prod", at(4*time.Hour), breakglass.RequestCancelled), []breakglass.EntryType{created, breakglass.EntryRequestCancelled}},
		{newRequest("carol", "profile-0", at(-48*time.Hour)), []breakglass.EntryType{created}},
		{endedRequest("dora", "staging", at(4*time.Hour), breakglass.RequestExpired), []breakglass.EntryType{created, breakglass.EntryRequestExpired}},
	} {
		require.NoError(t, s.Update(t.Context(), requestKeys(c.r), func(tx breakglass.Tx) error {
			errs := []error{tx.PutAccessRequest(c.r)}
			for i, typ := range c.told {
				var sinks []string
				if i == 0 && c.r.Status == breakglass.RequestApproved {
					sinks = []string{"siem"}
				}
				entry := requestEntry(typ, c.r, at(4*time.Hour))
				if typ == endorsed || typ == approved {
					given := c.r.Approvals[i-1]
					entry.Actor, entry.Timestamp = given.By, given.At
				}
				errs = append(errs, tx.Append(entry, nil, sinks))
			}
			return errors.Join(errs...)
		}))
	}
}

// observed is what a store shows of itself.
type observed struct {
	Trail           []breakglass.LogEntry
	Latest          time.Time
	Events          []breakglass.Event
	Agenda          []breakglass.Task
	Active, Last    map[string]*breakglass.Event
	Users, Profiles map[string][]breakglass.Tally
	Due             map[string][]breakglass.Delivery
	Next            map[string]time.Time
	Counts          map[string]breakglass.DeliveryCount
	Idempotent      []*breakglass.Idempotent
	Factors         []*breakglass.Factor
	Requests        []breakglass.AccessRequest
	Open            []breakglass.OpenRequests
	Standing        []breakglass.Standing
}

func observe(t *testing.T, s Store) observed {
	t.Helper()
	o := observed{Trail: feed(t, s, breakglass.EntryQuery{Limit: 100}), Active: map[string]*breakglass.Event{}, Last: map[string]*breakglass.Event{},
		Users: map[string][]breakglass.Tally{}, Profiles: map[string][]breakglass.Tally{},
		Due: map[string][]breakglass.Delivery{}, Next: map[string]time.Time{}}
	var err error
	o.Latest, err = s.LatestEntryTime(t.Context())
	require.NoError(t, err)
	o.Agenda, err = s.Agenda(t.Context(), 100)
	require.NoError(t, err)
	o.Counts, err = s.DeliveryCounts(t.Context())
	require.NoError(t, err)
	for _, pair := range [][2]string{{"alice", "prod"}, {"bob", "prod"}, {"carol", "profile-0"}, {"dora", "staging"}, {"alice", "staging"}} {
		name := pair[0] + " " + pair[1]
		person := breakglass.Pair{Person: pair[0], Profile: pair[1]}
		standing, err := s.Standing(t.Context(), person)
		require.NoError(t, err)
		o.Open, o.Standing = append(o.Open, findOpen(t, s, person)), append(o.Standing, standing)
		o.Active[name], o.Last[name] = findActive(t, s, pair[0], pair[1]), findLast(t, s, pair[0], pair[1])
		for _, since := range []time.Duration{-3 * time.Hour, 0, 30 * time.Minute, 134 * time.Minute, 10 * time.Hour} {
			look(t, s, pair[0], pair[1], func(tx breakglass.Tx) error {
				u, err1 := tx.CountByInvokerSince(pair[0], at(since), 100)
				p, err2 := tx.CountByProfileSince(pair[1], at(since), 40)
				o.Users[name], o.Profiles[name] = append(o.Users[name], u), append(o.Profiles[name], p)
				return errors.Join(err1, err2)
			})
		}
	}
	for _, sink := range []string{"siem", "secops", "a-sink"} {
		o.Due[sink], o.Next[sink], err = s.DueDeliveries(t.Context(), sink, at(6*time.Hour), 100)
		require.NoError(t, err)
	}
	o.Idempotent = []*breakglass.Idempotent{findIdempotent(t, s, "alice", `key "1" <&> — ü`), findIdempotent(t, s, "alice", "another"),
		findIdempotent(t, s, "bob", "another")}
	o.Factors = []*breakglass.Factor{findFactor(t, s, "zoë # %"), findFactor(t, s, "bob"), findFactor(t, s, "gone")}
	return o
}

func (o *observed) list(ctx context.Context, t require.TestingT, s Store) {
	events, err := s.Events(ctx, breakglass.EventQuery{Limit: 1000, Now: at(0)})
	require.NoError(t, err)
	require.Len(t, events, 138)
	o.Events = events
	o.Requests, err = s.AccessRequests(ctx, breakglass.RequestQuery{Limit: 1000, Now: at(0)})
	require.NoError(t, err)
	require.Len(t, o.Requests, 6)
}

// RequireSame checks that two stores show the same, and that the second goes on
// as the first would.
func RequireSame(t *testing.T, from, to Engine) {
	t.Helper()
	want, got := observe(t, from.Store), observe(t, to.Store)
	settled(t, from, func(c require.TestingT) { want.list(t.Context(), c, from.Store) })
	settled(t, to, func(c require.TestingT) { got.list(t.Context(), c, to.Store) })
	require.Equal(t, want, got)
	require.NotNil(t, got.Active["alice prod"])
	require.NotNil(t, got.Idempotent[0])
	require.NotNil(t, got.Factors[0])
	require.Nil(t, got.Factors[2])
	require.NotNil(t, got.Standing[0].Event)
	require.NotNil(t, got.Standing[0].Pending)
	require.NotNil(t, got.Standing[0].Approved)
	require.Len(t, got.Due["secops"], 2, "the test has deliveries that are due")
	require.Equal(t, at(6*time.Hour+time.Microsecond), got.Next["secops"], "and one that is later")
	goOn(t, to.Store)
}

// goOn uses a restored store as a server does.
func goOn(t *testing.T, s Store) {
	t.Helper()
	head := mustHead(t, s)
	now := at(3*time.Hour + 30*time.Minute)
	require.ErrorIs(t, invoke(t, s, newEvent("alice", "prod", now), ratelimit.None{}), errRefused, "one active event")
	require.ErrorIs(t, invoke(t, s, newEvent("bob", "prod", at(5*time.Hour)), limit(t, "cooldown: 1h0m0.000001s")), errRefused)
	require.ErrorIs(t, invoke(t, s, newEvent("carol", "other", now), limit(t, "max_per_user: 135, quota_window: 24h")), errRefused)
	require.ErrorIs(t, invoke(t, s, newEvent("erin", "profile-0", now), limit(t, "max_per_profile: 45, quota_window: 24h")), errRefused)
	require.Equal(t, head, mustHead(t, s), "nothing was written")

	require.NoError(t, invoke(t, s, newEvent("carol", "other", now), limit(t, "max_per_user: 136, quota_window: 24h")))
	require.NoError(t, invoke(t, s, newEvent("bob", "prod", at(5*time.Hour)), limit(t, "cooldown: 1h, max_per_profile: 3, quota_window: 24h")))
	require.NoError(t, invoke(t, s, newEvent("dora", "staging", now), ratelimit.None{}), "the lapsed event is in nobody's way")
	require.Equal(t, head+4, mustHead(t, s), "the sequence goes on; an expiry was recorded too")
	requireChain(t, s)

	require.Error(t, s.Update(t.Context(), breakglass.Keys{Requests: breakglass.Pair{Person: "alice", Profile: "prod"}}, func(tx breakglass.Tx) error {
		return tx.PutAccessRequest(newRequest("alice", "prod", now))
	}), "one pending request")
	putRequests(t, s, newRequest("bob", "prod", now))

	n, err := s.RetryDead(t.Context(), "siem")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	for _, sink := range []string{"siem", "secops"} {
		for {
			got, _, err := s.DueDeliveries(t.Context(), sink, at(1000*time.Hour), 100)
			require.NoError(t, err)
			if len(got) == 0 {
				break
			}
			for _, d := range got {
				require.Equal(t, d.Entry.EventID != "", d.Event != nil, "the event comes with the delivery")
				require.NoError(t, s.SettleDelivery(t.Context(), d, breakglass.DeliveryOutcome{Delivered: true}))
			}
		}
	}
	counts, err := s.DeliveryCounts(t.Context())
	require.NoError(t, err)
	require.Empty(t, counts)
}

// Export dumps an engine.
func Export(t *testing.T, e Engine) ([]byte, transfer.Header) {
	t.Helper()
	var out bytes.Buffer
	h, err := e.Dump(t, &out)
	require.NoError(t, err)
	return out.Bytes(), h
}

func testTransfer(t *testing.T, e Engine) {
	if e.Dump == nil {
		t.Skip("this engine can't be exported")
	}
	FillForTransfer(t, e)
	export, h := Export(t, e)
	require.Equal(t, transfer.Counts{Events: 138, Entries: 290, Deliveries: 8, Idempotency: 2, Factors: 2, Requests: 6}, h.Counts)
	restored, err := e.Restore(t, bytes.NewReader(export))
	require.NoError(t, err)
	again, _ := Export(t, restored)
	require.Equal(t, string(export), string(again), "an export of what was imported is the same")
	RequireSame(t, e, restored)
}

func testTransferOfNothing(t *testing.T, e Engine) {
	if e.Dump == nil {
		t.Skip("this engine can't be exported")
	}
	export, h := Export(t, e)
	require.Zero(t, h.Counts)
	restored, err := e.Restore(t, bytes.NewReader(export))
	require.NoError(t, err)
	require.NoError(t, invoke(t, restored, newEvent("alice", "prod", at(0)), ratelimit.None{}))
	require.EqualValues(t, 1, mustHead(t, restored))
}

// testTransferDamaged: an export that is damaged at its very end is refused as
// a whole, although all before it was read by then.
func testTransferDamaged(t *testing.T, e Engine) {
	if e.Dump == nil {
		t.Skip("this engine can't be exported")
	}
	require.NoError(t, invoke(t, e, newEvent("alice", "prod", at(0)), ratelimit.None{}))
	export, _ := Export(t, e)
	lines := bytes.SplitAfter(export, []byte("\n"))
	cut := bytes.Join(lines[:len(lines)-2], nil)
	_, err := e.Restore(t, bytes.NewReader(cut))
	require.ErrorContains(t, err, "line 2: the export ends here without its trailer")
}
