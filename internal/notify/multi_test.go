package notify

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func multiOf(t *testing.T, a, b Notifier) (*multi, *lockedBuffer) {
	t.Helper()
	log, text := testLog()
	return newMulti(log, "both", []member{{"a", a}, {"b", b}}), text
}

func numbered(t *testing.T, seq int64) Notification {
	t.Helper()
	n, err := NewNotification(delivery(seq, noon, breakglass.EntryInvoked))
	require.NoError(t, err)
	return n
}

func TestMultiIsRetriedUntilAllTookItAndRepeatsOnlyWhoDidNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fine := &recorder{}
		flaky := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
			if nth < 3 {
				return &Failure{Verdict: Retry, RetryAfter: time.Minute, Message: "429"}
			}
			return nil
		}}
		m, _ := multiOf(t, fine, flaky)
		q := newMemory()
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"both": m})})
		q.add(time.Now(), breakglass.EntryInvoked, "both")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, fine.seen(), 1)
		require.Equal(t, []time.Duration{time.Minute, 5 * time.Minute}, waits(flaky.seen()))
		pending, dead := q.left()
		require.Equal(t, []int{0, 0}, []int{pending, dead})
		require.Empty(t, m.taken, "nothing is remembered of finished units")
	})
}

func TestMultiCallsItsMembersSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func() *recorder {
			return &recorder{answer: func(context.Context, int, Notification) error { time.Sleep(time.Second); return nil }}
		}
		m, _ := multiOf(t, slow(), slow())
		began := time.Now()
		require.NoError(t, m.Notify(t.Context(), numbered(t, 1)))
		require.Equal(t, time.Second, time.Since(began))
	})
}

func TestMultiFailsForGoodWhenAMemberRefusesForGoodAndTheOthersHaveIt(t *testing.T) {
	b := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
		if nth == 1 {
			return errDown
		}
		return nil
	}}
	m, _ := multiOf(t, failing(&Failure{Verdict: Permanent, Message: "too large"}), b)
	require.Equal(t, Retry, failureOf(t, m.Notify(t.Context(), numbered(t, 1))).Verdict)
	f := failureOf(t, m.Notify(t.Context(), numbered(t, 1)))
	require.Equal(t, Permanent, f.Verdict)
	require.Equal(t, "a: too large", f.Message)
	require.Len(t, b.seen(), 2)
}

func TestMultiGoesOnWithoutAMemberThatIsGone(t *testing.T) {
	gone := failing(&Failure{Verdict: Disable, Message: "410"})
	b := &recorder{}
	m, text := multiOf(t, gone, b)
	require.Equal(t, Permanent, failureOf(t, m.Notify(t.Context(), numbered(t, 1))).Verdict)
	require.Equal(t, Permanent, failureOf(t, m.Notify(t.Context(), numbered(t, 2))).Verdict)
	require.Len(t, gone.seen(), 1, "left alone")
	require.Equal(t, []int64{1, 2}, b.seqs(), "the other still gets everything")
	require.Contains(t, text.String(), "member=a")

	b.answer = func(context.Context, int, Notification) error { return &Failure{Verdict: Disable, Message: "410"} }
	require.Equal(t, Disable, failureOf(t, m.Notify(t.Context(), numbered(t, 3))).Verdict, "all are gone")
}

func TestMultiContainsAPanickingMember(t *testing.T) {
	b := &recorder{}
	m, _ := multiOf(t, &recorder{answer: func(context.Context, int, Notification) error { panic("x") }}, b)
	require.Equal(t, Retry, failureOf(t, m.Notify(t.Context(), numbered(t, 1))).Verdict)
	require.Len(t, b.seen(), 1)
}

func TestMultiForgetsRatherThanGrows(t *testing.T) {
	m, _ := multiOf(t, &recorder{}, failing(errDown))
	n := numbered(t, 1)
	for i := range maxRemembered + 10 {
		n.ID = fmt.Sprint("msg_", i)
		_ = m.Notify(t.Context(), n)
	}
	require.LessOrEqual(t, len(m.taken), maxRemembered)
}
