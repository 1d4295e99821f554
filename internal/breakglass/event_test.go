package breakglass

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var t0 = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)

func activeEvent() Event {
	return Event{ID: "0123456789abcdef", Invoker: "alice@example.com", Profile: "prod", ReasonCode: ReasonIncident,
		Status: StatusActive, DurationSeconds: 3600, CreatedAt: t0, UpdatedAt: t0, ExpiresAt: t0.Add(time.Hour)}
}

func TestStatusIsExpiredFromTheEndItselfOn(t *testing.T) {
	end := t0.Add(time.Hour)
	closed := activeEvent().closed(t0.Add(time.Minute), "alice@example.com", "done")
	cases := map[string]struct {
		event Event
		now   time.Time
		want  Status
	}{
		"at creation":                   {activeEvent(), t0, StatusActive},
		"one microsecond before end":    {activeEvent(), end.Add(-time.Microsecond), StatusActive},
		"at the end":                    {activeEvent(), end, StatusExpired},
		"one microsecond after the end": {activeEvent(), end.Add(time.Microsecond), StatusExpired},
		"closed stays closed":           {closed, end.Add(time.Hour), StatusClosed},
		"recorded as expired":           {activeEvent().expired(), t0, StatusExpired},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, c.event.StatusAt(c.now))
			view := c.event.At(c.now)
			assert.Equal(t, c.want, view.Status)
			assert.Equal(t, c.want == StatusActive, view.RemainingSeconds > 0, "remaining seconds are positive exactly while active")
			assert.Equal(t, c.want == StatusActive, c.event.RemainingDuration(c.now) > 0)
		})
	}
}

func TestAReaderSeesTheSameBeforeAndAfterTheSweeper(t *testing.T) {
	later := t0.Add(2 * time.Hour)
	assert.Equal(t, activeEvent().expired().At(later), activeEvent().At(later))
	assert.Equal(t, activeEvent().ExpiresAt, activeEvent().At(later).UpdatedAt, "not when somebody looked")
}

func TestRemainingSecondsRoundUp(t *testing.T) {
	ev := activeEvent()
	assert.EqualValues(t, 3600, ev.At(t0).RemainingSeconds)
	assert.EqualValues(t, 3600, ev.At(t0.Add(time.Microsecond)).RemainingSeconds)
	assert.EqualValues(t, 1, ev.At(ev.ExpiresAt.Add(-time.Microsecond)).RemainingSeconds)
}

func TestOnlyActiveCanEnd(t *testing.T) {
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			want := from == StatusActive && to != StatusActive
			assert.Equal(t, want, from.CanTransitionTo(to), "%s → %s", from, to)
		}
	}
	assert.False(t, Status("pending").IsValid())
	assert.False(t, Status("pending").CanTransitionTo(StatusClosed))
}

func TestNewIDIsSixteenHexAndNotRepeated(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := NewID()
		require.True(t, IsID(id), id)
		require.False(t, seen[id])
		seen[id] = true
	}
	for _, bad := range []string{"", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg", "../../../../etc/"} {
		assert.False(t, IsID(bad), bad)
	}
}

func TestViewHasTheDocumentedFields(t *testing.T) {
	ev := activeEvent().closed(t0.Add(time.Minute), "sam@example.com", "over")
	ev.Ticket, ev.RequestedBy, ev.Justification, ev.RequestID, ev.PolicyRule = "INC-1", "bot", "x", "r", "rule"
	ev.WarnAt = t0.Add(50 * time.Minute)
	b, err := json.Marshal(ev.At(t0.Add(time.Hour)))
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(b, &fields))
	for _, f := range []string{"event_id", "invoker", "requested_by", "profile", "reason_code", "justification", "ticket",
		"duration_seconds", "status", "created_at", "updated_at", "expires_at", "remaining_seconds", "closed_at", "closed_by",
		"closed_reason", "request_id", "policy_rule", "escalated", "sessions", "extensions", "warn_at"} {
		assert.Contains(t, fields, f)
		delete(fields, f)
	}
	assert.Empty(t, fields, "fields that no document names")
}
