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
			k := activeKey(noon.Add(-time.Hour), breakglass.NewID())
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
			k := activeKey(e.ExpiresAt, e.ID)
			plant(t, s, k.item())
			return k
		}, true},
		"an event that can't be read": {func(t *testing.T, s *Store) key {
			e := sampleEvent("bob", "prod", noon.Add(-3*time.Hour))
			require.NoError(t, invoke(t, s, e))
			it := stored(t, s, eventKey(e.ID))
			it["updated_at"] = text("x")
			plant(t, s, it)
			return activeKey(e.ExpiresAt, e.ID)
		}, false},
		"more than a page of them": {func(t *testing.T, s *Store) key {
			var k key
			for range 150 {
				k = activeKey(noon.Add(-time.Hour), breakglass.NewID())
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
				got, err := s.ActiveByExpiry(t.Context(), 1)
				require.NoError(t, err)
				require.Equal(t, []breakglass.Event{first}, got)
				got, err = s.ActiveByExpiry(t.Context(), 64)
				require.NoError(t, err)
				require.Equal(t, []breakglass.Event{first, second}, got)
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
	plant(t, s, activeKey(noon, e.ID).item())
	got, err := s.ActiveByExpiry(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []breakglass.Event{e}, got, "once")
	_, err = s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: activeKey(e.ExpiresAt, e.ID).item()})
	require.NoError(t, err)
	_, err = s.ActiveByExpiry(t.Context(), 10)
	require.NoError(t, err)
	require.Nil(t, stored(t, s, activeKey(noon, e.ID)))
	got, err = s.ActiveByExpiry(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []breakglass.Event{e}, got)
	require.NoError(t, s.ClaimExpiry(t.Context(), e, noon, noon.Add(time.Second)))
}

// An event leaves the agenda with its end also when its pair has forgotten it.
func TestAnEventLeavesTheAgendaWithoutItsPair(t *testing.T) {
	s := openTest(t, newTable(t))
	e := sampleEvent("alice", "prod", noon)
	require.NoError(t, invoke(t, s, e))
	_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: pairKey("alice", "prod").item()})
	require.NoError(t, err)
	require.NoError(t, closeEvent(t, s, e.ID))
	require.Nil(t, stored(t, s, activeKey(e.ExpiresAt, e.ID)))
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
