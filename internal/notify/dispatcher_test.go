package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

var errDown = &Failure{Verdict: Retry, Message: "down"}

func failing(f error) *recorder {
	return &recorder{answer: func(context.Context, int, Notification) error { return f }}
}

// waits are the times between a recorder's calls.
func waits(calls []call) []time.Duration {
	var out []time.Duration
	for i := 1; i < len(calls); i++ {
		out = append(out, calls[i].at.Sub(calls[i-1].at))
	}
	return out
}

func TestAttemptsFollowTheScheduleThenTheDeliveryIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), failing(errDown)
		log, text := testLog()
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Log: log})
		time.Sleep(time.Hour)
		began := time.Now()
		q.add(began, breakglass.EntryInvoked, "siem")
		time.Sleep(200 * time.Hour)
		synctest.Wait()

		calls := target.seen()
		require.Len(t, calls, 10)
		require.Equal(t, began, calls[0].at, "at once")
		require.Equal(t, DefaultSchedule()[1:], waits(calls))
		for _, c := range calls {
			require.Equal(t, calls[0].id, c.id)
			require.Equal(t, calls[0].doc, c.doc, "identical bytes on every attempt")
		}
		pending, dead := q.left()
		require.Equal(t, []int{0, 1}, []int{pending, dead})
		require.Equal(t, 10, q.dead[0].Attempts)
		require.Equal(t, "down", q.dead[0].LastError)
		require.Equal(t, 1, strings.Count(text.String(), "notification sink fails"), "once per outage")
		require.Equal(t, 1, strings.Count(text.String(), "level=ERROR"), "the dead letter")
	})
}

func TestJitterProlongsByAtMostATenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), failing(errDown)
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Random: func() float64 { return 0.5 }})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []time.Duration{5250 * time.Millisecond, 315 * time.Second, 1890 * time.Second}, waits(target.seen()))
	})
}

func TestAnIdleSinkLooksAtTheQueueOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": Noop()})})
		time.Sleep(time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, q.readCount(), 62)
	})
}

func TestDeadLettersThatAnotherProcessRevivesAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), &recorder{}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target})})
		time.Sleep(time.Hour)
		q.set(func(m *memory) { // no entry is committed, so nothing wakes the sink
			d := delivery(1, time.Now(), breakglass.EntryInvoked)
			d.Sink = "siem"
			m.pending = append(m.pending, d)
		})
		time.Sleep(maxSleep)
		synctest.Wait()
		require.Len(t, target.seen(), 1)
	})
}

func TestAClockThatIsSetForwardIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), failing(errDown)
		var ahead atomic.Int64
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}),
			Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(10 * time.Second)
		require.Len(t, target.seen(), 2)
		ahead.Store(int64(time.Hour))
		time.Sleep(maxSleep)
		synctest.Wait()
		require.Len(t, target.seen(), 3)
	})
}

func TestRetryAfterIsHonouredAndHoldsBackTheWholeSinkForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		target := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
			if nth == 1 {
				return &Failure{Verdict: Retry, RetryAfter: 40 * time.Second, Message: "429"}
			}
			return nil
		}}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target})})
		began := time.Now()
		q.add(began, breakglass.EntryInvoked, "siem")
		time.Sleep(10 * time.Second)
		q.add(time.Now(), breakglass.EntryClosed, "siem")
		time.Sleep(29 * time.Second)
		synctest.Wait()
		require.Len(t, target.seen(), 1, "the target asked for 40 seconds")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.ElementsMatch(t, []int64{1, 1, 2}, target.seqs())
	})
}

func TestALongRetryAfterDoesNotSilenceNewAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		target := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
			if nth == 1 {
				return &Failure{Verdict: Retry, RetryAfter: 1000 * time.Hour, Message: "503"}
			}
			return nil
		}}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		synctest.Wait()
		q.add(time.Now(), breakglass.EntryClosed, "siem")
		time.Sleep(maxPause + time.Second)
		synctest.Wait()
		require.Equal(t, []int64{1, 2}, target.seqs())
		time.Sleep(maxRetryAfter)
		synctest.Wait()
		require.Equal(t, []int64{1, 2, 1}, target.seqs())
	})
}

type counter struct {
	mu                           sync.Mutex
	sent, failed, dead, disabled map[string]int
	age                          time.Duration
}

func newCounter() *counter {
	return &counter{sent: map[string]int{}, failed: map[string]int{}, dead: map[string]int{}, disabled: map[string]int{}}
}

func (c *counter) inc(m map[string]int, sink string) { c.mu.Lock(); m[sink]++; c.mu.Unlock() }
func (c *counter) Sent(s string, _, age time.Duration) {
	c.inc(c.sent, s)
	c.mu.Lock()
	c.age = max(c.age, age)
	c.mu.Unlock()
}
func (c *counter) oldest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.age
}
func (c *counter) Failed(s string, _ time.Duration) { c.inc(c.failed, s) }
func (c *counter) Dead(s string)                    { c.inc(c.dead, s) }
func (c *counter) Disabled(s string)                { c.inc(c.disabled, s) }

func TestGoneDisablesTheSinkUntilRestartAndKeepsItsNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, count := newMemory(), newCounter()
		log, text := testLog()
		target := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
			if nth <= 3 {
				return errDown
			}
			return &Failure{Verdict: Disable, Message: "answered 410 Gone"}
		}}
		other := &recorder{}
		set := setOf(map[string]Notifier{"siem": target, "other": other})
		d := start(t, Options{Queue: q, Journal: q, Set: set, Log: log, Observer: count})
		for range 3 {
			q.add(time.Now(), breakglass.EntryInvoked, "siem", "other")
		}
		synctest.Wait()
		q.add(time.Now(), breakglass.EntryInvoked, "siem", "other") // this one is answered with 410
		synctest.Wait()
		q.add(time.Now(), breakglass.EntryInvoked, "siem", "other") // and this one finds the sink disabled
		synctest.Wait()
		pending, dead := q.left()
		require.Equal(t, []int{0, 5}, []int{pending, dead}, "at once, also those that would be due later")
		time.Sleep(100 * time.Hour)
		synctest.Wait()

		require.Len(t, target.seen(), 4)
		require.Len(t, other.seen(), 5)
		require.Equal(t, 1, count.disabled["siem"])
		require.Equal(t, 5, count.dead["siem"])
		require.Equal(t, 4, count.failed["siem"])
		require.Equal(t, 5, count.sent["other"])
		require.Zero(t, count.disabled["other"])
		require.Contains(t, text.String(), "gone (410)")
		require.NoError(t, d.Stop(t.Context()))

		back := &recorder{}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": back})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		synctest.Wait()
		require.Equal(t, []int64{6}, back.seqs(), "enabled again by the restart; dead letters stay dead")
	})
}

func TestAPermanentRefusalIsADeadLetterAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), failing(&Failure{Verdict: Permanent, Message: "too large"})
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(200 * time.Hour)
		synctest.Wait()
		require.Len(t, target.seen(), 1)
		_, dead := q.left()
		require.Equal(t, 1, dead)
	})
}

func TestAPanickingNotifierIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		log, text := testLog()
		target := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
			if nth == 1 {
				panic("token=hunter2")
			}
			return nil
		}}
		start(t, Options{Queue: q, Journal: q, Log: log, Set: setOf(map[string]Notifier{"siem": target})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Len(t, target.seen(), 2)
		pending, dead := q.left()
		require.Equal(t, []int{0, 0}, []int{pending, dead})
		require.Contains(t, text.String(), "panicked")
		require.NotContains(t, text.String(), "hunter2")
	})
}

func TestAtMostTheConfiguredNumberIsInFlightAndABacklogDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		var mu sync.Mutex
		running, most := 0, 0
		target := &recorder{answer: func(context.Context, int, Notification) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}}
		for range 100 {
			q.add(time.Now(), breakglass.EntryInvoked, "siem")
		}
		start(t, Options{Queue: q, Journal: q, Set: setOf(map[string]Notifier{"siem": target}), Concurrency: 8})
		time.Sleep(13*time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, 8, most)
		pending, _ := q.left()
		require.Zero(t, pending)
		seqs := target.seqs()
		slices.Sort(seqs)
		require.Len(t, slices.Compact(seqs), 100)
		require.Len(t, target.seen(), 100, "none twice")
	})
}

func TestWithAStoreThatCannotWriteNothingIsSentAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), &recorder{}
		log, text := testLog()
		q.failSave = errors.New("disk full")
		start(t, Options{Queue: q, Journal: q, Log: log, Set: setOf(map[string]Notifier{"siem": target})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, target.seen(), 1)
		require.Equal(t, 1, strings.Count(text.String(), "disk full"))
		q.set(func(m *memory) { m.failSave = nil })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		pending, _ := q.left()
		require.Zero(t, pending)
		require.Len(t, target.seen(), 1)
	})
}

func TestAStoreThatCannotBeReadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, target := newMemory(), &recorder{}
		log, text := testLog()
		q.failRead = errors.New("locked")
		start(t, Options{Queue: q, Journal: q, Log: log, Set: setOf(map[string]Notifier{"siem": target})})
		q.add(time.Now(), breakglass.EntryInvoked, "siem")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(text.String(), "locked"))
		require.Less(t, q.readCount(), 200)
		q.set(func(m *memory) { m.failRead = nil })
		time.Sleep(31 * time.Second)
		synctest.Wait()
		require.Len(t, target.seen(), 1)
	})
}

func TestOutageAndRecoveryAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		log, text := testLog()
		target := &recorder{answer: func(_ context.Context, nth int, _ Notification) error {
			if nth <= 10 {
				return errors.New("down\x1b[31m\u202e")
			}
			return nil
		}}
		start(t, Options{Queue: q, Journal: q, Log: log, Set: setOf(map[string]Notifier{"siem": target})})
		for range 5 {
			q.add(time.Now(), breakglass.EntryInvoked, "siem")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(text.String(), "notification sink fails"))
		require.Equal(t, 1, strings.Count(text.String(), "works again"))
		require.NotContains(t, text.String(), "\x1b")
		require.NotContains(t, text.String(), "\u202e")
	})
}

func TestDeliveriesToARemovedSinkAreReportedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory()
		log, text := testLog()
		q.add(time.Now(), breakglass.EntryInvoked, "old", "siem")
		q.add(time.Now(), breakglass.EntryInvoked, "old")
		start(t, Options{Queue: q, Journal: q, Log: log, Set: setOf(map[string]Notifier{"siem": &recorder{}})})
		synctest.Wait()
		require.Contains(t, text.String(), `no longer configured`)
		require.Contains(t, text.String(), `sink=old pending=2`)
		pending, _ := q.left()
		require.Equal(t, 2, pending)
	})
}
