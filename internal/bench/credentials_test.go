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
	credentialRounds = 16
	// credentialsOf is how many people fetch in a round, each on a profile of their
	// own and once at all: nobody uses up their budget.
	credentialsOf = 30
)

// measureCredentials compares what the chain takes with what it can't do
// without: looking at one event over HTTP, and one durable commit by SQL alone of
// the kind of rows that an issuance writes. One caller does one thing after the
// other, so that nothing shares a commit. The issuer is that of development mode.
func measureCredentials(t *testing.T) []row {
	all := credentialRounds * credentialsOf
	s := site{dir: scratch(t), users: all, profiles: all}.start(t)
	defer s.stop()
	c := dial(t, s.addr)
	ids := make([]string, all)
	for i := range ids {
		ids[i] = eventID(c.must(t, http.StatusCreated, invocation(user(i), profile(i))))
		require.NotEmpty(t, ids[i])
	}
	r := row{what: "credentials by an active event", target: 1.5}
	var looks, commits, took []float64
	for round := range credentialRounds {
		mean := func(request func(i int) []byte) float64 {
			begun := time.Now()
			for i := range credentialsOf {
				c.must(t, http.StatusOK, request(round*credentialsOf+i))
			}
			return time.Since(begun).Seconds() / credentialsOf
		}
		look := mean(func(i int) []byte { return request(http.MethodGet, "/v1/breakglass/"+ids[i], token(user(i)), "") })
		commit := rawSingleCommit(t, round)
		got := mean(func(i int) []byte {
			return request(http.MethodPost, "/v1/credentials", token(user(i)), fmt.Sprintf(`{"profile":%q}`, profile(i)))
		})
		looks, commits, took = append(looks, look), append(commits, commit), append(took, got)
		r.ratios = append(r.ratios, got/(look+commit))
		t.Logf("round %d: %s of %s and %s", round+1, short(seconds(got)), short(seconds(look)), short(seconds(commit)))
	}
	r.yardstick = fmt.Sprintf("check %s and commit %s", short(seconds(median(looks))), short(seconds(median(commits))))
	r.measured = short(seconds(median(took)))
	return []row{r}
}

// rawSingleCommit is the mean time of a durable commit that nobody shares.
func rawSingleCommit(t testing.TB, round int) float64 {
	t.Helper()
	dir := filepath.Join(scratch(t), fmt.Sprint("single-", round))
	require.NoError(t, os.Mkdir(dir, 0o755))
	rate, err := sqlitebench.RawGroupCommit(t.Context(), dir, 1, credentialsOf)
	require.NoError(t, err)
	return 1 / rate
}
