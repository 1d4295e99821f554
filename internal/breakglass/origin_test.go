package breakglass_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func TestRefusedCallsOtherThanInvocationsAreOnRecord(t *testing.T) {
	w := newWorld(t)
	ev, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	require.NoError(t, err)
	closed, err := w.Invoke(t.Context(), person("alice"), request("staging"))
	require.NoError(t, err)
	_, err = w.Close(t.Context(), person("alice"), closed.ID, "over", "r")
	require.NoError(t, err)
	mallory, auditor := person("mallory"), person("dash", breakglass.RoleAuditor)
	ctx := breakglass.WithOrigin(t.Context(), breakglass.Origin{RequestID: "req-of-call", ClientAddr: "192.0.2.7"})
	closing := func(p breakglass.Principal, id string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := w.Close(ctx, p, id, "over", "req-of-call"); return err }
	}
	for name, c := range map[string]struct {
		call   func(ctx context.Context) error
		actor  string
		reason breakglass.Code
		detail map[string]string
	}{
		"another's event": {func(ctx context.Context) error { _, err := w.Check(ctx, mallory, ev.ID); return err }, "mallory", "event_not_found",
			map[string]string{"call": "check", "requested_event_id": ev.ID}},
		"closing another's event": {closing(mallory, ev.ID), "mallory", "event_not_found", map[string]string{"call": "close", "requested_event_id": ev.ID}},
		"closing as an auditor":   {closing(auditor, ev.ID), "dash", "forbidden", map[string]string{"call": "close", "requested_event_id": ev.ID}},
		"closing what is over":    {closing(person("alice"), closed.ID), "alice", "invalid_transition", map[string]string{"call": "close"}},
		"the trail": {func(ctx context.Context) error {
			_, _, err := w.Feed(ctx, mallory, breakglass.EntryQuery{Limit: 1}, 0)
			return err
		}, "mallory", "forbidden", map[string]string{"call": "feed"}},
		"another's events": {func(ctx context.Context) error {
			_, _, err := w.List(ctx, mallory, breakglass.EventQuery{Invoker: "alice", Limit: 1})
			return err
		}, "mallory", "forbidden", map[string]string{"call": "list", "requested_invoker": "alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.trail(t))
			_ = requireCode(t, c.reason, c.call(ctx))
			trail := w.trail(t)
			require.Len(t, trail, before+1)
			e := trail[before]
			assert.Equal(t, breakglass.EntryDenied, e.Event)
			assert.Equal(t, c.actor, e.Actor)
			assert.Equal(t, string(c.reason), e.Reason)
			assert.Equal(t, "req-of-call", e.RequestID)
			assert.Equal(t, "192.0.2.7", e.Detail["client_addr"])
			for key, value := range c.detail {
				assert.Equal(t, value, e.Detail[key], key)
			}
		})
	}
	before := len(w.trail(t))
	for i := range 1000 {
		_, err := w.Check(ctx, mallory, fmt.Sprintf("%016x", i))
		_ = requireCode(t, breakglass.CodeEventNotFound, err)
	}
	assert.LessOrEqual(t, len(w.trail(t))-before, 30, "a search for ids can't fill the trail")
}

func TestEntriesSayWhereTheCallCameFrom(t *testing.T) {
	w := newWorld(t)
	ctx := breakglass.WithOrigin(t.Context(), breakglass.Origin{ClientAddr: "2001:db8::7"})
	w.limits = escalating
	ev, err := w.Invoke(ctx, person("alice"), request("prod"))
	require.NoError(t, err)
	_, err = w.Credentials(ctx, person("alice"), ev.ID, "r")
	require.NoError(t, err)
	_, err = w.Credentials(ctx, person("bob"), ev.ID, "r")
	_ = requireCode(t, breakglass.CodeEventNotFound, err)
	_, err = w.Invoke(ctx, person("alice"), request("prod"))
	_ = requireCode(t, breakglass.CodeAlreadyActive, err)
	_, err = w.Close(ctx, person("alice"), ev.ID, "over", "")
	require.NoError(t, err)
	trail := w.trail(t)
	require.Len(t, trail, 6)
	for _, e := range trail {
		assert.Equal(t, "2001:db8::7", e.Detail[breakglass.DetailClientAddr], e.Event)
	}
}

func TestAPolicyRefusalOffersNoMoreThanTheProfileAllows(t *testing.T) {
	w := newWorld(t)
	w.policy = func(breakglass.PolicyRequest) breakglass.PolicyDecision {
		return breakglass.PolicyDecision{Rule: "r", MaxDuration: 4 * time.Hour, Condition: breakglass.ConditionTicket, Message: "no",
			Allowed: &breakglass.Allowed{MaxDurationSeconds: 4 * 3600, TicketRequired: true}}
	}
	_, err := w.Invoke(t.Context(), person("alice"), request("prod"))
	assert.EqualValues(t, 2*3600, requireCode(t, breakglass.CodePolicyDenied, err).Allowed.MaxDurationSeconds, "prod allows two hours")
	_, err = w.Invoke(t.Context(), person("alice"), request("staging"))
	assert.EqualValues(t, 4*3600, requireCode(t, breakglass.CodePolicyDenied, err).Allowed.MaxDurationSeconds)
}

func TestDurationsAreShownWithoutZeros(t *testing.T) {
	w := newWorld(t)
	in := request("prod")
	in.Duration = 3 * time.Hour
	_, err := w.Invoke(t.Context(), person("alice"), in)
	assert.Equal(t, `Profile "prod" can be invoked for at most 2h, not 3h.`, requireCode(t, breakglass.CodePolicyDenied, err).Message)
}

func escalating(breakglass.History, string, string, time.Time) (breakglass.LimitDecision, error) {
	return breakglass.LimitDecision{Permit: true, Escalate: true, Count: 2, Threshold: 2}, nil
}
