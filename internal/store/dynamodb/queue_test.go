package dynamodb

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func putItem(t *testing.T, s *Store, it item) {
	t.Helper()
	_, err := s.client.PutItem(t.Context(), &ddb.PutItemInput{TableName: &s.opts.Table, Item: it})
	require.NoError(t, err)
}

// TestADamagedItemDoesNotSilenceASink: the notification that it spoils is given
// up with a reason, and the others go out.
func TestADamagedItemDoesNotSilenceASink(t *testing.T) {
	delivery := func(seq int64) item {
		return deliveryItem(breakglass.Delivery{Sink: "siem", Entry: breakglass.LogEntry{Seq: seq}, NextAttempt: fromMicros(0)})
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, s *Store)
		want   string // in the dead letter; "" when there is nothing that could be one
	}{
		"a delivery of an entry that isn't there": {func(t *testing.T, s *Store) { putItem(t, s, delivery(999_999)) }, "its audit entry is missing"},
		"an entry that can't be read": {func(t *testing.T, s *Store) {
			putItem(t, s, merge(delivery(5000), nil))
			putItem(t, s, merge(entryKey(5000).item(), item{"body": text("{"), "hash": text("x")}))
		}, "its audit entry is damaged"},
		"an event that can't be read": {func(t *testing.T, s *Store) {
			it, err := s.get(t.Context(), entryKey(1))
			require.NoError(t, err)
			putItem(t, s, merge(it, item{"snapshot": text("{")}))
		}, "the event in it is damaged"},
		"something else in its place": {func(t *testing.T, s *Store) {
			putItem(t, s, key{deliveryPK("siem"), statePending + "#!"}.item())
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, newTable(t))
			for i := range 3 {
				require.NoError(t, invoke(t, s, sampleEvent(fmt.Sprint("u", i), "prod", noon)))
			}
			c.damage(t, s)
			due, _, err := s.DueDeliveries(t.Context(), "siem", noon, 10)
			require.NoError(t, err)
			var seqs []int64
			for _, d := range due {
				seqs = append(seqs, d.Entry.Seq)
			}
			want := []int64{1, 2, 3}
			if c.want == "the event in it is damaged" {
				want = want[1:]
			}
			require.Equal(t, want, seqs)
			counts, err := s.DeliveryCounts(t.Context())
			require.NoError(t, err)
			require.Equal(t, noon, counts["siem"].Oldest)
			if c.want == "" {
				n, err := s.DropDeliveries(t.Context(), "siem")
				require.NoError(t, err)
				require.Equal(t, 4, n, "it goes with the others")
				return
			}
			var reasons []string
			require.NoError(t, s.deliveries(t.Context(), "siem", stateDead, 10, func(d breakglass.Delivery, _ item) (bool, error) {
				reasons = append(reasons, d.LastError)
				return true, nil
			}))
			require.Len(t, reasons, 1)
			require.Contains(t, reasons[0], c.want)
		})
	}
}

// TestTheEntryOfADeliveryIsWaitedFor: a query may see one item of a transaction
// before the others.
func TestTheEntryOfADeliveryIsWaitedFor(t *testing.T) {
	o := newTable(t)
	direct := openTest(t, o)
	require.NoError(t, invoke(t, direct, sampleEvent("alice", "prod", noon)))
	entry, err := direct.get(t.Context(), entryKey(1))
	require.NoError(t, err)
	_, err = direct.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &o.Table, Key: entryKey(1).item()})
	require.NoError(t, err)
	f, looks := newFaults(t, o.Endpoint), 0
	f.answer = func(op string, _ http.ResponseWriter) bool {
		if op == "BatchGetItem" {
			if looks++; looks == 2 {
				putItem(t, direct, entry)
			}
		}
		return false
	}
	o.Endpoint, o.PollEvery = f.URL, time.Hour
	due, _, err := openTest(t, o).DueDeliveries(t.Context(), "siem", noon, 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, 2, looks)
}

// TestADeliveryIsSettledUnderTheKeyThatItHas, whatever its attributes say.
func TestADeliveryIsSettledUnderTheKeyThatItHas(t *testing.T) {
	s := openTest(t, newTable(t))
	require.NoError(t, invoke(t, s, sampleEvent("alice", "prod", noon)))
	putItem(t, s, merge(deliveryKey("siem", statePending, 0, 1).item(), item{"sink": text("other"), "seq": number(7), "due": number(5)}))
	due, _, err := s.DueDeliveries(t.Context(), "siem", noon, 8)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.NoError(t, s.ClaimDelivery(t.Context(), due[0], noon, noon.Add(time.Minute)))
	require.NoError(t, s.SettleDelivery(t.Context(), due[0], breakglass.DeliveryOutcome{Delivered: true}))
	n, err := s.DropDeliveries(t.Context(), "siem")
	require.NoError(t, err)
	require.Zero(t, n)
}

// TestSinksDoNotShareAPartition, nor must a sink be configured to be found.
func TestSinksDoNotShareAPartition(t *testing.T) {
	o := newTable(t)
	s := openTest(t, o)
	names := []string{"siem", "siem#p", "siem%23p", "sec ops"}
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error {
		return tx.Append(breakglass.LogEntry{Timestamp: noon, Event: breakglass.EntryDenied, Actor: "a"}, nil, names)
	}))
	partitions := map[string]bool{}
	for k := range items(t, o) {
		if _, _, _, ok := parseDelivery(k.sk); ok {
			partitions[k.pk] = true
		}
	}
	require.Len(t, partitions, len(names))
	other := openTest(t, o) // it has never heard of them
	sinks, err := other.everySink(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, names, sinks)
	counts, err := other.DeliveryCounts(t.Context())
	require.NoError(t, err)
	require.Len(t, counts, len(names))
	for _, name := range names {
		require.Equal(t, breakglass.DeliveryCount{Pending: 1, Oldest: noon}, counts[name], name)
		n, err := other.DropDeliveries(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, 1, n, name)
	}
}

// TestASinkIsKnownBeforeItsFirstDelivery: when that fails nothing is written.
func TestASinkIsKnownBeforeItsFirstDelivery(t *testing.T) {
	o := newTable(t)
	direct := openTest(t, o)
	f := newFaults(t, o.Endpoint)
	f.answer = func(op string, w http.ResponseWriter) bool {
		if op != "PutItem" {
			return false
		}
		sayNo(w, "AccessDeniedException", "not you")
		return true
	}
	o.Endpoint, o.PollEvery = f.URL, time.Hour
	require.Error(t, invoke(t, openTest(t, o), sampleEvent("alice", "prod", noon)))
	head, err := direct.Head(t.Context())
	require.NoError(t, err)
	require.Zero(t, head)
}

// many puts deliveries of entries that needn't exist.
func many(t *testing.T, s *Store, n int, dead bool) {
	t.Helper()
	b := newBatcher(s)
	require.NoError(t, b.put(t.Context(), sinkItem("siem")))
	for i := range n {
		require.NoError(t, b.put(t.Context(), deliveryItem(breakglass.Delivery{Sink: "siem", Dead: dead, Attempts: 3,
			Entry: breakglass.LogEntry{Seq: int64(i + 1)}, NextAttempt: fromMicros(0)})))
	}
	require.NoError(t, b.flush(t.Context()))
}

func TestCountingIsBounded(t *testing.T) {
	s := openTest(t, newTable(t))
	many(t, s, 2500, true)
	n, err := s.countDead(t.Context(), "siem", 10_000)
	require.NoError(t, err)
	require.EqualValues(t, 2500, n, "over several pages")
	n, err = s.countDead(t.Context(), "siem", 1500)
	require.NoError(t, err)
	require.EqualValues(t, 1500, n)
}

// TestDeadLettersAreRevivedInFewTransactions, although another transaction is in
// the way of one, and somebody else has revived some.
func TestDeadLettersAreRevivedInFewTransactions(t *testing.T) {
	o := newTable(t)
	direct := openTest(t, o)
	many(t, direct, 120, true)
	f := newFaults(t, o.Endpoint)
	transactions := 0
	f.answer = func(op string, w http.ResponseWriter) bool {
		if op != "TransactWriteItems" {
			return false
		}
		switch transactions++; transactions {
		case 1:
			sayNo(w, "TransactionCanceledException", "conflict", "TransactionConflict", "None")
			return true
		case 3: // somebody else is at it
			d := breakglass.Delivery{Sink: "siem", Dead: true, Entry: breakglass.LogEntry{Seq: 60}, NextAttempt: fromMicros(0)}
			require.NoError(t, direct.move(t.Context(), d, revived(d)))
		}
		return false
	}
	o.Endpoint, o.PollEvery = f.URL, time.Hour
	n, err := openTest(t, o).RetryDead(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 119, n)
	require.Equal(t, 1+3+50, transactions, "a repetition, and one batch of three one by one")
	var left []breakglass.Delivery
	require.NoError(t, direct.deliveries(t.Context(), "siem", "", 1000, func(d breakglass.Delivery, _ item) (bool, error) {
		left = append(left, d)
		return true, nil
	}))
	require.Len(t, left, 120)
	require.False(t, slices.ContainsFunc(left, func(d breakglass.Delivery) bool { return d.Dead || d.Attempts > 0 }))
}
