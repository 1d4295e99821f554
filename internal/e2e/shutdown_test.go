package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// halfSent is an invocation of which the server has all but the last byte.
type halfSent struct {
	conn net.Conn
	rest string
}

func sendHalf(t *testing.T, c caller, as string) halfSent {
	t.Helper()
	addr := strings.TrimPrefix(c.base, "http://")
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	body := invocation("prod", 3600)
	_, err = fmt.Fprintf(conn, "POST /v1/breakglass HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		addr, token(as), len(body), body[:len(body)-1])
	require.NoError(t, err)
	return halfSent{conn, body[len(body)-1:]}
}

// finish sends what is missing and returns the status of the answer.
func (h halfSent) finish(t *testing.T) int {
	t.Helper()
	require.NoError(t, h.conn.SetDeadline(time.Now().Add(patience)))
	_, err := h.conn.Write([]byte(h.rest))
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(h.conn), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

func TestAStopFinishesWhatWasAcceptedAndEndsLongPolls(t *testing.T) {
	s := site{dir: t.TempDir()}
	p := s.start(t)
	const polls, calls = 8, 4
	var polling sync.WaitGroup
	for range polls {
		polling.Go(func() {
			a, err := p.http.do(t.Context(), "sam", http.MethodGet, "/v1/events?wait=60s", "")
			assert.NoError(t, err, "a long poll was cut off")
			assert.Equal(t, http.StatusOK, a.status)
			assert.Contains(t, string(a.body), `"next_cursor":"0"`)
		})
	}
	var half []halfSent
	for i := range calls {
		half = append(half, sendHalf(t, p.http, user(i)))
	}
	p.poll(t, "serving all of them", func() bool {
		return p.http.metric(t, "breakglass_http_requests_in_flight") == polls+calls+1 // and the one that asks
	})
	begun := time.Now()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	polling.Wait()
	p.poll(t, "closed to new callers", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.http.base, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	for _, h := range half {
		assert.Equal(t, http.StatusCreated, h.finish(t))
	}
	assert.Zero(t, p.wait(t))
	t.Logf("stopped within %s", time.Since(begun).Round(time.Millisecond))
	assert.Len(t, s.start(t).http.allEvents(t), calls, "an accepted invocation is lost")
}

func TestASecondServerOnTheSameFileIsRefused(t *testing.T) {
	testenv.OnlySQLite(t, "its file is for one server; a table is for any number")
	first := site{dir: t.TempDir()}
	p := first.start(t)
	second := site{dir: t.TempDir(), database: first.engine(t).SQLite.Path}.spawn(t)
	assert.Equal(t, 1, second.wait(t))
	assert.Contains(t, second.logs.String(), fmt.Sprintf("is in use by process %d", p.cmd.Process.Pid))
	assert.NotContains(t, second.logs.String(), "panic")
	ev := decode[breakglass.View](t, p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600)))
	p.kill()
	third := site{dir: t.TempDir(), database: first.engine(t).SQLite.Path}.start(t)
	assert.Contains(t, third.http.allEvents(t), ev.ID, "the lock outlived its server")
}

func TestAnUnsafeListenerIsRefused(t *testing.T) {
	const aws = "sts: {issuer: aws, region: us-east-1}\n"
	for name, tc := range map[string]struct{ more, says string }{
		"plain off loopback":         {more: aws + "listen: 0.0.0.0:0\n", says: "insecure_http"},
		"plain on every address":     {more: aws + "listen: \":0\"\n", says: "insecure_http"},
		"development off loopback":   {more: "insecure_http: true\nlisten: 0.0.0.0:0\n", says: "loopback"},
		"half a certificate":         {more: aws + "listen: 0.0.0.0:0\ntls: {cert_file: cert.pem}\n", says: "cert_file and key_file together"},
		"no such certificate":        {more: aws + "listen: 0.0.0.0:0\ntls: {cert_file: cert.pem, key_file: key.pem}\n", says: "cert.pem"},
		"a webhook to this machine":  {more: "notify: {sinks: [{name: a, type: webhook, url: \"https://127.0.0.1/hook\", secret_env: X}]}\n", says: "allow_private"},
		"a webhook without TLS":      {more: "notify: {sinks: [{name: a, type: webhook, url: \"http://hook.example.com/\", secret_env: X}]}\n", says: "allow_http"},
		"an unknown setting":         {more: "colour: red\n", says: "colour"},
		"a webhook without a secret": {more: "notify: {sinks: [{name: a, type: webhook, url: \"https://hook.example.com/\", secret_env: NOT_SET}]}\n", says: "NOT_SET"},
	} {
		t.Run(name, func(t *testing.T) {
			s := site{dir: t.TempDir(), more: tc.more}
			p := s.spawn(t)
			assert.Equal(t, 1, p.wait(t))
			assert.Contains(t, p.logs.String(), tc.says)
			assert.NoFileExists(t, filepath.Join(s.dir, "addr"), "it has listened")
		})
	}
	t.Run("said in so many words", func(t *testing.T) {
		s := site{dir: t.TempDir(), more: aws + "listen: 0.0.0.0:0\ninsecure_http: true\n"}
		s.start(t)
	})
}

// certificate writes a certificate for loopback into dir and returns what
// trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), certPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certPEM))
	return pool
}

func TestOverTLSTheServerSpeaksNothingElse(t *testing.T) {
	s := site{dir: t.TempDir(), more: "tls: {cert_file: cert.pem, key_file: key.pem}\n"}
	pool := certificate(t, s.dir)
	p := s.spawn(t)
	p.listening(t)
	assert.Contains(t, []int{0, 400}, p.status(t, "/readyz"), "plain HTTP was served")

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	p.http = caller{base: strings.Replace(p.http.base, "http://", "https://", 1), client: &http.Client{Transport: transport, Timeout: patience}}
	p.ready(t)
	p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
	old := tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11} // the server must refuse it
	_, err := tls.Dial("tcp", strings.TrimPrefix(p.http.base, "https://"), &old)
	assert.Error(t, err, "TLS 1.1 was accepted")
	assert.Zero(t, p.terminate(t))
}
