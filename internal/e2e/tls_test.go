package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
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
)

const withTLS = "tls: {cert_file: cert.pem, key_file: key.pem}\n"

// overTLS starts a server with a certificate of the authority.
func (s site) overTLS(t *testing.T, ca *authority, first pair) *process {
	t.Helper()
	first.write(t, s.dir)
	p := s.spawn(t)
	p.listening(t)
	p.http = p.http.over(&tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}, true)
	p.ready(t)
	return p
}

// served is the serial number of the certificate that a new connection gets.
func (p *process) served(t *testing.T, ca *authority) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.http.base, "https://"), &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestACertificateIsRenewedUnderLoadWithoutAFailedRequest(t *testing.T) {
	ca := newAuthority(t, "e2e")
	s := site{dir: t.TempDir(), more: withTLS}
	first := ca.issue(t, 12*time.Hour)
	p := s.overTLS(t, ca, first)
	require.Equal(t, first.serial.String(), p.served(t, ca))

	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	var mu sync.Mutex
	var failures []string
	calls := map[string]int{}
	config := &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}
	kinds := map[string]caller{"HTTP/1.1": p.http.over(config, false), "HTTP/2": p.http.over(config.Clone(), true), "new connections": p.http.over(config.Clone(), false)}
	kinds["new connections"].client.Transport.(*http.Transport).DisableKeepAlives = true
	for kind, c := range kinds {
		done.Go(func() {
			for ctx.Err() == nil {
				a, err := c.do(t.Context(), user(0), http.MethodGet, "/v1/whoami", "")
				mu.Lock()
				if calls[kind]++; err != nil || a.status != 200 {
					failures = append(failures, fmt.Sprintf("%s: %d %v", kind, a.status, err))
				}
				mu.Unlock()
			}
		})
	}
	counted := func() (all int) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range calls {
			all += n
		}
		return all
	}
	for i := range 6 {
		next := ca.issue(t, time.Duration(i+13)*time.Hour)
		next.write(t, s.dir)
		if i%2 == 0 {
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP)) // else it is found within seconds
		}
		p.poll(t, "serving the new certificate", func() bool { return p.served(t, ca) == next.serial.String() })
		before := counted()
		p.poll(t, "serving requests", func() bool { return counted() > before+20 })
	}
	stop()
	done.Wait()
	assert.Empty(t, failures)
	assert.Len(t, calls, 3)
	assert.InDelta(t, (18 * time.Hour).Seconds(), p.http.metric(t, "breakglass_tls_certificate_expiry_seconds"), 120)
	assert.InDelta(t, 1, p.http.metric(t, "breakglass_tls_current"), 0)
	assert.Zero(t, p.terminate(t))
}

func TestABrokenCertificateLeavesTheOldOneInForce(t *testing.T) {
	ca := newAuthority(t, "e2e")
	s := site{dir: t.TempDir(), more: withTLS}
	first := ca.issue(t, 12*time.Hour)
	p := s.overTLS(t, ca, first)
	cert, key := filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "key.pem")
	other, ended := ca.issue(t, time.Hour), ca.issue(t, -time.Minute)
	for _, tc := range []struct {
		name   string
		change func()
	}{
		{"another's key", func() { place(t, key, other.key) }},
		{"no key", func() { require.NoError(t, os.Remove(key)) }},
		{"a key that others may write", func() { place(t, key, first.key); require.NoError(t, os.Chmod(key, 0o666)) }},
		{"half a certificate", func() { place(t, key, first.key); place(t, cert, first.cert[:100]) }},
		{"empty", func() { place(t, cert, nil) }},
		{"one that has ended", func() { ended.write(t, s.dir) }},
	} {
		const failed = `breakglass_tls_reloads_total{result="failed"}`
		before := p.http.metric(t, failed)
		tc.change()
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
		p.poll(t, "aware of "+tc.name, func() bool { return p.http.metric(t, failed) > before })
		assert.Equal(t, first.serial.String(), p.served(t, ca), tc.name)
		assert.InDelta(t, 0, p.http.metric(t, "breakglass_tls_current"), 0, tc.name)
		ready := string(p.http.must(t, 200, "nobody", http.MethodGet, "/readyz", "").body)
		assert.Contains(t, ready, `"tls":{"ok":true`)
		assert.Contains(t, ready, "the files on disk are broken", tc.name)
		assert.NotContains(t, ready, s.dir)
	}
	assert.Contains(t, p.logs.String(), "the one before stays in force")
	other.write(t, s.dir)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.poll(t, "serving a good one", func() bool { return p.served(t, ca) == other.serial.String() })
	p.poll(t, "content", func() bool {
		return !strings.Contains(string(p.http.must(t, 200, "nobody", http.MethodGet, "/readyz", "").body), "broken")
	})
}

func TestACertificateThatEndsSoonIsSaidEverywhere(t *testing.T) {
	ca := newAuthority(t, "e2e")
	s := site{dir: t.TempDir(), more: withTLS}
	p := s.overTLS(t, ca, ca.issue(t, time.Hour))
	assert.Contains(t, string(p.http.must(t, 200, "nobody", http.MethodGet, "/readyz", "").body), "CERTIFICATE ENDS SOON")
	p.poll(t, "warning", func() bool { return strings.Contains(p.logs.String(), "the certificate ends soon") })
	left := p.http.metric(t, "breakglass_tls_certificate_expiry_seconds")
	assert.InDelta(t, 3600, left, 120)
}

// accepts reports whether the server answers a client of that configuration.
func (p *process) accepts(t *testing.T, config *tls.Config) error {
	t.Helper()
	_, err := p.http.over(config, true).do(t.Context(), user(0), http.MethodGet, "/v1/whoami", "")
	return err
}

func TestOldProtocolsAndCiphersAreRefused(t *testing.T) {
	ca := newAuthority(t, "e2e")
	s := site{dir: t.TempDir(), more: withTLS}
	p := s.overTLS(t, ca, ca.issue(t, 12*time.Hour))
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		assert.Error(t, p.accepts(t, &tls.Config{RootCAs: ca.pool, MinVersion: version, MaxVersion: version}), tls.VersionName(version)) // the server must refuse it
	}
	assert.NoError(t, p.accepts(t, &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS13}))
	aead := 0
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] == tls.VersionTLS13 {
			continue
		}
		err := p.accepts(t, &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
		if strings.HasPrefix(suite.Name, "TLS_ECDHE_ECDSA_") && (strings.Contains(suite.Name, "GCM") || strings.Contains(suite.Name, "POLY1305")) {
			assert.NoError(t, err, suite.Name)
			aead++
		} else {
			assert.Error(t, err, suite.Name) // those for RSA because this certificate isn't
		}
	}
	assert.Equal(t, 3, aead)
}

func TestRequiredClientCertificatesAreALockBeforeAnyRequest(t *testing.T) {
	ca, clients, strangers := newAuthority(t, "e2e"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	good, ended, foreign := clients.issue(t, 12*time.Hour), clients.issue(t, -time.Minute), strangers.issue(t, 12*time.Hour)
	config := func(client *pair) *tls.Config {
		c := &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS12}
		if client != nil {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whatever the server asks for
				cert := client.certificate(t)
				return &cert, nil
			}
		}
		return c
	}
	for _, auth := range []string{"require", "verify"} {
		t.Run(auth, func(t *testing.T) {
			s := site{dir: t.TempDir(), more: "tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: clients.pem, client_auth: " + auth + "}\nadmin_listen: 127.0.0.1:0\n"}
			place(t, filepath.Join(s.dir, "clients.pem"), clients.pem)
			ca.issue(t, 12*time.Hour).write(t, s.dir)
			p := s.spawn(t)
			p.listening(t)
			p.http = p.http.over(config(&good), true)
			p.ready(t)
			p.http.must(t, 201, user(0), http.MethodPost, "/v1/breakglass", invocation("prod", 3600))
			assert.Error(t, p.accepts(t, config(&ended)), "one that has ended")
			assert.Error(t, p.accepts(t, config(&foreign)), "of another authority")
			if auth == "require" {
				assert.Error(t, p.accepts(t, config(nil)), "none")
			} else {
				assert.NoError(t, p.accepts(t, config(nil)), "none")
			}
			a, err := p.http.do(t.Context(), "nobody", http.MethodGet, "/v1/whoami", "")
			require.NoError(t, err)
			assert.Equal(t, 401, a.status, "a certificate is no login")

			// An authority that is replaced is out at once, also for those who
			// could resume a session.
			resuming := config(&good)
			resuming.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			require.NoError(t, p.accepts(t, resuming))
			place(t, filepath.Join(s.dir, "clients.pem"), strangers.pem)
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
			p.poll(t, "trusting the other authority", func() bool { return p.accepts(t, config(&foreign)) == nil })
			assert.Error(t, p.accepts(t, config(&good)))
			assert.Error(t, p.accepts(t, resuming), "an old session was resumed")
		})
	}
}

func TestBgctlShowsItsClientCertificate(t *testing.T) {
	ca, clients := newAuthority(t, "e2e"), newAuthority(t, "clients")
	s := site{dir: t.TempDir(), more: "tls: {cert_file: cert.pem, key_file: key.pem, client_ca_file: clients.pem, client_auth: require}\n"}
	place(t, filepath.Join(s.dir, "clients.pem"), clients.pem)
	ca.issue(t, 12*time.Hour).write(t, s.dir)
	p := s.spawn(t)
	p.listening(t)
	p.http.base = strings.Replace(p.http.base, "http://", "https://", 1)
	ctl := newCtl(t, p.http, user(0))
	dir := t.TempDir()
	mine := clients.issue(t, time.Hour)
	place(t, filepath.Join(dir, "ca.pem"), ca.pem)
	mine.write(t, dir)
	run := func(settings string) (int, string) {
		path := filepath.Join(dir, "config.yaml")
		place(t, path, []byte("ca_file: ca.pem\n"+settings))
		cmd := ctl.command("whoami")
		cmd.Env = append(cmd.Env, "BGCTL_CONFIG="+path)
		out, _ := cmd.CombinedOutput() // the exit code says it
		return cmd.ProcessState.ExitCode(), string(out)
	}
	code, out := run("client_cert: cert.pem\nclient_key: key.pem\n")
	assert.Zero(t, code, out)
	assert.Contains(t, out, user(0))
	code, out = run("")
	assert.Equal(t, 7, code, out)
	assert.Contains(t, out, "the server wants a client certificate")
	code, out = run("client_cert: cert.pem\n")
	assert.NotZero(t, code)
	assert.Contains(t, out, "client_cert and client_key")
	code, out = run("client_cert: cert.pem\nclient_key: ca.pem\n")
	assert.NotZero(t, code)
	assert.NotContains(t, out, "BEGIN")
}
