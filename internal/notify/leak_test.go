package notify

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// echo answers each request with everything that came in, as a hostile or
// merely talkative target might: in the status line, in headers, in the body,
// or as something that isn't HTTP at all.
func echo(t *testing.T, format string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				in := req.URL.String() + " " + strings.ReplaceAll(fmt.Sprint(req.Header), "\n", " ")
				_, _ = fmt.Fprintf(c, format, in)
			}()
		}
	}()
	return l.Addr().String()
}

func TestNoNotifierLeaksItsSecretOrItsURL(t *testing.T) {
	const (
		query, path, password = "key=q-s3cr3t", "/services/path-s3cr3t", "pass-s3cr3t"
		signing               = "whsec_c2lnbmluZy1zM2NyM3Qtc2lnbmluZy1zM2NyM3Q="
		awsKey                = "aws-s3cr3t"
	)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(signing), 0o600))
	aws5xx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = fmt.Fprint(w, r.Header)
	}))
	t.Cleanup(aws5xx.Close)

	targets := map[string]string{
		"status line": echo(t, "HTTP/1.1 500 %s\r\nContent-Length: 0\r\n\r\n"),
		"bad status":  echo(t, "HTTP/1.1 %s\r\n\r\n"),
		"bad version": echo(t, "%s HTTP/9.9\r\n\r\n"),
		"not HTTP":    echo(t, "220 %s ESMTP\r\n"),
		"header":      echo(t, "HTTP/1.1 429 x\r\nRetry-After: %[1]s\r\nLocation: %[1]s\r\nContent-Length: 0\r\n\r\n"),
		"bad header":  echo(t, "HTTP/1.1 200 OK\r\n%s\r\n\r\n"),
		"bad length":  echo(t, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n"),
		"bad coding":  echo(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n"),
		"redirect":    echo(t, "HTTP/1.1 302 Found\r\nLocation: http://[%%zz%s\r\nContent-Length: 0\r\n\r\n"),
		"body":        echo(t, "HTTP/1.1 500 x\r\n\r\n%s"),
		"gone":        echo(t, "HTTP/1.1 410 %s\r\nContent-Length: 0\r\n\r\n"),
		"refused":     "127.0.0.1:1",
		"no name":     "no-such-host.invalid",
		"private":     "localhost:1",
	}
	var configs []SinkConfig
	for name, host := range targets {
		c := SinkConfig{
			Name: strings.ReplaceAll(name, " ", "-"), Type: TypeWebhook, AllowHTTP: true, SecretFile: filepath.Join(dir, "secret"),
			URL: "http://u:" + password + "@" + host + path + "?" + query,
		}
		if name != "private" {
			c.AllowPrivate = []string{"127.0.0.1"}
		}
		configs = append(configs, c)
	}
	configs = append(configs, SinkConfig{Name: "topic", Type: TypeSNS, TopicARN: "arn:aws:sns:us-east-1:123456789012:secops", Endpoint: aws5xx.URL})
	multi := SinkConfig{Name: "both", Type: TypeMulti}
	for _, c := range configs {
		c.Name = "m-" + c.Name
		multi.Sinks = append(multi.Sinks, c)
	}
	configs = append(configs, multi)
	require.Empty(t, Config{Sinks: configs}.Validate(nil))

	log, text := testLog()
	set, err := Build(t.Context(), configs, Deps{Log: log, Now: time.Now, AWS: func(_ context.Context, region string) (aws.Config, error) {
		return aws.Config{Region: region, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", awsKey, awsKey)}, nil
	}})
	require.NoError(t, err)
	q := newMemory()
	start(t, Options{Queue: q, Journal: q, Set: set, Log: log, Schedule: []time.Duration{0, time.Millisecond}, Timeout: time.Minute})
	q.add(time.Now(), breakglass.EntryInvoked, set.Names()...)
	require.Eventually(t, func() bool { p, _ := q.left(); return p == 0 }, time.Minute, 5*time.Millisecond)

	all := text.String()
	for _, d := range q.dead {
		all += "\n" + d.Sink + " " + d.LastError
		require.NotEmpty(t, d.LastError)
	}
	for _, s := range set.sinks {
		all += fmt.Sprintf("\n%v %+v %#v %s %d", s.notifier, s.notifier, s.notifier, s.notifier, s.notifier)
		if w, ok := s.notifier.(*webhook); ok {
			all += fmt.Sprintf("%v %+v %#v %s", w.keys, w.keys, w.keys, w.keys)
		}
	}
	all += fmt.Sprintf("%v %+v %#v %s %v %+v %#v", set, set, set, set, configs, configs, configs)
	for _, leak := range []string{"s3cr3t", "services", "c2lnbmluZ", "signing", "Webhook-Signature"} {
		require.NotContains(t, all, leak)
	}
	_, dead := q.left()
	require.GreaterOrEqual(t, dead, len(targets), "the targets did fail")
}

func TestSecretProblemsDoNotQuoteTheSecret(t *testing.T) {
	for _, s := range []string{
		"", " \n", "hunter2hunter2", "whsec_", "whsec_hunter2!", "whsec_aHVudGVyMg==", "whsec_" + strings.Repeat("aHVudGVy", 30),
		"whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg", "WHSEC_" + strings.Repeat("aHVudGVy", 4), strings.Repeat("whsec_aHVudGVy ", 6),
	} {
		_, err := parseSecrets(s)
		require.Error(t, err, s)
		require.NotContains(t, err.Error(), "hunter")
		require.NotContains(t, err.Error(), "aHVudGVy")
	}
	for _, n := range []int{24, 64} {
		_, err := parseSecrets(secretOf(n))
		require.NoError(t, err)
	}
	for _, n := range []int{23, 65} {
		_, err := parseSecrets(secretOf(n))
		require.Error(t, err)
	}
}
