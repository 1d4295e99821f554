package dynamodb

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// TestTheSweeperSeesPastWhatLeadsNowhere: whatever lies at the front of the
// agenda, the events behind it are found.
func TestTheSweeperSeesPastWhatLeadsNowhere(t *testing.T) {
	for name, c := range map[string]struct {
		lay     func(t *testing.T, s *Store) key // at the front
		removed bool
	}{
		"nothing there": {func(t *testing.T, s *Store) key {
			k := agendaKey(breakglass.Task{At: noon.Add(-time.Hour), EventID: breakglass.NewID()})
			plant(t, s, k.item())
			return k
		}, true},
		"no id": {func(t *testing.T, s *Store) key {
			k := key{pkActive, "0"}
			plant(t, s, k.item())
			return k
		}, true},
		"an event that has ended": {func(t *testing.T, s *Store) key {
			e := sampleEvent("bob", "prod", noon.Add(-3*time.Hour))
			e.Status = breakglass.StatusClosed
			require.NoError(t, invoke(t, s, e))
			k := dueEvent(e)
			plant(t, s, k.item())
			return k
		}, true},
		"no request there": {func(t *testing.T, s *Store) key {
			k := agendaKey(breakglass.Task{At: noon.Add(-time.Hour), RequestID: breakglass.NewID()})
			plant(t, s, k.item())
			return k
		}, true},
		"a request that has ended": {func(t *testing.T, s *Store) key {
			r := sampleRequest("bob", "prod", noon.Add(-3*time.Hour))
			r.Status = breakglass.RequestDenied
			require.NoError(t, putRequest(t, s, r))
			plant(t, s, dueRequest(r).item())
			return dueRequest(r)
		}, true},
		"a request that can't be read": {func(t *testing.T, s *Store) key {
			r := sampleRequest("bob", "prod", noon.Add(-3*time.Hour))
			require.NoError(t, putRequest(t, s, r))
			it := stored(t, s, requestKey(r.ID))
			it["approvals"] = text("x")
			plant(t, s, it)
			return dueRequest(r)
		}, false},
		"an event that can't be read": {func(t *testing.T, s *Store) key {
			e := sampleEvent("bob", "prod", noon.Add(-3*time.Hour))
			require.NoError(t, invoke(t, s, e))
			it := stored(t, s, eventKey(e.ID))
			it["updated_at"] = text("x")
			plant(t, s, it)
			return dueEvent(e)
		}, false},
		"more than a page of them": {func(t *testing.T, s *Store) key {
			var k key
			for range 150 {
				k = agendaKey(breakglass.Task{At: noon.Add(-time.Hour), EventID: breakglass.NewID()})
				plant(t, s, k.item())
			}
			return k
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o := newTable(t)
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			s := openTest(t, o)
			front := c.lay(t, s)
			first, second := sampleEvent("alice", "prod", noon), sampleEvent("alice", "staging", noon.Add(time.Second))
			require.NoError(t, invoke(t, s, second))
			require.NoError(t, invoke(t, s, first))
			for range 3 {
				got, err := s.Agenda(t.Context(), 1)
				require.NoError(t, err)
				require.Equal(t, []breakglass.Task{task(first)}, got)
				got, err = s.Agenda(t.Context(), 64)
				require.NoError(t, err)
				require.Equal(t, []breakglass.Task{task(first), task(second)}, got)
			}
			require.Equal(t, c.removed, stored(t, s, front) == nil)
			if !c.removed {
				require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), "once, not at each look: %s", log.String())
			}
		})
	}
}

// An item of the agenda at a wrong time is put right: the event can be claimed,
// and it is listed once.
func TestAnItemOfTheAgendaAtAWrongTimeIsPutRight(t *testing.T) {
	s := openTest(t, newTable(t))
	e := sampleEvent("alice", "prod", noon)
	require.NoError(t, invoke(t, s, e))
	plant(t, s, agendaKey(breakglass.Task{At: noon, EventID: e.ID}).item())
	got, err := s.Agenda(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []breakglass.Task{task(e)}, got, "once")
	_, err = s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: dueEvent(e).item()})
	require.NoError(t, err)
	_, err = s.Agenda(t.Context(), 10)
	require.NoError(t, err)
	require.Nil(t, stored(t, s, agendaKey(breakglass.Task{At: noon, EventID: e.ID})))
	got, err = s.Agenda(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []breakglass.Task{task(e)}, got)
	require.NoError(t, s.Claim(t.Context(), task(e), noon, noon.Add(time.Second)))
}

// What stands on the agenda at the end of an event is moved to the moment at
// which that is announced, and the place of a request is put right as well.
func TestTheAgendaKnowsWhenSomethingIsDue(t *testing.T) {
	s := openTest(t, newTable(t))
	e, r := sampleEvent("alice", "prod", noon), sampleRequest("alice", "prod", noon)
	e.WarnAt = noon.Add(50 * time.Minute)
	require.NoError(t, invoke(t, s, e))
	require.NoError(t, putRequest(t, s, r))
	want := []breakglass.Task{{At: e.WarnAt, EventID: e.ID}, {At: r.ExpiresAt, RequestID: r.ID}}
	wrong := []key{agendaKey(breakglass.Task{At: e.ExpiresAt, EventID: e.ID}), agendaKey(breakglass.Task{At: noon, RequestID: r.ID})}
	for _, k := range []key{dueEvent(e), dueRequest(r)} {
		_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: k.item()})
		require.NoError(t, err)
	}
	for _, k := range wrong {
		plant(t, s, k.item())
	}
	for range 2 { // met, and met again
		got, err := s.Agenda(t.Context(), 10)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	got, err := s.Agenda(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, k := range wrong {
		require.Nil(t, stored(t, s, k))
	}
}

// An event leaves the agenda with its end also when its pair has forgotten it.
func TestAnEventLeavesTheAgendaWithoutItsPair(t *testing.T) {
	s := openTest(t, newTable(t))
	e := sampleEvent("alice", "prod", noon)
	require.NoError(t, invoke(t, s, e))
	_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: pairKey("alice", "prod").item()})
	require.NoError(t, err)
	require.NoError(t, closeEvent(t, s, e.ID))
	require.Nil(t, stored(t, s, dueEvent(e)))
}

// closeEvent ends an event that is named by its id alone.
func closeEvent(t testing.TB, s *Store, id string) error {
	t.Helper()
	return s.Update(t.Context(), breakglass.Keys{EventID: id}, func(tx breakglass.Tx) error {
		e, err := tx.Event(id)
		if err != nil {
			return err
		}
		e.Status, e.ClosedAt = breakglass.StatusClosed, noon
		return tx.PutEvent(e)
	})
}

func task(e breakglass.Event) breakglass.Task { return breakglass.Task{At: e.DueAt(), EventID: e.ID} }

func sampleRequest(requester, profile string, at time.Time) breakglass.AccessRequest {
	return breakglass.AccessRequest{ID: breakglass.NewID(), Requester: requester, Profile: profile, Justification: "the restore test",
		DurationSeconds: 3600, Status: breakglass.RequestPending, CreatedAt: at, UpdatedAt: at, ExpiresAt: at.Add(2 * time.Hour),
		ApprovalRule: "peers", ApprovalsRequired: 1, CorrelationID: "req"}
}

func putRequest(t testing.TB, s *Store, r breakglass.AccessRequest) error {
	t.Helper()
	return s.Update(t.Context(), breakglass.Keys{Requests: pairOf(r)}, func(tx breakglass.Tx) error { return tx.PutAccessRequest(r) })
}
