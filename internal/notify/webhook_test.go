package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func secret(fill byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32)))
}

// hook is a webhook target: a real HTTPS server that keeps what it receives.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	received []received
}

type received struct {
	header http.Header
	body   []byte
}

func newHook(t *testing.T, answer http.HandlerFunc) *hook {
	t.Helper()
	return newHookWith(t, answer, nil)
}

func newHookWith(t *testing.T, answer http.HandlerFunc, connState func(net.Conn, http.ConnState)) *hook {
	t.Helper()
	h := &hook{}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.received = append(h.received, received{r.Header.Clone(), body})
		h.mu.Unlock()
		answer(w, r)
	}))
	h.EnableHTTP2 = true
	h.Config.ConnState = connState
	h.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	h.StartTLS()
	t.Cleanup(h.Close)
	return h
}

// newSilentHook is a target that never answers, not even when the caller hangs
// up: a handler that returns then answers 200, and under TLS that can still
// arrive between the caller's farewell and the end of the connection.
func newSilentHook(t *testing.T) *hook {
	t.Helper()
	over := make(chan struct{})
	h := newHook(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) }) // before the server closes: that waits for its handlers
	return h
}

func (h *hook) seen() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]received{}, h.received...)
}

func (h *hook) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	return pool
}

func (h *hook) hostPort() string { return strings.TrimPrefix(h.URL, "https://") }

// sinkFor builds the sink through the front door: validated and built.
func sinkFor(t *testing.T, c SinkConfig, pool *x509.CertPool, secrets string) *Set {
	t.Helper()
	c.Name, c.Type, c.SecretEnv = "siem", TypeWebhook, "HOOK_SECRET"
	require.Empty(t, Config{Sinks: []SinkConfig{c}}.Validate(nil))
	log, _ := testLog()
	set, err := Build(t.Context(), []SinkConfig{c}, Deps{
		Log: log, Now: time.Now, RootCAs: pool,
		LookupEnv: func(name string) (string, bool) { return secrets, name == "HOOK_SECRET" },
	})
	require.NoError(t, err)
	t.Cleanup(set.Close)
	return set
}

func (h *hook) sink(t *testing.T) *Set {
	return sinkFor(t, SinkConfig{URL: h.URL + "/in?key=s3cr3t", AllowPrivate: []string{h.hostPort()}}, h.pool(), secret('a'))
}

func notifyOnce(t *testing.T, s *Set, timeout time.Duration) error {
	t.Helper()
	n, err := NewNotification(delivery(7, noon, breakglass.EntryInvoked))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return s.sinks[0].notifier.Notify(ctx, n)
}

func failureOf(t *testing.T, err error) *Failure {
	t.Helper()
	var f *Failure
	require.ErrorAs(t, err, &f)
	return f
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func TestWebhookIsSignedAsAnIndependentImplementationVerifies(t *testing.T) {
	h := newHook(t, ok)
	require.NoError(t, notifyOnce(t, h.sink(t), time.Minute))
	got := h.seen()[0]
	wh, err := standardwebhooks.NewWebhook(secret('a'))
	require.NoError(t, err)
	require.NoError(t, wh.Verify(got.body, got.header))
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.Equal(t, "breakglassd", got.header.Get("User-Agent"))
	require.Regexp(t, `^msg_[0-9a-f]{32}$`, got.header.Get("Webhook-Id"))

	require.Error(t, wh.Verify(append(got.body, ' '), got.header), "a changed body")
	other, err := standardwebhooks.NewWebhook(secret('b'))
	require.NoError(t, err)
	require.Error(t, other.Verify(got.body, got.header), "another secret")
}

func TestWhileSecretsRotateBothVerify(t *testing.T) {
	h := newHook(t, ok)
	s := sinkFor(t, SinkConfig{URL: h.URL, AllowPrivate: []string{h.hostPort()}}, h.pool(), secret('n')+"\n"+secret('o')+"\n")
	require.NoError(t, notifyOnce(t, s, time.Minute))
	got := h.seen()[0]
	require.Len(t, strings.Fields(got.header.Get("Webhook-Signature")), 2)
	for _, fill := range []byte{'n', 'o'} {
		wh, err := standardwebhooks.NewWebhook(secret(fill))
		require.NoError(t, err)
		require.NoError(t, wh.Verify(got.body, got.header))
	}
	wh, err := standardwebhooks.NewWebhook(secret('x'))
	require.NoError(t, err)
	require.Error(t, wh.Verify(got.body, got.header))
}

func TestEachAttemptHasTheSameIDAndBodyAndItsOwnTimestamp(t *testing.T) {
	var n atomic.Int32
	h := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	q := newMemory()
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	set := h.sink(t)
	set.sinks[0].notifier.(*webhook).now = func() time.Time { return time.Unix(clock.Add(1), 0) }
	start(t, Options{Queue: q, Journal: q, Set: set, Schedule: []time.Duration{0, time.Millisecond, time.Millisecond}})
	q.add(time.Now(), breakglass.EntryInvoked, "siem")
	require.Eventually(t, func() bool { p, _ := q.left(); return p == 0 }, time.Minute, time.Millisecond)
	got := h.seen()
	require.Len(t, got, 3)
	stamps := map[string]bool{}
	wh, err := standardwebhooks.NewWebhook(secret('a'))
	require.NoError(t, err)
	for _, r := range got {
		require.Equal(t, got[0].body, r.body)
		require.Equal(t, got[0].header.Get("Webhook-Id"), r.header.Get("Webhook-Id"))
		require.NoError(t, wh.Verify(r.body, r.header))
		stamps[r.header.Get("Webhook-Timestamp")] = true
	}
	require.Len(t, stamps, 3)
	_, dead := q.left()
	require.Zero(t, dead)
}

func TestWhatEachAnswerMeans(t *testing.T) {
	for _, tc := range []struct {
		status     int
		header     string
		verdict    Verdict
		taken      bool
		retryAfter time.Duration
	}{
		{status: 200, taken: true}, {status: 202, taken: true}, {status: 204, taken: true}, {status: 299, taken: true},
		{status: 301, verdict: Retry}, {status: 302, verdict: Retry}, {status: 304, verdict: Retry}, {status: 307, verdict: Retry}, {status: 308, verdict: Retry},
		{status: 400, verdict: Retry}, {status: 401, verdict: Retry}, {status: 403, verdict: Retry}, {status: 404, verdict: Retry},
		{status: 410, verdict: Disable}, {status: 413, verdict: Permanent},
		{status: 429, verdict: Retry}, {status: 429, header: "17", verdict: Retry, retryAfter: 17 * time.Second},
		{status: 500, header: "17", verdict: Retry}, {status: 502, verdict: Retry},
		{status: 503, header: "9", verdict: Retry, retryAfter: 9 * time.Second}, {status: 504, verdict: Retry}, {status: 599, verdict: Retry}, {status: 999, verdict: Retry},
	} {
		h := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://example.com/elsewhere")
			if tc.header != "" {
				w.Header().Set("Retry-After", tc.header)
			}
			w.WriteHeader(tc.status)
		})
		err := notifyOnce(t, h.sink(t), time.Minute)
		if tc.taken {
			require.NoError(t, err, tc.status)
			continue
		}
		f := failureOf(t, err)
		require.Equal(t, tc.verdict, f.Verdict, "%d", tc.status)
		require.Equal(t, tc.retryAfter, f.RetryAfter, "%d", tc.status)
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	h := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(60*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	f := failureOf(t, notifyOnce(t, h.sink(t), time.Minute))
	require.InDelta(t, 60, f.RetryAfter.Seconds(), 30)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newHook(t, ok)
	h := newHook(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	s := sinkFor(t, SinkConfig{URL: h.URL, AllowPrivate: []string{"127.0.0.1"}}, h.pool(), secret('a'))
	require.ErrorContains(t, notifyOnce(t, s, time.Minute), "redirects are not followed")
	require.Empty(t, elsewhere.seen())
}

func TestADeadTargetFailsWithItsReason(t *testing.T) {
	h := newHook(t, ok)
	s := h.sink(t)
	h.Close()
	f := failureOf(t, notifyOnce(t, s, time.Minute))
	require.Equal(t, Retry, f.Verdict)
	require.Contains(t, f.Message, "connection refused")
}

func TestASlowTargetIsCutOffByTheTimeout(t *testing.T) {
	f := failureOf(t, notifyOnce(t, newSilentHook(t).sink(t), 100*time.Millisecond))
	require.Equal(t, Retry, f.Verdict)
	require.Contains(t, f.Message, "timed out")
}

func TestAHugeOrEndlessAnswerCostsNothing(t *testing.T) {
	var written atomic.Int64
	h := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		chunk := []byte(strings.Repeat("x", 64<<10))
		for { // until the client hangs up
			n, err := w.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	require.NoError(t, notifyOnce(t, h.sink(t), time.Minute))
	require.Less(t, written.Load(), int64(32<<20))
}

func TestABodyThatTricklesDoesNotHoldTheAttempt(t *testing.T) {
	h := newHook(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	began := time.Now()
	require.NoError(t, notifyOnce(t, h.sink(t), time.Minute))
	require.Less(t, time.Since(began), 30*time.Second)
}

func TestAHugeAnswerHeaderIsRefused(t *testing.T) {
	h := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Big", strings.Repeat("x", 1<<20))
	})
	require.Equal(t, Retry, failureOf(t, notifyOnce(t, h.sink(t), time.Minute)).Verdict)
}

func TestOldTLSAndForeignCertificatesAreRefused(t *testing.T) {
	h := newHook(t, ok)
	s := sinkFor(t, SinkConfig{URL: h.URL, AllowPrivate: []string{"127.0.0.1"}}, x509.NewCertPool(), secret('a'))
	require.ErrorContains(t, notifyOnce(t, s, time.Minute), "unknown authority")

	old := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	old.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} // the point of the test
	old.StartTLS()
	t.Cleanup(old.Close)
	pool := x509.NewCertPool()
	pool.AddCert(old.Certificate())
	s = sinkFor(t, SinkConfig{URL: old.URL, AllowPrivate: []string{"127.0.0.1"}}, pool, secret('a'))
	require.Error(t, notifyOnce(t, s, time.Minute))
}

func TestNoProxyIsTakenFromTheEnvironment(t *testing.T) {
	proxied := atomic.Bool{}
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Store(true) }))
	t.Cleanup(proxy.Close)
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(v, proxy.URL)
	}
	s := sinkFor(t, SinkConfig{URL: "http://hook.invalid/", AllowHTTP: true}, nil, secret('a'))
	require.Error(t, notifyOnce(t, s, time.Minute))
	require.False(t, proxied.Load())
	require.Nil(t, s.sinks[0].notifier.(*webhook).transport.Proxy)
}

func TestAPrivateTargetIsRefusedUnlessNamed(t *testing.T) {
	h := newHook(t, ok)
	_, port, err := net.SplitHostPort(h.hostPort())
	require.NoError(t, err)
	// As an address it is refused by validation, as a name at the connect.
	require.NotEmpty(t, Config{Sinks: []SinkConfig{{Name: "siem", Type: TypeWebhook, URL: h.URL, SecretEnv: "S"}}}.Validate(nil))
	s := sinkFor(t, SinkConfig{URL: "https://localhost:" + port}, h.pool(), secret('a'))
	f := failureOf(t, notifyOnce(t, s, time.Minute))
	require.Equal(t, Retry, f.Verdict)
	require.Contains(t, f.Message, "is loopback; name it in allow_private")
	require.Empty(t, h.seen())
}

func TestUserinfoBecomesBasicAuthentication(t *testing.T) {
	h := newHook(t, ok)
	u, err := url.Parse(h.URL)
	require.NoError(t, err)
	u.User = url.UserPassword("siem", "p@ss")
	s := sinkFor(t, SinkConfig{URL: u.String(), AllowPrivate: []string{h.hostPort()}}, h.pool(), secret('a'))
	require.NoError(t, notifyOnce(t, s, time.Minute))
	user, password, _ := (&http.Request{Header: h.seen()[0].header}).BasicAuth()
	require.Equal(t, []string{"siem", "p@ss"}, []string{user, password})
}

func secretOf(n int) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n))
}
