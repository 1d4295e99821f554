package notify

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// slow takes a notification after a second.
func slow() *recorder {
	return &recorder{answer: func(context.Context, int, Notification) error { time.Sleep(time.Second); return nil }}
}

func TestABacklogIsReadInBatchesAndSentOnceInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		q, target := newMemory(), slow()
		var want []int64
		for range n {
			want = append(want, q.add(time.Now(), breakglass.EntryInvoked, "siem"))
		}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Concurrency: 1})
		time.Sleep((n + 1) * time.Second)
		synctest.Wait()
		require.Equal(t, want, target.seqs())
		pending, dead := q.left()
		require.Equal(t, []int{0, 0}, []int{pending, dead})
		require.LessOrEqual(t, q.readCount(), n/lookAhead+n/int(maxSleep/time.Second)+12, "not once for each")
	})
}

func TestARefusalForGoodIsNotReportedAsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		target := failing(&Failure{Verdict: Permanent, Message: "answered 413"})
		log, text := testLog()
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Log: log})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, target.seen(), 1)
		require.Contains(t, text.String(), "given up")
		require.NotContains(t, text.String(), "trying again")
	})
}

func TestANewAlertDoesNotWaitBehindRepetitionsThatWereReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 30
		q, target := newMemory(), &recorder{}
		target.answer = func(_ context.Context, nth int, _ Notification) error {
			if nth <= n {
				return errDown
			}
			time.Sleep(time.Second)
			return nil
		}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Concurrency: 1})
		for range n {
			q.add(time.Now(), breakglass.EntryInvoked, "siem")
		}
		time.Sleep(DefaultSchedule()[1] + 3*time.Second)                 // repetitions are being sent, one a second
		alert := q.add(time.Unix(0, 0), breakglass.EntryInvoked, "siem") // what is new is due before everything else
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Contains(t, target.seqs(), alert)
		require.Less(t, len(target.seqs()), n+10, "most repetitions still wait")
	})
}

func TestAnUrgentAlertDoesNotWaitBehindOthersThatWereReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), slow()
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Concurrency: 1})
		for range 200 {
			q.add(time.Unix(1, 0), breakglass.EntryCredentialsIssued, "siem")
		}
		time.Sleep(20 * time.Second)
		alert := q.add(time.Unix(0, 0), breakglass.EntryInvoked, "siem")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Contains(t, target.seqs(), alert)
	})
}

func TestWithUrgentAlertsReadAheadNewOnesDoNotMakeTheQueueBeReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		q, target := newMemory(), slow()
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Concurrency: 1})
		var want []int64
		for range n { // two for each that is sent
			want = append(want, q.add(time.Unix(0, 0), breakglass.EntryInvoked, "siem"))
			time.Sleep(500 * time.Millisecond)
		}
		synctest.Wait()
		require.LessOrEqual(t, q.readCount(), 20)
		time.Sleep(n * time.Second)
		synctest.Wait()
		require.Equal(t, want, target.seqs())
	})
}

func TestWhatWasReadAheadBecomesADeadLetterWhenTheSinkIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2 * lookAhead
		q, target := newMemory(), &recorder{}
		target.answer = func(_ context.Context, nth int, _ Notification) error {
			time.Sleep(time.Second)
			if nth == 3 {
				return &Failure{Verdict: Disable, Message: "410"}
			}
			return nil
		}
		for range n {
			q.add(time.Now(), breakglass.EntryInvoked, "siem")
		}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Concurrency: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, target.seen(), 3)
		pending, dead := q.left()
		require.Equal(t, []int{0, n - 2}, []int{pending, dead})
	})
}

func TestADeliveryThatCannotBeClaimedIsLeftAloneForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), &recorder{}
		q.refuse = map[int64]bool{1: true}
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		other := q.add(time.Now(), breakglass.EntryInvoked, "siem")
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target})})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []int64{other}, target.seqs(), "others don't wait for it")
		require.InDelta(t, 100, len(q.claims), 5, "one each 100 ms")
		q.set(func(m *memory) { m.refuse = nil })
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, target.seqs(), 2)
	})
}

func TestAClaimIsForAWholeAttemptHoweverLongTheStoreFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), &recorder{}
		q.failHold = errors.New("the store is down")
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Timeout: time.Minute})
		time.Sleep(time.Hour)
		q.set(func(m *memory) { m.failHold = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, target.seen(), 1)
		last := q.claims[len(q.claims)-1]
		require.Equal(t, hold{last.at, last.at, last.at.Add(time.Minute + claimMargin)}, last)
	})
}
