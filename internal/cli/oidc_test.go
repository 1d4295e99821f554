package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

// oidcServer is breakglassd with an identity provider. The tests that use it
// run the real bgctl.
type oidcServer struct {
	*devServer
	provider *testenv.OIDCProvider
	home     string
	bgctl    string
}

const oidcConfig = `listen: 127.0.0.1:0
store: {driver: sqlite, sqlite: {path: data/breakglass.db}}
auth:
  tokens:
    - {name: bob@example.com, sha256: "%s", groups: [engineers]}
  oidc:
    - name: company
      issuer: %s
      audiences: [bgctl]
      username_claim: email
      groups_claim: groups
      clock_skew: 0s
      login: {client_id: bgctl, scopes: [openid, email, groups, offline_access]}
profiles:
  prod: {role_arn: "arn:aws:iam::123456789012:role/BreakGlass", region: us-east-1}
policy_file: policy.yaml
sts: {issuer: dev}
`

// The SHA-256 of bob-token.
const bobHash = "97dd3707015dcf069cf73022ed7173b1165db6eff24b441cb57fd069a8c4e525"

func newOIDCServer(t *testing.T, options testenv.OIDCOptions) *oidcServer {
	t.Helper()
	s := &oidcServer{bgctl: testenv.Build(t, "./cmd/bgctl"), home: t.TempDir()}
	options.Groups = map[string][]string{"alice": {"engineers"}}
	s.provider = testenv.OIDC(t, options)
	s.devServer = s.serve(t)
	return s
}

// serve starts a breakglassd of its own.
func (s *oidcServer) serve(t *testing.T) *devServer {
	t.Helper()
	return s.serveWith(t, oidcConfig)
}

func (s *oidcServer) serveWith(t *testing.T, config string) *devServer {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), fmt.Appendf(nil, config, bobHash, s.provider.Issuer), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte("version: \"1\"\nrules:\n  - {name: engineers, profiles: [prod], groups: [engineers]}\n"), 0o600))
	cmd := exec.Command(testenv.Build(t, "./cmd/breakglassd"), "--config", "config.yaml")
	cmd.Dir = dir
	d, err := startServer(cmd)
	require.NoError(t, err)
	t.Cleanup(d.stop)
	return d
}

// whoami asks a server who the owner of a token is.
func whoami(t *testing.T, server *devServer, token string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.url+"/v1/whoami", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(data)
}

// command is bgctl as alice runs it on her machine.
func (s *oidcServer) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.bgctl, args...)
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH"), "BGCTL_SERVER=" + s.url, "BGCTL_KEYRING=off", "TZ=UTC"}
	return cmd
}

func (s *oidcServer) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// login runs bgctl login, gives what it says to visit, and returns all that it
// said.
func (s *oidcServer) login(t *testing.T, visit func(said string), args ...string) string {
	t.Helper()
	return s.loginBy(t, append([]string{"login"}, args...), nil, visit)
}

func (s *oidcServer) loginBy(t *testing.T, args, env []string, visit func(said string)) string {
	t.Helper()
	cmd := s.command(t.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	cmd.Stdout, cmd.Stderr = w, w
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	timeout := time.AfterFunc(90*time.Second, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()
	var said strings.Builder
	lines := bufio.NewReader(r)
	for !anAddress.MatchString(said.String()) || strings.Contains(said.String(), "on any machine") && !strings.Contains(said.String(), "It is valid for") {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		require.NoError(t, err, "%s", &said)
	}
	var later strings.Builder
	var rest sync.WaitGroup
	rest.Go(func() { _, _ = io.Copy(&later, lines) })
	visit(said.String())
	err = cmd.Wait()
	rest.Wait()
	said.WriteString(later.String())
	require.NoError(t, err, "%s", &said)
	assert.Contains(t, said.String(), "as alice@example.com")
	return said.String()
}

// signIn fills in the pages of the provider.
func signIn(b *testenv.Browser) {
	b.Fill("input[name=login]", "alice")
	b.Fill("input[name=password]", "any")
	b.Click("button[type=submit]")
	b.Await("input[name=prompt][value=consent]")
	b.Click("button[type=submit]")
}

var (
	anAddress = regexp.MustCompile(`(?m)^  (http://\S+)$`)
	aCode     = regexp.MustCompile(`(?m)^  code: (\S+)$`)
)

// storedTokens is what bgctl keeps in its file.
func (s *oidcServer) storedTokens(t *testing.T) (bearer, refresh string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.home, ".config/bgctl/logins.json"))
	require.NoError(t, err)
	var f struct {
		Logins map[string]struct {
			OIDC struct {
				Tokens struct{ Bearer, Refresh string }
			}
		}
	}
	require.NoError(t, json.Unmarshal(data, &f))
	o := f.Logins[s.url].OIDC.Tokens
	return o.Bearer, o.Refresh
}

// TestLoginInABrowser walks the authorization code flow: bgctl, a real
// provider with its own pages, and a real browser.
func TestLoginInABrowser(t *testing.T) {
	b := testenv.Chromium(t)
	s := newOIDCServer(t, testenv.OIDCOptions{})
	said := s.login(t, func(said string) {
		b.Open(anAddress.FindStringSubmatch(said)[1])
		signIn(b)
		b.AwaitText("go back to the terminal")
		assert.Regexp(t, `^http://127\.0\.0\.1:\d+/callback\?`, b.URL())
	}, "--oidc", "--yes")
	out, _, code := s.run(t, "whoami")
	require.Equal(t, 0, code)
	assert.Regexp(t, `Name +alice@example\.com`, out)
	assert.Regexp(t, `Groups +engineers`, out)
	bearer, refresh := s.storedTokens(t)
	require.NotEmpty(t, bearer)
	require.NotEmpty(t, refresh)
	assert.NotContains(t, said+out, bearer)
	assert.NotContains(t, said+out, refresh)
	info, err := os.Stat(filepath.Join(s.home, ".config/bgctl/logins.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	_, errs, code := s.run(t, "invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711")
	require.Equal(t, 0, code, errs)
	_, errs, code = s.run(t, "credentials", "prod")
	require.Equal(t, 0, code, errs)

	s.logsOut(t, refresh)
}

// logsOut logs out and wants nothing to be left.
func (s *oidcServer) logsOut(t *testing.T, refresh string) {
	t.Helper()
	_, errs, code := s.run(t, "logout")
	require.Equal(t, 0, code, errs)
	assert.Contains(t, errs, "Logged out")
	assert.NotContains(t, errs, "may still hold")
	data, err := os.ReadFile(filepath.Join(s.home, ".config/bgctl/logins.json"))
	require.NoError(t, err)
	assert.NotContains(t, string(data), refresh)
	_, _, code = s.run(t, "whoami")
	assert.Equal(t, 3, code)
	left, err := filepath.Glob(filepath.Join(s.home, ".cache/bgctl/identity-*/credentials-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	form := strings.NewReader("grant_type=refresh_token&client_id=bgctl&refresh_token=" + refresh)
	resp, err := http.Post(s.provider.Issuer+"/token", "application/x-www-form-urlencoded", form)
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Equal(t, 400, resp.StatusCode, "the provider has taken the refresh token back")
}

// TestLoginOnAnotherMachine walks the device flow.
func TestLoginOnAnotherMachine(t *testing.T) {
	b := testenv.Chromium(t)
	s := newOIDCServer(t, testenv.OIDCOptions{})
	s.login(t, func(said string) {
		s.device(b, said)
	}, "--device", "--yes")
	_, refresh := s.storedTokens(t)
	require.NotEmpty(t, refresh)
	out, errs, code := s.run(t, "whoami", "-o", "json")
	require.Equal(t, 0, code, errs)
	assert.Contains(t, out, `"oidc:`+s.provider.Issuer+`#alice"`)
	s.logsOut(t, refresh)
}

func TestAClientThatTheProviderDoesNotKnowIsAMatterForTheOperators(t *testing.T) {
	s := newOIDCServer(t, testenv.OIDCOptions{})
	s.devServer = s.serveWith(t, strings.ReplaceAll(oidcConfig, "bgctl", "nobody"))
	_, errs, code := s.run(t, "login", "--device", "--yes")
	require.Equal(t, 1, code, errs)
	assert.Contains(t, errs, "invalid_client")
	assert.Regexp(t, `What now +tell whoever runs the server: .*login\.client_id`, errs)
	assert.Contains(t, errs, "`bgctl login --help`")
}

// device logs in on the pages of the device flow.
func (s *oidcServer) device(b *testenv.Browser, said string) {
	b.Open(anAddress.FindStringSubmatch(said)[1])
	b.Fill("input[name=user_code]", aCode.FindStringSubmatch(said)[1])
	b.Click("button[type=submit]")
	b.Await("button[form='op.deviceConfirmForm']")
	b.Click("button[form='op.deviceConfirmForm'][autofocus]")
	signIn(b)
}

// TestALoginIsRenewedByOneOfManyAndOutlivesItsProvider has tokens so short that
// every command renews them. The provider ends a login whose refresh token is
// used twice.
func TestALoginIsRenewedByOneOfManyAndOutlivesItsProvider(t *testing.T) {
	b := testenv.Chromium(t)
	s := newOIDCServer(t, testenv.OIDCOptions{IDTokenSeconds: 50})
	s.login(t, func(said string) { b.Open(anAddress.FindStringSubmatch(said)[1]); signIn(b) }, "--oidc", "--yes")
	_, first := s.storedTokens(t)
	var together sync.WaitGroup
	for range 8 {
		together.Go(func() {
			out, errs, code := s.run(t, "whoami")
			assert.Equal(t, 0, code, "%s%s", out, errs)
		})
	}
	together.Wait()
	_, last := s.storedTokens(t)
	assert.NotEqual(t, first, last, "the refresh tokens rotate")
	s.expire(t) // so that only a renewal helps
	_, errs, code := s.run(t, "whoami")
	require.Equal(t, 0, code, "the login was not ended by renewing it twice with one token: %s", errs)

	s.provider.Stop()
	_, errs, code = s.run(t, "whoami")
	require.Equal(t, 0, code, "the token lasts, and the server keeps the keys: %s", errs)
	bearer, _ := s.storedTokens(t)
	fresh := s.serve(t) // which never saw the provider
	status, header, body := whoami(t, fresh, bearer)
	assert.Equal(t, 503, status, body)
	assert.NotEmpty(t, header.Get("Retry-After"))
	for _, server := range []*devServer{s.devServer, fresh} {
		status, _, body = whoami(t, server, "bob-token")
		assert.Equal(t, 200, status, "other ways in don't need the provider: %s", body)
	}
	s.expire(t)
	_, errs, code = s.run(t, "whoami")
	require.Equal(t, 7, code, errs)
	assert.Contains(t, errs, "doesn't answer")

	s.provider.Start() // it has forgotten everybody
	_, errs, code = s.run(t, "whoami")
	require.Equal(t, 3, code, errs)
	assert.Contains(t, errs, "has ended")
	assert.Contains(t, errs, "bgctl login --server "+s.url+" --oidc")
	_, errs, code = s.run(t, "logout")
	require.Equal(t, 0, code, errs)
}

// expire makes the stored token end in the past.
func (s *oidcServer) expire(t *testing.T) {
	t.Helper()
	path := filepath.Join(s.home, ".config/bgctl/logins.json")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	changed := regexp.MustCompile(`"expires": "[^"]*"`).ReplaceAll(data, []byte(`"expires": "2020-01-01T00:00:00Z"`))
	require.NotEqual(t, data, changed)
	require.NoError(t, os.WriteFile(path, changed, 0o600))
}

// TestALoginIsSealedByTheKeyring has an empty keyring in a session of its own.
func TestALoginIsSealedByTheKeyring(t *testing.T) {
	b := testenv.Chromium(t)
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		_, err := exec.LookPath(program)
		testenv.Require(t, err == nil, "needs "+program+", which is not installed")
	}
	s := newOIDCServer(t, testenv.OIDCOptions{IDTokenSeconds: 50})
	run := filepath.Join(s.home, "run")
	require.NoError(t, os.Mkdir(run, 0o700))
	script := filepath.Join(s.home, "session.sh")
	require.NoError(t, os.WriteFile(script, []byte(`set -eu
printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null
"$BGCTL" login --device --yes
cat "$HOME/.config/bgctl/logins.json"
"$BGCTL" whoami
"$BGCTL" whoami
"$BGCTL" logout
`), 0o600))
	bgctl := s.bgctl
	s.bgctl = "dbus-run-session"
	said := s.loginBy(t, []string{"--", "sh", script}, []string{"XDG_RUNTIME_DIR=" + run, "BGCTL=" + bgctl, "BGCTL_KEYRING="}, func(said string) { s.device(b, said) })
	assert.Regexp(t, `"sealed": "[A-Za-z0-9+/=]{100,}"`, said)
	assert.NotContains(t, said, `"refresh"`)
	assert.NotContains(t, said, "keyring can't be used")
	assert.Equal(t, 2, strings.Count(said, "Token from"))
	assert.Contains(t, said, "Logged out")
	assert.NotContains(t, said, "may still hold")
}
