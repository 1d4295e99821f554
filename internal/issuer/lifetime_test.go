package issuer

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"breakglass/internal/breakglass"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// generousSTS answers AssumeRole with credentials that end when the caller of
// generousSTS says, whatever was asked for.
func generousSTS(t testing.TB, expiration func(askedSeconds int) time.Time, seen func(policy string, seconds int)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("Action") == "GetCallerIdentity" {
			_, _ = w.Write([]byte(`<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/server</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`))
			return
		}
		seconds, _ := strconv.Atoi(r.FormValue("DurationSeconds"))
		seen(r.FormValue("Policy"), seconds)
		_, _ = w.Write([]byte(assumeRoleAnswer("ASIAEXAMPLE", "secret", "token", expiration(seconds).UTC().Format(time.RFC3339Nano))))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func assumeRoleAnswer(key, secret, token, expiration string) string {
	return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>` + key +
		`</AccessKeyId><SecretAccessKey>` + secret + `</SecretAccessKey><SessionToken>` + token + `</SessionToken><Expiration>` +
		expiration + `</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
}

// policyEnd is when the session policy begins to deny everything.
func policyEnd(t testing.TB, policy string) time.Time {
	t.Helper()
	require.LessOrEqual(t, len(policy), maxPolicyLength)
	var doc policyDocument
	require.NoError(t, json.Unmarshal([]byte(policy), &doc))
	for _, s := range doc.Statement {
		if text, ok := s.Condition["DateGreaterThanEquals"]["aws:CurrentTime"]; ok {
			assert.Equal(t, policyStatement{Effect: "Deny", Action: "*", Resource: "*", Condition: s.Condition}, s)
			end, err := time.Parse(policyTime, text)
			require.NoError(t, err)
			return end
		}
	}
	require.Fail(t, "no statement ends the session", policy)
	return time.Time{}
}

// randomGrant is a grant by any link, usually with time left, often around STS's
// minimum, and sometimes on the verge of its end or beyond it.
func randomGrant(rnd *rand.Rand, now time.Time) breakglass.Grant {
	left := time.Duration(rnd.Int64N(int64(15 * time.Hour)))
	switch rnd.IntN(4) {
	case 0:
		left = time.Duration(rnd.Int64N(int64(20 * time.Minute)))
	case 1:
		left = time.Duration(rnd.Int64N(int64(6*time.Second))) - 2*time.Second
	}
	links := breakglass.Links()
	g := grantBy(links[rnd.IntN(len(links))], now.Add(left).Truncate(time.Microsecond))
	switch {
	case g.Link == breakglass.LinkPolicy && rnd.IntN(2) == 0:
		g.Until = time.Time{} // for good: only the session ends
	case rnd.IntN(2) == 0:
		g.Until = g.Ends.Add(time.Duration(rnd.Int64N(int64(8 * time.Hour)))) // a rule makes the session shorter
	}
	return g
}

// The event of the name stands for each link: no grant is outlived.
func TestPromise05CredentialsNeverOutliveTheEvent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 5))
	var now, sessionEnds, denyFrom time.Time
	var asked, calls, issued int
	a := newIssuer(t, generousSTS(t, func(seconds int) time.Time {
		// AWS's clock is its own: up to a minute off, and with fractions.
		sessionEnds = now.Add(time.Duration(seconds)*time.Second + time.Duration(rnd.Int64N(int64(2*time.Minute))) - time.Minute)
		return sessionEnds
	}, func(policy string, seconds int) {
		calls++
		denyFrom, asked = policyEnd(t, policy), seconds
	}))

	base := time.Date(2026, 11, 23, 22, 0, 0, 0, time.FixedZone("somewhere", -5*3600))
	for range 600 {
		now = base.Add(time.Duration(rnd.Int64N(int64(400 * 24 * time.Hour)))).Truncate(time.Microsecond)
		g := randomGrant(rnd, now)
		p := testProfile()
		p.MaxSession = time.Duration(rnd.Int64N(int64(13 * time.Hour)))
		about := fmt.Sprintf("%s, now %s, ends %s, max_session %s", g.Link, now, g.Ends, p.MaxSession)

		got, err := a.Issue(context.Background(), p, g, now)
		made, devErr := Dev{}.Issue(context.Background(), p, g, now)
		end := g.Ends.Truncate(time.Second)
		if end.Sub(now) < time.Second {
			require.Equal(t, breakglass.CodeInvalidTransition, asError(t, err).Code, about)
			require.Equal(t, asError(t, err), asError(t, devErr), about)
			require.Equal(t, issued, calls, "AWS was asked: %s", about)
			continue
		}
		issued++
		require.NoError(t, err, about)
		require.NoError(t, devErr, about)
		require.Equal(t, issued, calls, about)
		for _, c := range []breakglass.Credentials{got, made} {
			require.False(t, c.Expiration.After(g.Ends), "%s credentials until %s: %s", c.Issuer, c.Expiration, about)
			require.True(t, c.Expiration.After(now), about)
			require.Equal(t, time.UTC, c.Expiration.Location())
			require.Zero(t, c.Expiration.Nanosecond())
		}
		require.False(t, got.Expiration.After(sessionEnds), "the expiration given out is after STS's own: %s", about)
		require.True(t, denyFrom.Equal(end), "the policy denies from %s: %s", denyFrom, about)
		require.GreaterOrEqual(t, asked, minSession)
		require.LessOrEqual(t, asked, int(roleMaximum(p)))
		require.LessOrEqual(t, asked, maxSession)
		require.LessOrEqual(t, asked, max(minSession, int(g.Ends.Sub(now)/time.Second)), "asked for more than is left: %s", about)
	}
	require.Greater(t, issued, 300)
	require.Less(t, issued, 600)
}

func dev(t testing.TB, p breakglass.Profile, g breakglass.Grant, now time.Time) breakglass.Credentials {
	t.Helper()
	c, err := Dev{}.Issue(context.Background(), p, g, now)
	require.NoError(t, err)
	return c
}

func TestDevKeysSayThatTheyOpenNothing(t *testing.T) {
	now := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	g := testGrant(now.Add(90 * time.Minute))
	p := testProfile()
	c, other := dev(t, p, g, now), dev(t, p, g, now)
	assert.Equal(t, "dev", c.Issuer)
	assert.Regexp(t, `^ASIADEVELOPMENT[A-Z2-7]{5}$`, c.AccessKeyID)
	assert.Regexp(t, `^dev-secret-not-valid-at-aws-`, c.SecretAccessKey)
	assert.Regexp(t, `^dev-token-not-valid-at-aws-`, c.SessionToken)
	assert.NotEqual(t, c.SecretAccessKey, other.SecretAccessKey)
	assert.Equal(t, g.Ends, c.Expiration)
	assert.Equal(t, "alice@example.com."+testGrantID, c.RoleSessionName)
	assert.Equal(t, c.RoleSessionName, c.SourceIdentity)

	p.MaxSession, p.SourceIdentity = 0, false
	c = dev(t, p, g, now)
	assert.Equal(t, now.Add(time.Hour), c.Expiration, "a session ends with the role's maximum, as at AWS")
	assert.Empty(t, c.SourceIdentity)
}

func TestSessionPolicyFitsAndIsCompact(t *testing.T) {
	policy := sessionPolicy(time.Date(2026, 1, 2, 15, 4, 5, 999, time.FixedZone("east", 3600)))
	assert.Less(t, len(policy), 400)
	assert.Contains(t, policy, `"aws:CurrentTime":"2026-01-02T14:04:05Z"`)
	assert.NotContains(t, policy, " ")
}
