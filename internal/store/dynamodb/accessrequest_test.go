package dynamodb

import (
	"errors"
	"testing"
	"time"

	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// TestOpenRequestsThatLagBehindHeal: after a restore or a replication of single
// items a pair may have another revision of a request than the request.
func TestOpenRequestsThatLagBehindHeal(t *testing.T) {
	pair := breakglass.Pair{Person: "alice", Profile: "prod"}
	next := func(s *Store) error {
		return s.Update(t.Context(), breakglass.Keys{Requests: pair}, func(tx breakglass.Tx) error {
			open, err := tx.FindOpenRequests(pair)
			if err != nil {
				return err
			}
			if open.Pending != nil {
				open.Pending.Status = breakglass.RequestExpired
				if err := tx.PutAccessRequest(*open.Pending); err != nil {
					return err
				}
			}
			return tx.PutAccessRequest(sampleRequest("alice", "prod", noon.Add(2*time.Hour)))
		})
	}
	for name, change := range map[string]func(t *testing.T, s *Store, it item){
		"the request is newer": func(t *testing.T, s *Store, it item) { plant(t, s, merge(it, item{attrRev: number(9)})) },
		"and has ended": func(t *testing.T, s *Store, it item) {
			plant(t, s, merge(it, item{attrRev: number(9), attrStatus: text(marked(string(breakglass.RequestDenied)))}))
		},
		"the request is older": func(t *testing.T, s *Store, it item) {
			p := stored(t, s, requestsKey(pair))
			p["pending"].(*types.AttributeValueMemberM).Value[attrRev] = number(9)
			plant(t, s, p)
		},
		"the request is missing": func(t *testing.T, s *Store, it item) {
			_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: keyOf(it).item()})
			require.NoError(t, err)
		},
		"the pair has lost it": func(t *testing.T, s *Store, it item) {
			_, err := s.client.DeleteItem(t.Context(), &ddb.DeleteItemInput{TableName: &s.opts.Table, Key: requestsKey(pair).item()})
			require.NoError(t, err)
			require.NoError(t, s.Update(t.Context(), breakglass.Keys{RequestID: str(it["access_request_id"])}, func(tx breakglass.Tx) error {
				r, err := tx.AccessRequest(str(it["access_request_id"]))
				r.Status = breakglass.RequestExpired
				return errors.Join(err, tx.PutAccessRequest(r))
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTable(t)
			o.Patience = 3 * time.Second
			s := openTest(t, o)
			r := sampleRequest("alice", "prod", noon)
			require.NoError(t, putRequest(t, s, r))
			change(t, s, stored(t, s, requestKey(r.ID)))
			require.NoError(t, next(s))
			require.NoError(t, next(s), "and it is whole again")
			got, err := s.AccessRequest(t.Context(), r.ID)
			require.NoError(t, err)
			want := breakglass.RequestExpired
			if name == "and has ended" {
				want = breakglass.RequestDenied
			}
			require.Equal(t, want, got.Status)
			tasks, err := s.Agenda(t.Context(), 10)
			require.NoError(t, err)
			require.Len(t, tasks, 1, "the one that is open")
		})
	}
}

// TestADamagedGuardOfRequestsIsTheTroubleOfThoseWhoNeedIt and of nobody else, in
// a transaction and before one.
func TestADamagedGuardOfRequestsIsTheTroubleOfThoseWhoNeedIt(t *testing.T) {
	s := openTest(t, newTable(t))
	mallory := breakglass.Pair{Person: "mallory", Profile: "prod"}
	plant(t, s, merge(requestsKey(mallory).item(), item{"pending": &types.AttributeValueMemberM{Value: item{"access_request_id": text("x")}}, attrRev: number(7)}))
	ask := func(who string) func() error {
		return func() error { return putRequest(t, s, sampleRequest(who, "prod", noon)) }
	}
	errs := together(t, s, ask("alice"), ask("mallory"), ask("bob"))
	require.NoError(t, errors.Join(errs[0], errs[2]))
	require.ErrorIs(t, errs[1], errDamaged)
	_, err := s.Standing(t.Context(), mallory)
	require.ErrorIs(t, err, errDamaged)
	standing, err := s.Standing(t.Context(), breakglass.Pair{Person: "alice", Profile: "prod"})
	require.NoError(t, err)
	require.NotNil(t, standing.Pending)
}

// TestNoEventHasTheIndexValuesOfARequest: names and profiles are checked where
// they come in, and these fail the check.
func TestNoEventHasTheIndexValuesOfARequest(t *testing.T) {
	require.NotEmpty(t, breakglass.CheckName(marked("alice")))
	require.NotEmpty(t, breakglass.CheckPersonName(marked("alice")))
	for _, s := range breakglass.RequestStatuses() {
		require.NotContains(t, listedEvents.states, marked(string(s)))
	}
}

// TestAnUnfinishedImportIsNoStanding: nothing is said about a table that is being filled.
func TestAnUnfinishedImportIsNoStanding(t *testing.T) {
	s := openTest(t, newTable(t))
	plant(t, s, merge(keyHead.item(), item{attrImport: text("run")}))
	_, err := s.Standing(t.Context(), breakglass.Pair{Person: "alice", Profile: "prod"})
	require.ErrorIs(t, err, ErrImporting)
}
