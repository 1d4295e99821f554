package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// internals is what AWS's error texts can hold and no answer may repeat.
const internals = "arn:aws:sts::999988887777:assumed-role/internal-server/i-0abc"

// faultySTS answers every request with handler and counts them.
func faultySTS(t testing.TB, handler http.HandlerFunc) (endpoint string, count *atomic.Int32) {
	t.Helper()
	count = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, count
}

func quick(o *AWSOptions) { o.Timeout = time.Second }

func TestRefusalsOfAWSBecomeClearAnswers(t *testing.T) {
	denied := "User: " + internals + " is not authorized to perform: %s on resource: " + testRole
	for _, c := range []struct {
		name, code, message string
		status              int
		temporary           bool
		says                []string
	}{
		{"denied", "AccessDenied", fmt.Sprintf(denied, "sts:AssumeRole"), 403, false, []string{"AccessDenied", "trust policy", "sts:AssumeRole", "external_id"}},
		{"no source identity", "AccessDenied", fmt.Sprintf(denied, "sts:SetSourceIdentity"), 403, false, []string{"sts:SetSourceIdentity", "source_identity: false", "profile prod"}},
		{"no tags", "AccessDenied", fmt.Sprintf(denied, "sts:TagSession"), 403, false, []string{"sts:TagSession", "session_tags: false", "profile prod"}},
		{"SCP", "AccessDenied", fmt.Sprintf(denied, "sts:AssumeRole") + " with an explicit deny in a service control policy", 403, false, []string{"control policy"}},
		{"own token over", "ExpiredTokenException", internals, 403, false, []string{"server's own AWS credentials"}},
		{"own token over, another code", "ExpiredToken", internals, 403, false, []string{"server's own AWS credentials"}},
		{"own key unknown", "InvalidClientTokenId", internals, 403, false, []string{"server's own AWS credentials"}},
		{"own secret wrong", "SignatureDoesNotMatch", internals, 403, false, []string{"clock"}},
		{"region", "RegionDisabledException", internals, 403, false, []string{"sts.region"}},
		{"too large", "PackedPolicyTooLarge", internals, 400, false, []string{"session_tags: false"}},
		{"malformed", "MalformedPolicyDocument", internals, 400, false, []string{"fault of the server"}},
		{"validation", "ValidationError", internals, 400, false, []string{"role_arn"}},
		{"unknown code", "SomethingNew", internals, 400, false, []string{"SomethingNew", "log"}},
		{"hostile code", "Evil\x1b]0;\u202epwned" + strings.Repeat("A", 100), internals, 400, false, []string{"(Evil0pwnedAAA"}},
		{"throttled", "Throttling", "Rate exceeded", 400, true, []string{"throttling", "Throttling"}},
		{"throttled, another code", "ThrottlingException", internals, 400, true, []string{"throttling"}},
		{"throttled by status", "Slow", internals, 429, true, []string{"throttling"}},
		{"failing", "InternalFailure", internals, 500, true, []string{"failing"}},
		{"unavailable", "ServiceUnavailable", internals, 503, true, []string{"failing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			endpoint, count := faultySTS(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, stsError(strings.ReplaceAll(c.code, "\x1b", "&#xfffd;"), c.message))
			})
			p := testProfile()
			p.ExternalID = "external"
			e := issueAndFail(t, newIssuer(t, endpoint, quick), p)
			assert.Equal(t, c.temporary, e.Temporary, e.Message)
			assert.Equal(t, c.temporary, e.RetryAfter > 0, "RetryAfter %s", e.RetryAfter)
			for _, words := range c.says {
				assert.Contains(t, e.Message, words)
			}
			assert.Contains(t, e.Message, "event stays active")
			assert.NotContains(t, e.Message, "999988887777", "AWS's raw text reaches the caller")
			assert.NotContains(t, e.Message, "\u202e")
			if c.temporary {
				assert.EqualValues(t, maxAttempts, count.Load(), "a passing fault is tried again")
			} else {
				assert.EqualValues(t, 1, count.Load(), "a refusal is not tried again")
				assert.ErrorContains(t, e.Cause, c.message, "the log needs AWS's words")
			}
		})
	}
}

// issueAndFail asks for an hour, so that nothing but AssumeRole is called.
func issueAndFail(t *testing.T, a *AWS, p breakglass.Profile) *breakglass.Error {
	t.Helper()
	now := time.Now()
	got, err := a.Issue(t.Context(), p, testGrant(now.Add(time.Hour)), now)
	require.Error(t, err)
	assert.Zero(t, got)
	e := asError(t, err)
	assert.Equal(t, breakglass.CodeCredentialsRefused, e.Code)
	assert.Equal(t, testGrantID, e.EventID)
	assert.NotContains(t, fmt.Sprintf("%+v %v", e, errors.Unwrap(e)), ownSecret)
	return e
}

func TestFaultsOfTheNetworkAreTemporary(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		},
		"cut in the middle": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "<AssumeRoleResponse><AssumeRoleResult>")
		},
		"hang":             func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"garbage with 200": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x00\xff<<<") },
		"empty with 200":   func(http.ResponseWriter, *http.Request) {},
		"HTML with 200": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<html><body>login</body></html>")
		},
		"HTML with 403": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			_, _ = io.WriteString(w, "<html>no</html>")
		},
		"plain text with 502": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			_, _ = io.WriteString(w, "bad gateway")
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"no secret key": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, assumeRoleAnswer("ASIAEXAMPLE", "", "token", "2099-01-01T00:00:00Z"))
		},
		"no time": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, assumeRoleAnswer("ASIAEXAMPLE", "secret", "token", "tomorrow"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint, _ := faultySTS(t, handler)
			start := time.Now()
			e := issueAndFail(t, newIssuer(t, endpoint, quick), testProfile())
			assert.True(t, e.Temporary, "%s: %v", e.Message, e.Cause)
			assert.Positive(t, e.RetryAfter)
			assert.Less(t, time.Since(start), 5*time.Second, "the timeout of one second is not kept")
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		e := issueAndFail(t, newIssuer(t, "http://127.0.0.1:1", quick), testProfile())
		assert.True(t, e.Temporary)
		assert.Contains(t, e.Message, "can't be reached")
	})
}

func TestAFaultThatPassesIsNotSeenByTheCaller(t *testing.T) {
	now := time.Now()
	var n atomic.Int32
	endpoint, _ := faultySTS(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < maxAttempts {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, assumeRoleAnswer("ASIAEXAMPLE", "secret", "token", now.Add(time.Hour).UTC().Format(time.RFC3339)))
	})
	got, err := newIssuer(t, endpoint).Issue(t.Context(), testProfile(), testGrant(now.Add(time.Hour)), now)
	require.NoError(t, err)
	assert.Equal(t, "ASIAEXAMPLE", got.AccessKeyID)
}

func TestOneHangingAttemptLeavesTimeForTheNext(t *testing.T) {
	now := time.Now()
	var n atomic.Int32
	endpoint, _ := faultySTS(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, assumeRoleAnswer("ASIAEXAMPLE", "secret", "token", now.Add(time.Hour).UTC().Format(time.RFC3339)))
	})
	_, err := newIssuer(t, endpoint, quick).Issue(t.Context(), testProfile(), testGrant(now.Add(time.Hour)), now)
	assert.NoError(t, err)
}

func TestCredentialsThatAreOverAlreadyAreRefused(t *testing.T) {
	endpoint, _ := faultySTS(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, assumeRoleAnswer("ASIAEXAMPLE", "secret", "token", "2020-01-01T00:00:00Z"))
	})
	e := issueAndFail(t, newIssuer(t, endpoint), testProfile())
	assert.False(t, e.Temporary)
	assert.Contains(t, e.Message, "clock")
}

func TestACallerWhoGoesAwayEndsTheRequest(t *testing.T) {
	arrived := make(chan struct{}, maxAttempts)
	endpoint, count := faultySTS(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	a := newIssuer(t, endpoint)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	now := time.Now()
	go func() {
		_, err := a.Issue(ctx, testProfile(), testGrant(now.Add(time.Hour)), now)
		done <- err
	}()
	<-arrived
	cancel()
	select {
	case err := <-done:
		assert.ErrorIs(t, err, context.Canceled)
		assert.True(t, asError(t, err).Temporary)
		assert.Contains(t, asError(t, err).Message, "given up")
	case <-time.After(5 * time.Second):
		t.Fatal("the request went on without its caller")
	}
	assert.EqualValues(t, 1, count.Load())
}

func TestTheServersOwnMissingCredentialsAreSaidSo(t *testing.T) {
	for name, c := range map[string]struct {
		err       error
		temporary bool
		says      string
	}{
		"none":           {errors.New("static credentials are empty"), false, "no AWS credentials of its own"},
		"source is down": {&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, true, "source doesn't answer"},
	} {
		t.Run(name, func(t *testing.T) {
			provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, c.err })
			a := newIssuer(t, "http://127.0.0.1:1", func(o *AWSOptions) { o.Credentials = provider })
			e := issueAndFail(t, a, testProfile())
			assert.Equal(t, c.temporary, e.Temporary)
			assert.Contains(t, e.Message, c.says)
		})
	}
	t.Run("nothing is configured at all", func(t *testing.T) {
		a := newIssuer(t, "http://127.0.0.1:1", func(o *AWSOptions) { o.Credentials = nil })
		e := issueAndFail(t, a, testProfile())
		assert.Contains(t, e.Message, "credentials of its own")
	})
}

func TestMessagesSpeakOfTheLinkThatGaveAccess(t *testing.T) {
	now := time.Now()
	endpoint, _ := faultySTS(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, stsError("AccessDenied", internals))
	})
	for _, c := range []struct {
		link           breakglass.Link
		event, request string
		stays, late    string
		next           string
	}{
		{breakglass.LinkPolicy, "", "", "Your standing access stays", "Your standing access is over or ends within a second", "ask again"},
		{breakglass.LinkRequest, "", testGrantID, "Your access request stays approved", "Access request " + testGrantID + " is over", "make another request"},
		{breakglass.LinkBreakglass, testGrantID, "", "Your event stays active", "Event " + testGrantID + " is over", "invoke again"},
	} {
		t.Run(string(c.link), func(t *testing.T) {
			unreachable := newIssuer(t, "http://127.0.0.1:1", quick)
			keyless := newIssuer(t, endpoint, func(o *AWSOptions) {
				o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("none") })
			})
			for _, a := range []*AWS{newIssuer(t, endpoint), unreachable, keyless} {
				_, err := a.Issue(t.Context(), testProfile(), grantBy(c.link, now.Add(time.Hour)), now)
				e := asError(t, err)
				assert.Equal(t, breakglass.CodeCredentialsRefused, e.Code)
				assert.Contains(t, e.Message, c.stays)
				assert.Equal(t, c.event, e.EventID)
				assert.Equal(t, c.request, e.AccessRequestID)
			}
			_, err := Dev{}.Issue(t.Context(), testProfile(), grantBy(c.link, now), now)
			e := asError(t, err)
			assert.Contains(t, e.Message, c.late)
			assert.Contains(t, e.Message, c.next)
			assert.Equal(t, c.event, e.EventID)
			assert.Equal(t, c.request, e.AccessRequestID)
		})
	}
}
