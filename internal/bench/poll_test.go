package bench

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"breakglass/internal/api"
	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
	"breakglass/internal/config"
)

const (
	pollers    = 16
	pollRounds = 50
	pollTime   = 150 * time.Millisecond
	pollStore  = 1000 // entries in the trail
)

// measurePolls compares polls of the feed that find nothing new with an empty
// chi handler behind the same authentication, with the same server settings and
// the same client.
func measurePolls(t *testing.T) []row {
	st := site{dir: scratch(t), users: 200, profiles: pollStore / 2, quota: 20}
	s := st.start(t)
	c := dial(t, s.addr)
	for i := range pollStore {
		c.must(t, http.StatusCreated, invocation(user(i%st.users), profile(i%st.profiles)))
	}
	empty := startEmpty(t, st)
	nothingNew := request(http.MethodGet, fmt.Sprintf("/v1/events?after=%d", pollStore), token(auditor), "")
	require.JSONEq(t, fmt.Sprintf(`{"items":[],"next_cursor":"%d"}`, pollStore), string(c.must(t, http.StatusOK, nothingNew)))

	r := row{what: "polls of the feed, nothing new", target: 0.70, atLeast: true}
	var base, got, baseCPU, gotCPU []float64
	for i := range pollRounds + 4 {
		b := load(t, empty, pollers, pollTime, http.StatusOK, func(int64) []byte { return nothingNew })
		g := load(t, s.addr, pollers, pollTime, http.StatusOK, func(int64) []byte { return nothingNew })
		if i < 4 {
			continue // warm
		}
		base, got, r.ratios = append(base, b.rate()), append(got, g.rate()), append(r.ratios, g.rate()/b.rate())
		baseCPU, gotCPU = append(baseCPU, b.cpuEach()), append(gotCPU, g.cpuEach())
	}
	r.yardstick = fmt.Sprintf("%.0f/s (%s CPU each), empty chi handler, same authentication", median(base), short(seconds(median(baseCPU))))
	r.measured = fmt.Sprintf("%.0f/s (%s CPU each)", median(got), short(seconds(median(gotCPU))))
	return []row{r}
}

// startEmpty serves a handler that authenticates and does nothing else.
func startEmpty(t testing.TB, s site) (addr string) {
	t.Helper()
	c, err := config.Load(s.write(t))
	require.NoError(t, err)
	auth, err := authn.New(c.Auth.Tokens, c.RoleMembers())
	require.NoError(t, err)
	router := chi.NewRouter()
	router.Use(authenticated(auth))
	router.Get("/v1/events", func(http.ResponseWriter, *http.Request) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := api.NewServer(router, slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(l) }() // until Close
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

// authenticated lets known callers through who may read the feed.
func authenticated(auth authn.Authenticator) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := auth.Authenticate(r)
			if err != nil || !p.Is(breakglass.RoleAuditor) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
