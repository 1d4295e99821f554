package bench

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/store/sqlite/sqlitebench"
)

const (
	credentialRounds = 6
	// credentialsOf is how many people fetch in a round, each once on a profile
	// of their own: nobody uses up their budget.
	credentialsOf = 150
)

// measureCredentials compares what the chain takes with what it can't do
// without: looking at one event over HTTP, and one durable commit by SQL alone of
// the kind of rows that an issuance writes. One caller does one thing after the
// other, so that nothing shares a commit. The issuer is that of development mode.
func measureCredentials(t *testing.T) []row {
	r := row{what: "credentials by an active event", target: 1.5}
	var looks, commits, took []float64
	for i := range credentialRounds {
		look, got := credentialsInTurn(t)
		commit := rawSingleCommit(t, i)
		looks, commits, took = append(looks, look), append(commits, commit), append(took, got)
		r.ratios = append(r.ratios, got/(look+commit))
		t.Logf("round %d: %s of %s and %s", i+1, short(seconds(got)), short(seconds(look)), short(seconds(commit)))
	}
	r.yardstick = fmt.Sprintf("check %s and commit %s", short(seconds(median(looks))), short(seconds(median(commits))))
	r.measured = short(seconds(median(took)))
	return []row{r}
}

// credentialsInTurn returns the mean times of a check and of an issuance.
func credentialsInTurn(t testing.TB) (check, issue float64) {
	t.Helper()
	s := site{dir: scratch(t), users: credentialsOf, profiles: credentialsOf}.start(t)
	defer s.stop()
	c := dial(t, s.addr)
	ids := make([]string, credentialsOf)
	for i := range ids {
		ids[i] = eventID(c.must(t, http.StatusCreated, invocation(user(i), profile(i))))
		require.NotEmpty(t, ids[i])
	}
	timed := func(request func(i int) []byte) float64 {
		begun := time.Now()
		for i := range ids {
			c.must(t, http.StatusOK, request(i))
		}
		return time.Since(begun).Seconds() / credentialsOf
	}
	check = timed(func(i int) []byte { return request(http.MethodGet, "/v1/breakglass/"+ids[i], token(user(i)), "") })
	issue = timed(func(i int) []byte {
		return request(http.MethodPost, "/v1/credentials", token(user(i)), fmt.Sprintf(`{"profile":%q}`, profile(i)))
	})
	return check, issue
}

// rawSingleCommit is the mean time of a durable commit that nobody shares.
func rawSingleCommit(t testing.TB, round int) float64 {
	t.Helper()
	dir := filepath.Join(scratch(t), fmt.Sprint("single-", round))
	require.NoError(t, os.Mkdir(dir, 0o755))
	rate, err := sqlitebench.RawGroupCommit(t.Context(), dir, 1, 2*credentialsOf)
	require.NoError(t, err)
	return 1 / rate
}
