// Package storetest is what every store has to pass. It runs the same cases on
// each engine, through the domain's interfaces alone, and uses the look-ups of a
// transaction the way the service does: check, then write.
package storetest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
	"breakglass/internal/store/transfer"
)

// Store is an engine as the server sees it.
type Store interface {
	breakglass.Store
	breakglass.Journal
	Queue
	Close() error
}

// Queue is the part of a store that the dispatcher of notifications uses.
type Queue interface {
	DueDeliveries(ctx context.Context, sink string, now time.Time, limit int) (due []breakglass.Delivery, next time.Time, err error)
	ClaimDelivery(ctx context.Context, d breakglass.Delivery, now, until time.Time) error
	SettleDelivery(ctx context.Context, d breakglass.Delivery, o breakglass.DeliveryOutcome) error
	DeliveryCounts(ctx context.Context) (map[string]breakglass.DeliveryCount, error)
	RetryDead(ctx context.Context, sink string) (int, error)
	DropDeliveries(ctx context.Context, sink string) (int, error)
}

// Engine is an open, empty store and what else it can do. A case that needs
// what an engine can't do is skipped with a message that says so.
type Engine struct {
	Store
	// Reopen closes the store and opens the same data again.
	Reopen func(t *testing.T) Store
	// Crash opens the data as they are on disk at this moment, as after kill -9:
	// nothing is closed first.
	Crash func(t *testing.T) Store
	// Replica opens a second handle on the same data, used beside the first.
	Replica func(t *testing.T) Store
	// Dump writes everything that is in the store.
	Dump func(t *testing.T, out io.Writer) (transfer.Header, error)
	// Restore fills an empty store of the same kind with an export and opens it.
	Restore func(t *testing.T, in io.Reader) (Engine, error)
	// Shared says that several servers work on the same data, and share what is
	// to be done by claims.
	Shared bool
	// StaleLists says that Events may lag
	// behind commits, as queries of a DynamoDB index do.
	StaleLists bool
}

// Run runs every case, each on an engine of its own.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := open(t)
			c.run(t, e)
			if !c.closes {
				requireChain(t, e)
			}
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, e Engine)
	// closes says that the case closes the store, and checks the trail itself.
	closes bool
}

func cases() []testCase {
	return append(requestCases(), []testCase{
		{name: "AnEventComesBackAsItWasStored", run: testRoundTrip},
		{name: "AnUnknownEventIsNotFound", run: testNotFound},
		{name: "TimesKeepTheirMicroseconds", run: testPrecision},
		{name: "AnEventCanBeReplaced", run: testReplace},
		{name: "ACountIsWrittenLikeAnyChange", run: testSessionCount},
		{name: "ATransactionWritesAllOrNothing", run: testErrorLeavesNothing},
		{name: "LookUpsSeeTheStateBeforeTheTransaction", run: testOwnWritesInvisible},
		{name: "LookUpsOutsideTheKeysAreRefused", run: testKeys},
		{name: "ConcurrentReadModifyWriteLosesNothing", run: testReadModifyWrite},
		{name: "ACancelledContextEndsTheWait", run: testCancelled},
		{name: "CancellingAtAnyMomentTearsNothingApart", run: testCancelStorm},
		{name: "TheActiveEventIsFound", run: testFindActive},
		{name: "TheLastEventIsFound", run: testFindLast},
		{name: "HistoryIsCountedNewestFirstAndBounded", run: testCounts},
		{name: "OneActiveEventUnderContention", run: testStacking},
		{name: "TheUserQuotaIsExactUnderContention", run: testUserQuota},
		{name: "TheProfileQuotaIsExactUnderContention", run: testProfileQuota},
		{name: "TheCooldownIsExactUnderContention", run: testCooldown},
		{name: "ReplicasKeepTheLimitsTogether", run: testReplicas},
		{name: "EveryFilterListsNewestFirst", run: testFilters},
		{name: "PagesFitTogether", run: testPaging},
		{name: "ACursorIsStableUnderInserts", run: testCursorStable},
		{name: "StatusIsDerivedAtTheMicrosecond", run: testBoundary},
		{name: "TheAgendaIsInTheOrderOfTheMoments", run: testAgenda},
		{name: "ATaskIsDoneByOneServerAtATime", run: testClaim},
		{name: "AnIdempotencyKeyIsKeptPerCaller", run: testIdempotency},
		{name: "OneKeyMakesOneEventUnderContention", run: testIdempotencyRace},
		{name: "AKeyWithoutAnEventIsUsedOnceUnderContention", run: testUseOnce},
		{name: "OldIdempotencyKeysAreForgotten", run: testPurge},
		{name: "ASecondFactorIsKeptPerPerson", run: testFactor},
		{name: "ASecondFactorIsUsedOnceUnderContention", run: testFactorRace},
		{name: "EveryWrongCodeIsCountedUnderContention", run: testFactorCount},
		{name: "TheJournalHasNoGaps", run: testJournalOrder},
		{name: "TheJournalIsFilteredWithoutMissingAny", run: testJournalFilters},
		{name: "ASearchEndsWhereTheTrailsClockReachesItsEnd", run: testJournalUntil},
		{name: "TheLatestEntryTimeNeverFalls", run: testLatestEntryTime},
		{name: "WaitingReadersWake", run: testWait},
		{name: "EntriesKeepEveryField", run: testEntryRoundTrip},
		{name: "ADeliveryIsCommittedWithItsEntry", run: testDeliveries},
		{name: "UrgentDeliveriesComeFirst", run: testUrgentFirst},
		{name: "DeliveriesAreRescheduledInOrder", run: testReschedule},
		{name: "DeadDeliveriesAreKeptAndRetried", run: testDead},
		{name: "DeliveriesAreCounted", run: testDeliveryCounts},
		{name: "DeliveriesOfOneSinkCanBeDropped", run: testDrop},
		{name: "AClaimedDeliveryIsSomebodyElses", run: testClaims},
		{name: "AnExportMovesEverything", run: testTransfer},
		{name: "AnEmptyStoreCanBeMoved", run: testTransferOfNothing},
		{name: "ADamagedExportIsRefused", run: testTransferDamaged},
		{name: "EverythingIsThereAfterReopening", run: testReopen, closes: true},
		{name: "EverythingAcknowledgedIsThereAfterACrash", run: testCrash},
	}...)
}

// start is when the tests happen; they never look at the real clock.
var start = time.Date(2026, time.November, 2, 3, 4, 5, 1000, time.UTC)

// at is a moment after the start.
func at(d time.Duration) time.Time { return start.Add(d) }

func newEvent(invoker, profile string, created time.Time) breakglass.Event {
	return breakglass.Event{
		ID: breakglass.NewID(), Invoker: invoker, RequestedBy: invoker, Profile: profile,
		ReasonCode: breakglass.ReasonIncident, Justification: "the primary database is down",
		DurationSeconds: 3600, Status: breakglass.StatusActive,
		CreatedAt: created, UpdatedAt: created, ExpiresAt: created.Add(time.Hour),
		RequestID: "req-" + breakglass.NewID(), PolicyRule: "oncall",
	}
}

func closedEvent(invoker, profile string, created time.Time) breakglass.Event {
	e := newEvent(invoker, profile, created)
	e.Status = breakglass.StatusClosed
	e.UpdatedAt = created.Add(time.Minute)
	e.ClosedAt, e.ClosedBy, e.ClosedReason = e.UpdatedAt, invoker, "the database is up again"
	return e
}

func pairKeys(e breakglass.Event) breakglass.Keys {
	return breakglass.Keys{Invoker: e.Invoker, Profile: e.Profile}
}

func newEntry(typ breakglass.EntryType, e breakglass.Event, when time.Time) breakglass.LogEntry {
	return breakglass.LogEntry{
		Timestamp: when, Event: typ, EventID: e.ID, RequestID: e.RequestID, Actor: e.Invoker,
		Invoker: e.Invoker, Profile: e.Profile, ReasonCode: e.ReasonCode, Justification: e.Justification,
		Status: e.Status, DurationSeconds: e.DurationSeconds, ExpiresAt: e.ExpiresAt,
	}
}

// put stores events, each in a transaction of its own.
func put(t *testing.T, s Store, events ...breakglass.Event) {
	t.Helper()
	for _, e := range events {
		require.NoError(t, s.Update(t.Context(), pairKeys(e), func(tx breakglass.Tx) error { return tx.PutEvent(e) }))
	}
}

// record appends one entry with its deliveries.
func record(t *testing.T, s Store, entry breakglass.LogEntry, ev *breakglass.Event, sinks ...string) {
	t.Helper()
	require.NoError(t, s.Update(t.Context(), breakglass.Keys{}, func(tx breakglass.Tx) error { return tx.Append(entry, ev, sinks) }))
}

// feed reads the whole trail in pages, the way a reader of /v1/events does.
func feed(t *testing.T, s Store, q breakglass.EntryQuery) []breakglass.LogEntry {
	t.Helper()
	head, err := s.Head(t.Context())
	require.NoError(t, err)
	var all []breakglass.LogEntry
	for q.After < head {
		entries, through, err := s.Entries(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(entries), q.Limit)
		require.Greater(t, through, q.After, "a reader that continues must get on")
		for _, e := range entries {
			require.Greater(t, e.Seq, q.After, "ascending, after the cursor")
			require.LessOrEqual(t, e.Seq, through, "nothing beyond what was searched")
			q.After = e.Seq
		}
		all = append(all, entries...)
		q.After = through
	}
	return all
}

// requireChain checks the whole trail: no gap, every hash in its place.
func requireChain(t *testing.T, s Store) {
	t.Helper()
	prev := audit.GenesisHash
	for i, e := range feed(t, s, breakglass.EntryQuery{Limit: 100}) {
		require.EqualValues(t, i+1, e.Seq, "the sequence has a gap")
		require.Equal(t, prev, e.PrevHash, "entry %d isn't chained to the one before", e.Seq)
		require.Equal(t, audit.Hash(e), e.Hash, "entry %d doesn't have the hash of its content", e.Seq)
		prev = e.Hash
	}
}

// settled runs check until it passes: at once, unless the engine's lists lag.
func settled(t *testing.T, e Engine, check func(c require.TestingT)) {
	t.Helper()
	if !e.StaleLists {
		check(t)
		return
	}
	require.EventuallyWithT(t, func(c *collector) { check(c) }, 10*time.Second, 20*time.Millisecond)
}
