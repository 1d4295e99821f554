package app

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/config"
)

// asked is a database with an access request that waits, one that is approved,
// and one whose approval was withdrawn, and with an event that was extended.
func asked(t *testing.T) config.Config {
	t.Helper()
	c, err := DevConfig("127.0.0.1:0", t.TempDir())
	require.NoError(t, err)
	now := time.Now().Add(-time.Minute)
	a, err := New(t.Context(), c, Options{Now: func() time.Time { return now }})
	require.NoError(t, err)
	person := func(name string) breakglass.Principal {
		return breakglass.Principal{Name: name, Groups: devPeople[name]}
	}
	request := func(name, profile string) string {
		r, err := a.service.Request(t.Context(), person(name), breakglass.NewRequest{Profile: profile, Justification: "Add the index of INC-4711"})
		require.NoError(t, err)
		return r.ID
	}
	approve := func(id string) {
		r, err := a.service.Approve(t.Context(), person("sam"), id, "", "")
		require.NoError(t, err)
		require.Equal(t, breakglass.RequestApproved, r.Status)
	}
	request("alice", "prod")
	approve(request("bob", "prod"))
	withdrawn := request("bot", "prod")
	approve(withdrawn)
	_, err = a.service.Deny(t.Context(), person("sam"), withdrawn, "on second thought", "")
	require.NoError(t, err)
	ev, err := a.service.Invoke(t.Context(), person("alice"), breakglass.Invocation{Profile: "prod", ReasonCode: "incident", Justification: "Primary DB down, INC-4711"})
	require.NoError(t, err)
	_, err = a.service.Extend(t.Context(), person("alice"), ev.ID, breakglass.Extension{Justification: "The restore takes longer", Duration: time.Minute})
	require.NoError(t, err)
	require.NoError(t, a.close())
	return c
}

func TestApprovalsThatTheTrailDoesNotExplainAreSeenAtStart(t *testing.T) {
	for name, c := range map[string]struct{ change, problem string }{
		"nothing":                {"", ""},
		"an approval by nobody":  {`UPDATE access_requests SET status = 'approved', approved_at = created_at WHERE status = 'pending'`, "is approved without an entry request.approved"},
		"a longer one":           {`UPDATE access_requests SET expires_at = expires_at + 3600000000 WHERE status = 'approved'`, "has another end than its entry request.approved"},
		"a withdrawn one":        {`UPDATE access_requests SET status = 'approved' WHERE status = 'denied'`, "is approved although the trail says that it ended"},
		"an extension by nobody": {`UPDATE events SET expires_at = expires_at + 1000000`, "has another end than its entries"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := asked(t)
			if c.change != "" {
				db, err := sql.Open("sqlite", cfg.Store.SQLite.Path)
				require.NoError(t, err)
				res, err := db.ExecContext(context.Background(), c.change)
				require.NoError(t, err)
				n, err := res.RowsAffected()
				require.NoError(t, err)
				require.EqualValues(t, 1, n)
				require.NoError(t, db.Close())
			}
			log := &logBuffer{}
			a, err := New(t.Context(), cfg, Options{Log: log.logger()})
			require.NoError(t, err, "it works on")
			defer func() { require.NoError(t, a.close()) }()
			check := checkOf(t, a, "audit_trail")
			if c.change == "" {
				assert.NotContains(t, log.String(), `"level":"ERROR"`)
				assert.NotContains(t, check.Detail, "NOT")
				return
			}
			assert.Contains(t, log.String(), c.problem)
			assert.Contains(t, check.Detail, "DOES NOT EXPLAIN 1")
		})
	}
}
