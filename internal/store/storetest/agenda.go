package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func agenda(t *testing.T, s Store, limit int) []breakglass.Task {
	t.Helper()
	tasks, err := s.Agenda(t.Context(), limit)
	require.NoError(t, err)
	return tasks
}

func eventTask(e breakglass.Event) breakglass.Task {
	return breakglass.Task{At: e.DueAt(), EventID: e.ID}
}

func requestTask(r breakglass.AccessRequest) breakglass.Task {
	return breakglass.Task{At: r.ExpiresAt, RequestID: r.ID}
}

// testAgenda: events and requests in one order, each at its own moment, and
// only while it is open.
func testAgenda(t *testing.T, e Engine) {
	late, soon, warned := newEvent("alice", "a", at(0)), newEvent("alice", "b", at(time.Second)), newEvent("alice", "c", at(2*time.Second))
	late.ExpiresAt, soon.ExpiresAt = at(4*time.Hour), at(time.Minute)
	warned.ExpiresAt, warned.WarnAt = at(5*time.Hour), at(30*time.Minute)
	put(t, e, late, soon, warned, closedEvent("alice", "d", at(3*time.Second)))
	waiting, lasting := newRequest("bob", "a", at(0)), approvedRequest("bob", "b", at(0))
	waiting.ExpiresAt, lasting.ExpiresAt = at(30*time.Minute+time.Microsecond), at(30*time.Minute-time.Microsecond)
	putRequests(t, e, waiting, lasting, endedRequest("bob", "c", at(0), breakglass.RequestDenied))
	want := []breakglass.Task{eventTask(soon), requestTask(lasting), eventTask(warned), requestTask(waiting), eventTask(late)}
	require.Equal(t, want, agenda(t, e, 10))
	require.Equal(t, want[:2], agenda(t, e, 2))
	require.Equal(t, want[:4], agenda(t, e, 4))

	t.Run("what has come moves", func(t *testing.T) {
		warned.WarnAt = time.Time{} // announced: its end is next
		late.ExpiresAt, late.Extensions = at(6*time.Hour), 1
		waiting = waiting.At(at(0)).AccessRequest
		waiting.Status, waiting.ExpiresAt = breakglass.RequestApproved, at(3*time.Hour)
		for _, ev := range []breakglass.Event{warned, late} {
			require.NoError(t, e.Update(t.Context(), breakglass.Keys{EventID: ev.ID}, func(tx breakglass.Tx) error { return tx.PutEvent(ev) }))
		}
		require.NoError(t, e.Update(t.Context(), breakglass.Keys{RequestID: waiting.ID}, func(tx breakglass.Tx) error {
			return tx.PutAccessRequest(waiting)
		}))
		require.Equal(t, []breakglass.Task{eventTask(soon), requestTask(lasting), requestTask(waiting), eventTask(warned), eventTask(late)}, agenda(t, e, 10))
	})
	t.Run("what changes otherwise stays", func(t *testing.T) {
		soon.Sessions, lasting.Sessions = 7, 8
		put(t, e, soon)
		putRequests(t, e, lasting)
		require.Equal(t, []breakglass.Task{eventTask(soon), requestTask(lasting)}, agenda(t, e, 2))
	})
	t.Run("what has ended goes", func(t *testing.T) {
		soon.Status, lasting.Status, waiting.Status = breakglass.StatusExpired, breakglass.RequestExpired, breakglass.RequestCancelled
		put(t, e, soon)
		putRequests(t, e, lasting, waiting)
		require.Equal(t, []breakglass.Task{eventTask(warned), eventTask(late)}, agenda(t, e, 10))
	})
}

// testClaim: one server at a time does a task; when it dies over it another one
// takes over.
func testClaim(t *testing.T, e Engine) {
	if !e.Shared {
		t.Skip("this engine serves one sweeper: nobody is there to claim tasks from")
	}
	ev, r := newEvent("alice", "prod", at(0)), newRequest("alice", "prod", at(0))
	put(t, e, ev)
	putRequests(t, e, r)
	for _, task := range []breakglass.Task{eventTask(ev), requestTask(r)} {
		require.Contains(t, agenda(t, e, 2), task)
		require.NoError(t, e.Claim(t.Context(), task, at(0), at(time.Second)))
		require.ErrorIs(t, e.Claim(t.Context(), task, at(time.Second-time.Microsecond), at(time.Hour)), breakglass.ErrNotFound)
		require.NoError(t, e.Claim(t.Context(), task, at(time.Second), at(2*time.Second)))
	}
	was := eventTask(ev)
	ev.ExpiresAt = ev.ExpiresAt.Add(time.Hour)
	put(t, e, ev)
	require.ErrorIs(t, e.Claim(t.Context(), was, at(3*time.Hour), at(4*time.Hour)), breakglass.ErrNotFound, "it has moved")
	require.NoError(t, e.Claim(t.Context(), eventTask(ev), at(3*time.Hour), at(4*time.Hour)))
	ev.Status, r.Status = breakglass.StatusClosed, breakglass.RequestCancelled
	put(t, e, ev)
	putRequests(t, e, r)
	for _, task := range []breakglass.Task{eventTask(ev), requestTask(r)} {
		require.ErrorIs(t, e.Claim(t.Context(), task, at(5*time.Hour), at(6*time.Hour)), breakglass.ErrNotFound, "it has ended")
	}
}
