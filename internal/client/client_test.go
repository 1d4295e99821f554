package client

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

const (
	secretToken = "tok_0123456789abcdef"
	eventJSON   = `{"event_id":"0123456789abcdef","invoker":"alice@example.com","profile":"prod","status":"active",` +
		`"created_at":"2026-11-23T02:00:00Z","updated_at":"2026-11-23T02:00:00Z","expires_at":"2026-11-23T03:00:00Z","remaining_seconds":3600}`
	requestJSON = `{"request_id":"fedcba9876543210","requester":"alice@example.com","profile":"prod","status":"approved","duration_seconds":3600,` +
		`"approvals":[{"by":"sam@example.com","at":"2026-11-23T02:00:00Z"}],"approvals_required":1,"expires_at":"2026-11-23T03:00:00Z","remaining_seconds":3600}`
)

func testClient(t *testing.T, server string) *Client {
	t.Helper()
	c, err := New(Config{Server: server, Token: secretToken, UserAgent: "test"})
	require.NoError(t, err)
	return c
}

func answer(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func answerJSON(w http.ResponseWriter, body string) { answer(w, 200, "application/json", body) }

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestPlainHTTPIsRefusedExceptToLoopback(t *testing.T) {
	for server, ok := range map[string]bool{
		"http://127.0.0.1:8080":                   true,
		"http://[::1]:8080":                       true,
		"http://localhost:8080":                   true,
		"HTTPS://Breakglass.Example.com/":         true,
		"http://breakglass.example.com":           false,
		"http://10.0.0.1:8080":                    false,
		"http://127.0.0.1.example.com":            false,
		"http://localhost.example.com":            false,
		"http://0x7f000001":                       false,
		"ftp://127.0.0.1":                         false,
		"breakglass.example.com":                  false,
		"":                                        false,
		"https://":                                false,
		"https://alice:secret@breakglass.example": false,
		"https://breakglass.example/?token=x":     false,
		"https://breakglass.example/#x":           false,
	} {
		_, err := New(Config{Server: server, Token: secretToken})
		assert.Equal(t, ok, err == nil, "%s: %v", server, err)
	}
	_, err := New(Config{Server: "http://10.0.0.1:8080", AllowHTTP: true})
	assert.NoError(t, err)
}

func TestServersAreComparedInCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{
		"HTTPS://Breakglass.Example.com:443/": "https://breakglass.example.com",
		"http://127.0.0.1:80":                 "http://127.0.0.1",
		"https://example.com/bg//":            "https://example.com/bg",
		" https://example.com\n":              "https://example.com",
	} {
		u, err := ParseServer(in, false)
		require.NoError(t, err)
		assert.Equal(t, want, u.String())
	}
}

func TestTheTokenIsNeverSentToARedirectTarget(t *testing.T) {
	var elsewhere atomic.Int32
	target := serve(t, func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		answerJSON(w, eventJSON)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "Bearer "+secretToken, r.Header.Get("Authorization"))
			http.Redirect(w, r, target.URL+r.URL.Path, status)
		})
		c := testClient(t, s.URL)
		for name, run := range map[string]func() error{
			"get":  func() error { _, err := c.Event(t.Context(), "0123456789abcdef"); return err },
			"post": func() error { _, err := c.Invoke(t.Context(), Invocation{Profile: "prod"}, "key"); return err },
		} {
			var unexpected *ProtocolError
			require.ErrorAs(t, run(), &unexpected, "%s %d", name, status)
			assert.Contains(t, unexpected.What, "redirects")
		}
	}
	assert.Zero(t, elsewhere.Load(), "the target of the redirect was called")
}

func TestErrorsNeverHoldTheToken(t *testing.T) {
	_, err := New(Config{Server: "http://127.0.0.1:1", Token: secretToken + "\r\nX-Evil: 1"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), secretToken)

	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 500, "text/plain", r.Header.Get("Authorization"))
	})
	_, err = testClient(t, s.URL).Whoami(t.Context())
	require.Error(t, err)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), secretToken)
}

func TestProblemsBecomeDomainErrors(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "req-12345678")
		w.Header().Set("Retry-After", "720")
		answer(w, 429, "application/problem+json", `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"Too soon.",
			"code":"rate_limited","limit":"cooldown","retry_after_seconds":720,"rule":"prod"}`)
	})
	_, err := testClient(t, s.URL).Invoke(t.Context(), Invocation{Profile: "prod"}, NewIdempotencyKey())
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "req-12345678", refused.RequestID)
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, breakglass.CodeRateLimited, e.Code)
	assert.Equal(t, breakglass.LimitCooldown, e.Limit)
	assert.Equal(t, 12*time.Minute, e.RetryAfter)
	assert.Equal(t, "Too soon.", e.Message)
}

func TestLostAnswersAreAskedForAgainOnlyWhereThatIsSafe(t *testing.T) {
	t.Parallel()
	ways := map[string]func(w http.ResponseWriter){
		"connection cut": func(w http.ResponseWriter) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
		"answer cut": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			answerJSON(w, eventJSON[:40])
		},
		"503": func(w http.ResponseWriter) {
			answer(w, 503, "application/problem+json", `{"code":"unavailable","detail":"x"}`)
		},
		"502 by proxy": func(w http.ResponseWriter) { answer(w, 502, "text/html", "<h1>Bad gateway</h1>") },
		"504":          func(w http.ResponseWriter) { answer(w, 504, "text/plain", "") },
	}
	for name, fail := range ways {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var keys []string
			var calls atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				n := calls.Add(1)
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				if n == 1 {
					fail(w)
					return
				}
				answerJSON(w, eventJSON)
			})
			c := testClient(t, s.URL)

			_, err := c.Invoke(t.Context(), Invocation{Profile: "prod"}, "the-key")
			require.NoError(t, err)
			mu.Lock()
			assert.Equal(t, []string{"the-key", "the-key"}, keys, "the repetition must carry the same key")
			mu.Unlock()

			calls.Store(0)
			_, err = c.Event(t.Context(), "0123456789abcdef")
			require.NoError(t, err)
			assert.EqualValues(t, 2, calls.Load())

			calls.Store(0)
			_, err = c.Close(t.Context(), "0123456789abcdef", "done")
			require.Error(t, err)
			assert.EqualValues(t, 1, calls.Load(), "closing twice is not the same as closing once")

			calls.Store(0)
			_, err = c.Credentials(t.Context(), "0123456789abcdef")
			require.Error(t, err)
			assert.EqualValues(t, 1, calls.Load())

			calls.Store(0)
			_, err = c.Invoke(t.Context(), Invocation{Profile: "prod"}, "")
			require.Error(t, err)
			assert.EqualValues(t, 1, calls.Load(), "an invocation without a key can't be repeated")

			calls.Store(0)
			_, err = c.Extend(t.Context(), "0123456789abcdef", Extension{Justification: "x"})
			require.Error(t, err)
			assert.EqualValues(t, 1, calls.Load(), "a second extension would be another one")
		})
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 409, 413, 422, 429, 500, 501} {
		var calls atomic.Int32
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			answer(w, status, "application/problem+json", `{"code":"x","detail":"y"}`)
		})
		_, err := testClient(t, s.URL).Whoami(t.Context())
		require.Error(t, err)
		assert.EqualValues(t, 1, calls.Load(), "status %d", status)
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); answer(w, 503, "text/plain", "") })
	start := time.Now()
	_, err := testClient(t, s.URL).Whoami(t.Context())
	var unexpected *ProtocolError
	require.ErrorAs(t, err, &unexpected)
	assert.True(t, unexpected.Gateway)
	assert.EqualValues(t, maxAttempts, calls.Load())
	assert.Less(t, time.Since(start), 10*time.Second)
}

func TestRetryAfterIsHonouredUpToWhatAPersonWaitsFor(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	after := "1"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", after)
			answer(w, 503, "application/problem+json", `{"code":"unavailable","detail":"x"}`)
			return
		}
		answerJSON(w, `{"name":"alice@example.com"}`)
	})
	start := time.Now()
	_, err := testClient(t, s.URL).Whoami(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(start), time.Second)

	after = "60"
	calls.Store(0)
	start = time.Now()
	_, err = testClient(t, s.URL).Whoami(t.Context())
	var e *breakglass.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, time.Minute, e.RetryAfter)
	assert.EqualValues(t, 1, calls.Load())
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestAServerThatComesBackIsReachedByAnyCall(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	started := make(chan struct{})
	c, err := New(Config{Server: "http://" + addr, Token: secretToken, Retrying: func(error, time.Duration) {
		select {
		case <-started:
			return
		default:
		}
		l, err := net.Listen("tcp", addr)
		if assert.NoError(t, err) {
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, eventJSON) }),
				ReadHeaderTimeout: time.Second}
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
		}
		close(started)
	}})
	require.NoError(t, err)
	_, err = c.Close(t.Context(), "0123456789abcdef", "done")
	require.NoError(t, err, "a refused connection carried nothing, so repeating is safe")
}

func TestUnreachableServersAreNamedWithTheReason(t *testing.T) {
	t.Parallel()
	var unreachable *UnreachableError
	_, err := testClient(t, "http://127.0.0.1:1").Whoami(t.Context())
	require.ErrorAs(t, err, &unreachable)
	assert.Equal(t, "http://127.0.0.1:1", unreachable.Server)
	assert.Contains(t, unreachable.Why, "refused")
	assert.False(t, unreachable.Sent)
}

func TestTheWrongSchemeIsSaidInWordsAndSendsNothing(t *testing.T) {
	t.Parallel()
	plain := serve(t, func(w http.ResponseWriter, r *http.Request) { answerJSON(w, eventJSON) })
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answerJSON(w, eventJSON) }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	for name, c := range map[string]struct{ server, why string }{
		"https to a port of http":     {strings.Replace(plain.URL, "http:", "https:", 1), "this port speaks plain http"},
		"a handshake that is refused": {secure.URL, "TLS handshake failed"},
	} {
		api, err := New(Config{Server: c.server, Token: secretToken, CAPEM: ca})
		require.NoError(t, err)
		_, err = api.Close(t.Context(), "0123456789abcdef", "done")
		var unreachable *UnreachableError
		require.ErrorAs(t, err, &unreachable, name)
		assert.Contains(t, unreachable.Why, c.why, name)
		assert.NotContains(t, unreachable.Why, "HTTP response to HTTPS", name)
		assert.False(t, unreachable.Sent, name)
	}
}

func TestOnlyAChangeMayHaveBeenDone(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
	c := testClient(t, s.URL)
	for name, call := range map[string]struct {
		run     func() error
		changes bool
	}{
		"a read":    {func() error { _, err := c.Whoami(t.Context()); return err }, false},
		"a dry run": {func() error { _, err := c.DryRun(t.Context(), Invocation{}); return err }, false},
		"a close":   {func() error { _, err := c.Close(t.Context(), "0123456789abcdef", "done"); return err }, true},
	} {
		var unreachable *UnreachableError
		require.ErrorAs(t, call.run(), &unreachable, name)
		assert.True(t, unreachable.Sent, name)
		assert.Equal(t, call.changes, unreachable.Changes, name)
	}
}

func TestAListOfMoreThanWasAskedForIsRefusedBeforeItIsHeld(t *testing.T) {
	body := `{"items":[` + strings.Repeat("{},", 10<<20) + `{}],"next_cursor":"1"}`
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("limit") {
		case "2":
			answerJSON(w, `{"next_cursor":"9","items":[{"seq":1},{"seq":2},{"seq":3}]}`)
		case "3":
			answerJSON(w, `{"next_cursor":"9","items":[{"seq":1},{"seq":2},{"seq":3}],"newer":[1,{"a":2}]}`)
		default:
			answerJSON(w, body)
		}
	})
	c := testClient(t, s.URL)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, run := range map[string]func() error{
		"events":   func() error { _, _, err := c.Events(t.Context(), EventFilter{Limit: 500}); return err },
		"feed":     func() error { _, _, err := c.Feed(t.Context(), FeedFilter{Limit: 500}); return err },
		"default":  func() error { _, _, err := c.Feed(t.Context(), FeedFilter{}); return err },
		"profiles": func() error { _, err := c.Profiles(t.Context()); return err },
		"few":      func() error { _, _, err := c.Feed(t.Context(), FeedFilter{Limit: 2}); return err },
	} {
		var unexpected *ProtocolError
		require.ErrorAs(t, run(), &unexpected, name)
		assert.Regexp(t, "it lists more than the (500|10000|2) items|longer than", unexpected.What, name)
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30), "a body of 30 MB stays one of about 30 MB")
	items, next, err := c.Feed(t.Context(), FeedFilter{Limit: 3})
	require.NoError(t, err)
	assert.Len(t, items, 3)
	assert.EqualValues(t, 9, next)
}

func TestASlowServerIsGivenUpOn(t *testing.T) {
	hang := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hang) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := testClient(t, s.URL).Whoami(ctx)
	var unreachable *UnreachableError
	require.ErrorAs(t, err, &unreachable)
	assert.Contains(t, unreachable.Why, "too long")
	assert.True(t, unreachable.Sent)

	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err = testClient(t, s.URL).Whoami(ctx)
	assert.ErrorIs(t, err, context.Canceled, "somebody pressed Ctrl-C: that is no fault of the server")
	assert.False(t, errors.As(err, &unreachable))
}

func TestEndlessAnswersAreCutOff(t *testing.T) {
	t.Parallel()
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	var squeezed bytes.Buffer // 4 MiB that are 4 KiB on the wire
	z := gzip.NewWriter(&squeezed)
	for range 4 {
		_, err := z.Write(chunk)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	const end = 160 << 20
	var sent atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/v1/whoami" {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(squeezed.Bytes())
			return
		}
		for sent.Store(0); sent.Load() < end; sent.Add(int64(len(chunk))) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	for name, run := range map[string]func(c *Client) error{
		"object":     func(c *Client) error { _, err := c.Version(t.Context()); return err },
		"list":       func(c *Client) error { _, _, err := c.Feed(t.Context(), FeedFilter{}); return err },
		"compressed": func(c *Client) error { _, err := c.Whoami(t.Context()); return err },
	} {
		var unexpected *ProtocolError
		require.ErrorAs(t, run(testClient(t, s.URL)), &unexpected, name)
		assert.Contains(t, unexpected.What, "longer than")
		assert.Less(t, sent.Load(), int64(end), "%s: it was read to its end", name)
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Big", strings.Repeat("x", 1<<20))
		answerJSON(w, `{"name":"alice"}`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := testClient(t, s.URL).Whoami(ctx)
	require.Error(t, err)
}

func TestGarbageIsNotTakenForAnAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ contentType, body string }{
		"html":              {"text/html", "<html>Sign in</html>"},
		"no content type":   {"", eventJSON},
		"broken json":       {"application/json", `{"event_id":`},
		"not an object":     {"application/json", `[]`},
		"null":              {"application/json", `null`},
		"empty object":      {"application/json", `{}`},
		"wrong types":       {"application/json", `{"event_id":7}`},
		"empty":             {"application/json", ``},
		"deep":              {"application/json", strings.Repeat("[", 100_000)},
		"unknown state":     {"application/json", strings.Replace(eventJSON, `"active"`, `"paused"`, 1)},
		"id that is a path": {"application/json", strings.Replace(eventJSON, "0123456789abcdef", "../../../../etc", 1)},
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			if c.contentType != "" {
				w.Header().Set("Content-Type", c.contentType)
			}
			_, _ = io.WriteString(w, c.body)
		})
		var unexpected *ProtocolError
		_, err := testClient(t, s.URL).Event(t.Context(), "0123456789abcdef")
		assert.ErrorAs(t, err, &unexpected, name)
		_, err = testClient(t, s.URL).Credentials(t.Context(), "0123456789abcdef")
		assert.ErrorAs(t, err, &unexpected, name)
		_, _, err = testClient(t, s.URL).Feed(t.Context(), FeedFilter{})
		assert.ErrorAs(t, err, &unexpected, name)
	}
}

func TestSomethingThatIsNotHTTPIsUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = bufio.NewReader(conn).ReadString('\n')
				_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
				_ = conn.Close()
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = testClient(t, "http://"+l.Addr().String()).Whoami(ctx)
	var unreachable *UnreachableError
	require.ErrorAs(t, err, &unreachable)
}

func TestAnUnknownAuthorityIsRefusedUnlessConfigured(t *testing.T) {
	var calls atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answerJSON(w, `{"name":"alice"}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := testClient(t, s.URL).Whoami(t.Context())
	var unreachable *UnreachableError
	require.ErrorAs(t, err, &unreachable)
	assert.Contains(t, unreachable.Why, "authority")
	assert.Zero(t, calls.Load())

	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	c, err := New(Config{Server: s.URL, CAPEM: ca})
	require.NoError(t, err)
	_, err = c.Whoami(t.Context())
	assert.NoError(t, err)

	_, err = New(Config{Server: s.URL, CAPEM: []byte("not a certificate")})
	assert.Error(t, err)
}

func TestAFeedThatDoesNotMoveForwardIsRefused(t *testing.T) {
	for _, cursor := range []string{"4", "x", "", "-1", "99999999999999999999"} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "5", r.URL.Query().Get("after"))
			answerJSON(w, fmt.Sprintf(`{"items":[],"next_cursor":%q}`, cursor))
		})
		_, _, err := testClient(t, s.URL).Feed(t.Context(), FeedFilter{After: 5})
		var unexpected *ProtocolError
		assert.ErrorAs(t, err, &unexpected, cursor)
	}
}

func TestCredentialsHideTheirSecrets(t *testing.T) {
	c := Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "s3cret", SessionToken: "t0ken"}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		assert.NotContains(t, text, "s3cret")
		assert.NotContains(t, text, "t0ken")
	}
}

func TestCredentialsThatAreNotPlainTextAreRefused(t *testing.T) {
	fields := map[string]string{"access_key_id": "ASIA", "secret_access_key": "a/b+c=", "session_token": "t==", "region": "us-east-1"}
	for bad := range fields {
		for _, text := range []string{"a b", `a\nb`, `a\u001b[2J`, `\u202e`, `a\u0000`} {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body := `{"event_id":"0123456789abcdef","expiration":"2099-01-01T00:00:00Z","profile":"prod"`
				for name, value := range fields {
					if name == bad {
						value = text
					}
					body += fmt.Sprintf(`,"%s":"%s"`, name, value)
				}
				answerJSON(w, body+"}")
			})
			var unexpected *ProtocolError
			_, err := testClient(t, s.URL).Credentials(t.Context(), "0123456789abcdef")
			assert.ErrorAs(t, err, &unexpected, "%s = %s", bad, text)
		}
	}
}
