package issuer

import (
	"context"
	"encoding/json"
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

func TestPromise05CredentialsNeverOutliveTheEvent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 5))
	var now, sessionEnds, denyFrom time.Time
	var asked int
	a := newIssuer(t, generousSTS(t, func(seconds int) time.Time {
		// AWS's clock is its own: up to a minute off, and with fractions.
		sessionEnds = now.Add(time.Duration(seconds)*time.Second + time.Duration(rnd.Int64N(int64(2*time.Minute))) - time.Minute)
		return sessionEnds
	}, func(policy string, seconds int) { denyFrom, asked = policyEnd(t, policy), seconds }))

	base := time.Date(2026, 11, 23, 22, 0, 0, 0, time.FixedZone("somewhere", -5*3600))
	for i := range 500 {
		now = base.Add(time.Duration(rnd.Int64N(int64(400 * 24 * time.Hour)))).Truncate(time.Microsecond)
		left := time.Duration(rnd.Int64N(int64(breakglass.MaxDuration)))
		if i%3 == 0 {
			left = time.Duration(rnd.Int64N(int64(20 * time.Minute))) // around STS's minimum
		}
		left = max(left, 2*time.Second)
		ev := testEvent(now.Add(left).Truncate(time.Microsecond))
		p := testProfile()
		p.MaxSession = time.Duration(rnd.Int64N(int64(13 * time.Hour)))

		got, err := a.Issue(context.Background(), p, ev, now)
		require.NoError(t, err, "now %s, event ends %s", now, ev.ExpiresAt)
		for _, iss := range []breakglass.Credentials{got, dev(t, p, ev, now)} {
			require.False(t, iss.Expiration.After(ev.ExpiresAt), "%s: %s after %s", iss.Issuer, iss.Expiration, ev.ExpiresAt)
			require.True(t, iss.Expiration.After(now))
			require.Equal(t, time.UTC, iss.Expiration.Location())
			require.Zero(t, iss.Expiration.Nanosecond())
		}
		require.False(t, got.Expiration.After(sessionEnds), "the expiration given out is after STS's own")
		require.False(t, denyFrom.After(ev.ExpiresAt), "the policy denies from %s, the event ends %s", denyFrom, ev.ExpiresAt)
		require.Less(t, ev.ExpiresAt.Sub(denyFrom), time.Second, "the policy ends access more than a second early")
		require.GreaterOrEqual(t, asked, minSession)
		require.LessOrEqual(t, asked, int(roleMaximum(p)))
		require.LessOrEqual(t, asked, maxSession)
	}
}

func dev(t testing.TB, p breakglass.Profile, ev breakglass.Event, now time.Time) breakglass.Credentials {
	t.Helper()
	c, err := Dev{}.Issue(context.Background(), p, ev, now)
	require.NoError(t, err)
	return c
}

func TestDevKeysSayThatTheyOpenNothing(t *testing.T) {
	now := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	ev := testEvent(now.Add(90 * time.Minute))
	p := testProfile()
	c, other := dev(t, p, ev, now), dev(t, p, ev, now)
	assert.Equal(t, "dev", c.Issuer)
	assert.Regexp(t, `^ASIADEVELOPMENT[A-Z2-7]{5}$`, c.AccessKeyID)
	assert.Regexp(t, `^dev-secret-not-valid-at-aws-`, c.SecretAccessKey)
	assert.Regexp(t, `^dev-token-not-valid-at-aws-`, c.SessionToken)
	assert.NotEqual(t, c.SecretAccessKey, other.SecretAccessKey)
	assert.Equal(t, ev.ExpiresAt, c.Expiration)
	assert.Equal(t, "alice@example.com."+testEventID, c.RoleSessionName)
	assert.Equal(t, c.RoleSessionName, c.SourceIdentity)

	p.MaxSession, p.SourceIdentity = 0, false
	c = dev(t, p, ev, now)
	assert.Equal(t, now.Add(time.Hour), c.Expiration, "a session ends with the role's maximum, as at AWS")
	assert.Empty(t, c.SourceIdentity)
}

func TestSessionPolicyFitsAndIsCompact(t *testing.T) {
	policy := sessionPolicy(time.Date(2026, 1, 2, 15, 4, 5, 999, time.FixedZone("east", 3600)))
	assert.Less(t, len(policy), 400)
	assert.Contains(t, policy, `"aws:CurrentTime":"2026-01-02T14:04:05Z"`)
	assert.NotContains(t, policy, " ")
}
