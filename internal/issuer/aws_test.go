package issuer

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const chainedTooLong = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
const roleTooLong = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."

// TestAWS runs against one emulator (the cases follow one another on it).
func TestAWS(t *testing.T) {
	w := emulator(t)
	t.Run("the credentials work and CloudTrail's identity leads to the grant", func(t *testing.T) { testCredentialsWork(t, w) })
	t.Run("what goes over the wire", func(t *testing.T) { testWire(t, w) })
	t.Run("each link of the chain", func(t *testing.T) { testLinks(t, w) })
	t.Run("switched off, SourceIdentity and tags stay away", func(t *testing.T) { testSwitchedOff(t, w) })
	t.Run("DurationSeconds", func(t *testing.T) { testDurationSeconds(t, w) })
	t.Run("chaining is found out once", func(t *testing.T) { testChainingFoundOut(t, w) })
	t.Run("an EC2 instance role is tried with the longer session", func(t *testing.T) { testInstanceRole(t, w) })
	t.Run("a refused length is retried with one hour and remembered", func(t *testing.T) { testLengthLearned(t, w) })
	t.Run("without an answer to who the server is, the longer session is tried", func(t *testing.T) { testIdentityUnknown(t, w) })
}

func identityOf(t *testing.T, endpoint string, c breakglass.Credentials) *sts.GetCallerIdentityOutput {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithCredentialsProvider(
		credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)))
	require.NoError(t, err)
	client := sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = aws.String(endpoint) })
	out, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	return out
}

func testCredentialsWork(t *testing.T, w *wire) {
	now := time.Now().Truncate(time.Second)
	got, err := newIssuer(t, w.URL).Issue(t.Context(), testProfile(), testGrant(now.Add(time.Hour)), now)
	require.NoError(t, err)

	id := identityOf(t, w.moto, got)
	assert.Equal(t, "arn:aws:sts::123456789012:assumed-role/BreakGlass/alice@example.com."+testGrantID, aws.ToString(id.Arn))
	_, session, _ := strings.Cut(aws.ToString(id.UserId), ":")
	holder, grantID, ok := breakglass.ParseSessionName(session)
	assert.True(t, ok)
	assert.Equal(t, "alice@example.com", holder)
	assert.Equal(t, testGrantID, grantID)
	assert.Equal(t, "aws", got.Issuer)
	assert.Equal(t, session, got.RoleSessionName)
	assert.Equal(t, session, got.SourceIdentity)
	assert.NotContains(t, got.String(), got.SecretAccessKey)
}

func testWire(t *testing.T, w *wire) {
	now := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	p := testProfile()
	p.ExternalID = "b7f1-external"
	w.take("")
	_, err := newIssuer(t, w.URL).Issue(t.Context(), p, testGrant(now.Add(30*time.Minute+700*time.Millisecond)), now)
	require.NoError(t, err)

	calls := w.take("AssumeRole")
	require.Len(t, calls, 1)
	in := calls[0]
	assert.Equal(t, testRole, in.Get("RoleArn"))
	assert.Equal(t, "1800", in.Get("DurationSeconds"))
	assert.Equal(t, "alice@example.com."+testGrantID, in.Get("RoleSessionName"))
	assert.Equal(t, "alice@example.com."+testGrantID, in.Get("SourceIdentity"))
	assert.Equal(t, "b7f1-external", in.Get("ExternalId"))
	assert.JSONEq(t, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-23T22:30:00Z"}}}]}`,
		in.Get("Policy"))
	assert.Equal(t, map[string]string{
		"breakglass:granted_by": "breakglass", "breakglass:grant_id": testGrantID, "breakglass:event_id": testGrantID,
		"breakglass:invoker": "alice@example.com", "breakglass:profile": "prod",
		"breakglass:reason_code": "incident", "breakglass:request_id": "req-12345678",
	}, tagsOf(in))
	for key := range in {
		assert.NotContains(t, key, "TransitiveTagKeys")
	}
}

func tagsOf(in url.Values) map[string]string {
	tags := map[string]string{}
	for i := 1; in.Has("Tags.member." + strconv.Itoa(i) + ".Key"); i++ {
		prefix := "Tags.member." + strconv.Itoa(i)
		tags[in.Get(prefix+".Key")] = in.Get(prefix + ".Value")
	}
	return tags
}

func testSwitchedOff(t *testing.T, w *wire) {
	now := time.Now().Truncate(time.Second)
	p := testProfile()
	p.SourceIdentity, p.SessionTags = false, false
	w.take("")
	got, err := newIssuer(t, w.URL).Issue(t.Context(), p, testGrant(now.Add(time.Hour)), now)
	require.NoError(t, err)
	assert.Empty(t, got.SourceIdentity)
	assert.NotEmpty(t, got.RoleSessionName, "the session name always leads to the grant")

	calls := w.take("AssumeRole")
	require.Len(t, calls, 1)
	assert.False(t, calls[0].Has("SourceIdentity"))
	assert.False(t, calls[0].Has("ExternalId"))
	assert.Empty(t, tagsOf(calls[0]))
	assert.NotEmpty(t, calls[0].Get("Policy"), "the exact end can't be switched off")
}

func testDurationSeconds(t *testing.T, w *wire) {
	a := newIssuer(t, w.URL)
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct {
		name       string
		left       time.Duration
		maxSession time.Duration
		want       string
	}{
		{"under STS's minimum", 2 * time.Second, time.Hour, "900"},
		{"a second under the minimum", 899 * time.Second, time.Hour, "900"},
		{"the minimum", 900 * time.Second, time.Hour, "900"},
		{"above the minimum", 901 * time.Second, time.Hour, "901"},
		{"fractions are cut", 1234*time.Second + 999*time.Millisecond, time.Hour, "1234"},
		{"the role's maximum", 4 * time.Hour, 2 * time.Hour, "7200"},
		{"no maximum given: AWS's default of one hour", 4 * time.Hour, 0, "3600"},
		{"a maximum above STS's", 4 * time.Hour, 100 * time.Hour, "14400"},
		{"a maximum under STS's minimum", time.Hour, time.Minute, "900"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testProfile()
			p.MaxSession = c.maxSession
			g := testGrant(now.Add(c.left))
			w.take("")
			got, err := a.Issue(t.Context(), p, g, now)
			require.NoError(t, err)
			calls := w.take("AssumeRole")
			require.Len(t, calls, 1)
			assert.Equal(t, c.want, calls[0].Get("DurationSeconds"))
			assert.False(t, got.Expiration.After(g.Ends), "expiration %s, grant ends %s", got.Expiration, g.Ends)
			seconds, err := strconv.Atoi(c.want)
			require.NoError(t, err)
			want := earlier(g.Ends, now.Add(time.Duration(seconds)*time.Second))
			assert.WithinDuration(t, want, got.Expiration, 5*time.Second)
			assert.Contains(t, calls[0].Get("Policy"), g.Ends.UTC().Truncate(time.Second).Format(time.RFC3339), "the policy ends with the grant, not with the session")
		})
	}
}

// roleKeys are credentials of a role session, made by the emulator itself.
func roleKeys(t *testing.T, w *wire, session string) aws.CredentialsProvider {
	t.Helper()
	client := newIssuer(t, w.moto).client
	out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::123456789012:role/Server"), RoleSessionName: aws.String(session)})
	require.NoError(t, err)
	return credentials.NewStaticCredentialsProvider(
		*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
}

func testChainingFoundOut(t *testing.T, w *wire) {
	keys := roleKeys(t, w, "task-4711")
	a := newIssuer(t, w.URL, func(o *AWSOptions) { o.Credentials = keys })
	clock := time.Now().Truncate(time.Second) // the emulator's clock
	now := clock.Add(-90 * time.Minute)       // ours, so that it can be moved on
	p := testProfile()

	w.take("")
	_, err := a.Issue(t.Context(), p, testGrant(now.Add(time.Hour)), now)
	require.NoError(t, err)
	assert.Empty(t, w.take("GetCallerIdentity"), "asked although an hour is within the limit anyway")

	for range 3 {
		got, err := a.Issue(t.Context(), p, testGrant(now.Add(4*time.Hour)), now)
		require.NoError(t, err)
		assert.WithinDuration(t, clock.Add(time.Hour), got.Expiration, 5*time.Second)
	}
	w.mu.Lock()
	calls := w.calls
	w.calls = nil
	w.mu.Unlock()
	identity := 0
	for _, c := range calls {
		if c.Get("Action") == "GetCallerIdentity" {
			identity++
			continue
		}
		assert.Equal(t, "3600", c.Get("DurationSeconds"))
	}
	assert.Equal(t, 1, identity)
	assert.Len(t, calls, 4)

	_, err = a.Issue(t.Context(), p, testGrant(clock.Add(4*time.Hour)), clock)
	require.NoError(t, err)
	assert.Len(t, w.take("GetCallerIdentity"), 1, "what was learned must be forgotten after a while")
}

func refuseLongSessions(message string) func(url.Values) (int, string, bool) {
	return func(in url.Values) (int, string, bool) {
		seconds, _ := strconv.Atoi(in.Get("DurationSeconds"))
		if in.Get("Action") == "AssumeRole" && seconds > 3600 {
			return http.StatusBadRequest, stsError("ValidationError", message), true
		}
		return 0, "", false
	}
}

func durations(calls []url.Values) []string {
	var d []string
	for _, c := range calls {
		d = append(d, c.Get("DurationSeconds"))
	}
	return d
}

func testInstanceRole(t *testing.T, w *wire) {
	keys := roleKeys(t, w, "i-0123456789abcdef0")
	a := newIssuer(t, w.URL, func(o *AWSOptions) { o.Credentials = keys })
	now := time.Now().Truncate(time.Second)
	w.take("")
	_, err := a.Issue(t.Context(), testProfile(), testGrant(now.Add(2*time.Hour)), now)
	require.NoError(t, err)
	assert.Equal(t, []string{"7200"}, durations(w.take("AssumeRole")))

	w.setFault(refuseLongSessions(chainedTooLong))
	defer w.setFault(nil)
	_, err = a.Issue(t.Context(), testProfile(), testGrant(now.Add(2*time.Hour)), now)
	require.NoError(t, err)
	assert.Equal(t, []string{"7200", "3600"}, durations(w.take("AssumeRole")))
}

func testLengthLearned(t *testing.T, w *wire) {
	for _, message := range []string{chainedTooLong, roleTooLong} {
		var logged strings.Builder
		a := newIssuer(t, w.URL, func(o *AWSOptions) { o.Log = slog.New(slog.NewTextHandler(&logged, nil)) })
		now := time.Now().Truncate(time.Second)
		w.take("")
		w.setFault(refuseLongSessions(message))
		g := testGrant(now.Add(4 * time.Hour))
		got, err := a.Issue(t.Context(), testProfile(), g, now)
		require.NoError(t, err)
		assert.WithinDuration(t, now.Add(time.Hour), got.Expiration, 5*time.Second)
		assert.Equal(t, []string{"14400", "3600"}, durations(w.take("AssumeRole")))
		assert.Contains(t, logged.String(), "one hour only")
		assert.NotContains(t, logged.String(), got.SecretAccessKey)

		_, err = a.Issue(t.Context(), testProfile(), g, now.Add(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, []string{"3600"}, durations(w.take("AssumeRole")), "the limit of the role was not remembered")

		other := testProfile()
		other.RoleARN = "arn:aws:iam::123456789012:role/Other"
		w.setFault(nil)
		_, err = a.Issue(t.Context(), other, g, now)
		require.NoError(t, err)
		assert.Equal(t, []string{"14400"}, durations(w.take("AssumeRole")), "one role's limit was taken for another's")

		_, err = a.Issue(t.Context(), testProfile(), testGrant(now.Add(6*time.Hour)), now.Add(time.Hour+time.Second))
		require.NoError(t, err)
		assert.Equal(t, []string{"14400"}, durations(w.take("AssumeRole")), "a raised MaxSessionDuration is never noticed")
	}
}

func testIdentityUnknown(t *testing.T, w *wire) {
	a := newIssuer(t, w.URL)
	now := time.Now().Truncate(time.Second)
	w.take("")
	w.setFault(func(in url.Values) (int, string, bool) {
		return http.StatusInternalServerError, stsError("InternalFailure", ""), in.Get("Action") == "GetCallerIdentity"
	})
	defer w.setFault(nil)
	for range 2 {
		_, err := a.Issue(t.Context(), testProfile(), testGrant(now.Add(2*time.Hour)), now)
		require.NoError(t, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Len(t, w.calls, 4, "the question is asked once each time, without retries, until it is answered")
}

func TestIssueRefusesAGrantThatIsOverWithoutAskingAWS(t *testing.T) {
	endpoint, calls := faultySTS(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	now := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	for name, ends := range map[string]time.Time{
		"over":                  now.Add(-time.Second),
		"ends now":              now,
		"less than a second":    now.Add(999 * time.Millisecond),
		"over when rounded off": now.Add(999999 * time.Microsecond),
		"no end at all":         {},
	} {
		for _, link := range breakglass.Links() {
			for kind, i := range map[string]breakglass.Issuer{"aws": newIssuer(t, endpoint), "dev": Dev{}} {
				got, err := i.Issue(context.Background(), testProfile(), grantBy(link, ends), now)
				e := asError(t, err)
				assert.Zero(t, got)
				assert.Equal(t, breakglass.CodeInvalidTransition, e.Code, "%s %s %s", name, link, kind)
				assert.False(t, e.Temporary, "%s %s %s", name, link, kind)
			}
		}
	}
	assert.Zero(t, calls.Load())
	_, err := Dev{}.Issue(context.Background(), testProfile(), testGrant(now.Add(time.Second)), now)
	assert.NoError(t, err, "a whole second is enough")
}

// testLinks shows what AWS is told for each link of the chain.
func testLinks(t *testing.T, w *wire) {
	now := time.Now().Truncate(time.Second)
	for _, c := range []struct {
		link  breakglass.Link
		extra map[string]string // tags beside those of every link
	}{
		{breakglass.LinkPolicy, nil},
		{breakglass.LinkRequest, nil},
		{breakglass.LinkBreakglass, map[string]string{"breakglass:event_id": testGrantID, "breakglass:reason_code": "incident"}},
	} {
		t.Run(string(c.link), func(t *testing.T) {
			want := map[string]string{"breakglass:granted_by": string(c.link), "breakglass:grant_id": testGrantID,
				"breakglass:invoker": "alice@example.com", "breakglass:profile": "prod", "breakglass:request_id": "req-12345678"}
			maps.Copy(want, c.extra)
			w.take("")
			g := grantBy(c.link, now.Add(time.Hour))
			g.ReasonCode = breakglass.ReasonIncident // of an event only, whatever the grant says
			got, err := newIssuer(t, w.URL).Issue(t.Context(), testProfile(), g, now)
			require.NoError(t, err)
			calls := w.take("AssumeRole")
			require.Len(t, calls, 1)
			assert.Equal(t, want, tagsOf(calls[0]))
			for _, name := range []string{calls[0].Get("RoleSessionName"), calls[0].Get("SourceIdentity"), got.RoleSessionName, got.SourceIdentity} {
				assert.Equal(t, "alice@example.com."+testGrantID, name)
			}
		})
	}
}

func TestNewAWSNeedsARegion(t *testing.T) {
	_, err := NewAWS(t.Context(), AWSOptions{})
	assert.ErrorContains(t, err, "sts.region")
}
