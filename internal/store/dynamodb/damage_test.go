package dynamodb

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// together runs the functions so that they share a group: the committer is held
// until all of them wait.
func together(t *testing.T, s *Store, all ...func() error) []error {
	t.Helper()
	errs := make([]error, len(all))
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var once sync.Once
		_ = s.Update(t.Context(), breakglass.Keys{}, func(breakglass.Tx) error {
			once.Do(func() { close(held) })
			<-hold
			return errors.New("nothing to do")
		})
	})
	<-held
	for i, f := range all {
		wg.Go(func() { errs[i] = f() })
	}
	require.Eventually(t, func() bool { return len(s.requests) == len(all) }, 10*time.Second, time.Millisecond)
	close(hold)
	wg.Wait()
	return errs
}

// TestADamagedGuardIsTheTroubleOfThoseWhoNeedIt: the rest of the group commits.
func TestADamagedGuardIsTheTroubleOfThoseWhoNeedIt(t *testing.T) {
	for name, lay := range map[string]func(t *testing.T, s *Store){
		"the user's history": func(t *testing.T, s *Store) {
			plant(t, s, merge(userKey("mallory").item(), item{"stamps": blob([]byte{1}), attrRev: number(7)}))
		},
		"a page of it": func(t *testing.T, s *Store) {
			h := &history{}
			for i := range int64(historyKept) {
				h.add(micros(noon.Add(-time.Hour)) + i)
			}
			plant(t, s, merge(userKey("mallory").item(), merge(h.encode(), item{attrRev: number(7)})))
		},
		"the pair": func(t *testing.T, s *Store) {
			plant(t, s, merge(pairKey("mallory", "prod").item(), item{"active_event": &types.AttributeValueMemberM{Value: item{"event_id": text("x")}}, attrRev: number(7)}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, newTable(t))
			lay(t, s)
			ask := func(who string) func() error {
				e := sampleEvent(who, "prod", noon)
				return func() error {
					return s.Update(t.Context(), breakglass.Keys{Invoker: who, Profile: "prod"}, func(tx breakglass.Tx) error {
						if _, err := tx.FindActiveByInvokerAndProfile(who, "prod"); err != nil {
							return err
						}
						if _, err := tx.CountByInvokerSince(who, noon.Add(-24*time.Hour), 1000); err != nil {
							return err
						}
						return tx.PutEvent(e)
					})
				}
			}
			blind := func() error { // writes without a look
				return s.Update(t.Context(), breakglass.Keys{Invoker: "mallory", Profile: "prod"}, func(tx breakglass.Tx) error {
					return tx.PutEvent(sampleEvent("mallory", "prod", noon))
				})
			}
			errs := together(t, s, ask("alice"), ask("mallory"), ask("bob"), blind, ask("carol"))
			require.NoError(t, errors.Join(errs[0], errs[2], errs[4]))
			require.ErrorIs(t, errs[1], errDamaged)
			if name != "a page of it" { // which only a count needs
				require.ErrorIs(t, errs[3], errDamaged)
			}
			var told *breakglass.Error
			require.ErrorAs(t, errs[1], &told)
			require.False(t, told.Temporary, "trying again doesn't help")
			require.NotContains(t, told.Message, "mallory")
		})
	}
}

// TestAPairThatLagsBehindItsEventHeals: after a restore or a replication of
// single items a pair may have another revision of its event than the event.
func TestAPairThatLagsBehindItsEventHeals(t *testing.T) {
	next := func(s *Store) error {
		return s.Update(t.Context(), breakglass.Keys{Invoker: "alice", Profile: "prod"}, func(tx breakglass.Tx) error {
			old, err := tx.FindActiveByInvokerAndProfile("alice", "prod")
			if err != nil {
				return err
			}
			if old != nil {
				old.Status = breakglass.StatusExpired
				if err := tx.PutEvent(*old); err != nil {
					return err
				}
			}
			return tx.PutEvent(sampleEvent("alice", "prod", noon.Add(2*time.Hour)))
		})
	}
	for name, change := range map[string]func(t *testing.T, s *Store, it item){
		"the event is newer": func(t *testing.T, s *Store, it item) { plant(t, s, merge(it, item{attrRev: number(9)})) },
		"and has ended": func(t *testing.T, s *Store, it item) {
			plant(t, s, merge(it, item{attrRev: number(9), attrStatus: text(string(breakglass.StatusClosed))}))
		},
		"the event is older": func(t *testing.T, s *Store, it item) {
			p := stored(t, s, pairKey("alice", "prod"))
			p["active_event"].(*types.AttributeValueMemberM).Value[attrRev] = number(9)
			plant(t, s, p)
		},
		"the event is missing": func(t *testing.T, s *Store, it item) {
			_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: keyOf(it).item()})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTable(t)
			o.Patience = 3 * time.Second
			s := openTest(t, o)
			e := sampleEvent("alice", "prod", noon)
			require.NoError(t, invoke(t, s, e))
			change(t, s, stored(t, s, eventKey(e.ID)))
			require.NoError(t, next(s))
			require.NoError(t, next(s), "and it is whole again")
			h := &history{}
			require.NoError(t, h.decode(stored(t, s, userKey("alice"))))
			require.Len(t, h.stamps, 3, "each event counts once")
			it, err := s.Event(t.Context(), e.ID)
			require.NoError(t, err)
			want := breakglass.StatusExpired
			if name == "and has ended" {
				want = breakglass.StatusClosed
			}
			require.Equal(t, want, it.Status, fmt.Sprint(it))
		})
	}
}
