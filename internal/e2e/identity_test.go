package e2e

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// A person is one person in every spelling, to configuration, policy, stacking,
// quotas, ownership and filters alike.
func TestASecondSpellingGetsRoundNothing(t *testing.T) {
	limits := "version: \"1\"\nrules:\n  - {name: two, profiles: [], max_per_user: 2, quota_window: 24h}\n"
	c := newConfig(t, t.TempDir(), allowing(`"DANA@Example.com"`), limits)
	dana := c.Auth.Tokens[2]
	dana.Name = "Dana@Example.com"
	c.Auth.Tokens[2] = dana
	as := user(0) // whose token that was
	s := start(t, c)

	me := decode[struct {
		Name string
		Via  string `json:"authenticated_by"`
	}](t, s.http.must(t, http.StatusOK, as, http.MethodGet, "/v1/whoami", ""))
	assert.Equal(t, "dana@example.com", me.Name)
	assert.Equal(t, "token", me.Via)

	spellings := []string{"dana@example.com", "DANA@EXAMPLE.COM", "ｄａｎａ@example.com", "Dana＠example.com"}
	first := decode[breakglass.View](t, s.http.must(t, http.StatusCreated, as, http.MethodPost, "/v1/breakglass", invocation("prod", 600)))
	for _, spelling := range spellings {
		a := s.http.must(t, http.StatusConflict, "bot", http.MethodPost, "/v1/breakglass", invokedFor(spelling, "prod"))
		assert.Equal(t, "already_active", a.code(), spelling)
		own := decode[struct{ Items []breakglass.View }](t, s.http.must(t, http.StatusOK, as, http.MethodGet, "/v1/breakglass?invoker="+url.QueryEscape(spelling), ""))
		require.Len(t, own.Items, 1, spelling)
		assert.Equal(t, first.ID, own.Items[0].ID)
		feed := decode[struct{ Items []breakglass.LogEntry }](t, s.http.must(t, http.StatusOK, "sam", http.MethodGet, "/v1/events?event=breakglass.invoked&invoker="+url.QueryEscape(spelling), ""))
		assert.Len(t, feed.Items, 1, spelling)
	}
	s.http.must(t, http.StatusCreated, "bot", http.MethodPost, "/v1/breakglass", invokedFor(spellings[1], "staging"))
	_, err := s.http.close(t.Context(), as, first.ID)
	require.NoError(t, err)
	for _, spelling := range spellings {
		a := s.http.must(t, http.StatusTooManyRequests, "bot", http.MethodPost, "/v1/breakglass", invokedFor(spelling, "prod"))
		assert.Equal(t, "rate_limited", a.code(), spelling)
	}
	for _, lookalike := range []string{"dаna@example.com", "dana\u200b@example.com", "dana@example.com\u202e"} {
		a := s.http.must(t, http.StatusUnprocessableEntity, "bot", http.MethodPost, "/v1/breakglass", invokedFor(lookalike, "prod"))
		assert.Equal(t, "invalid_request", a.code())
	}
}

func invokedFor(invoker, profile string) string {
	return `{"profile":"` + profile + `","reason_code":"incident","justification":"` + justification + `","duration_seconds":600,"invoker":"` + invoker + `"}`
}

// An admin's reload takes effect before the answer, and a broken file leaves
// the last good one in force.
func TestAnAdminHasTheRulesReadAgain(t *testing.T) {
	c := newConfig(t, t.TempDir(), allowing(user(0)), "")
	c.Roles.Admin = authn.Members{Users: []string{user(1)}}
	s := start(t, c)
	type reloaded struct {
		Items []struct {
			File, SHA256, Detail string
			OK                   bool
		}
	}
	reload := func() reloaded {
		return decode[reloaded](t, s.http.must(t, http.StatusOK, user(1), http.MethodPost, "/v1/admin/reload", ""))
	}
	s.http.must(t, http.StatusForbidden, "sam", http.MethodPost, "/v1/admin/reload", "")
	s.http.must(t, http.StatusForbidden, user(2), http.MethodPost, "/v1/breakglass", invocation("prod", 600))
	replace(t, c.PolicyFile, allowing(user(2)))
	good := reload()
	require.Len(t, good.Items, 1)
	assert.True(t, good.Items[0].OK)
	s.http.must(t, http.StatusCreated, user(2), http.MethodPost, "/v1/breakglass", invocation("prod", 600))

	replace(t, c.PolicyFile, "version: [")
	bad := reload()
	assert.False(t, bad.Items[0].OK)
	assert.Equal(t, good.Items[0].SHA256, bad.Items[0].SHA256)
	assert.NotContains(t, bad.Items[0].Detail, c.PolicyFile, "paths and causes are in the log")
	s.http.must(t, http.StatusCreated, user(2), http.MethodPost, "/v1/breakglass", invocation("staging", 600))
}
