package cli_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
)

const loginKey = "a-key-of-this-test-0123456789-abcdefghijkl"

// loginWorld is a breakglassd that asks an AWS emulator, which checks signatures,
// who its callers are. The server keeps its address over restarts.
type loginWorld struct {
	t      *testing.T
	sts    *testenv.STS
	dir    string
	listen string
	server *devServer
	home   string
	alice  testenv.AWSKeys
}

func newLoginWorld(t *testing.T, duration string) *loginWorld {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an AWS emulator")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &loginWorld{t: t, sts: testenv.NewSTS(t), dir: t.TempDir(), listen: l.Addr().String(), home: t.TempDir()}
	require.NoError(t, l.Close())
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
	}
	write("session.key", loginKey+"\n")
	write("policy.yaml", "version: \"1\"\nrules:\n  - {name: oncall, groups: [oncall]}\n")
	write("config.yaml", fmt.Sprintf(`
listen: %s
store: {driver: sqlite, sqlite: {path: breakglass.db}}
auth:
  session_keys: [{file: session.key}]
  aws:
    server_names: [127.0.0.1]
    regions: [us-east-1, eu-west-1]
    session_duration: %s
    endpoint: %s
    rules:
      - {account: "123456789012", user: alice, name: Alice@Example.com, groups: [oncall]}
      - {account: "123456789012", permission_set: Engineer, name_from: session_name, name_suffix: "@example.com", groups: [oncall]}
      - {account: "123456789012", role: Task, name: batch, groups: [oncall]}
roles: {auditor: {users: [alice@example.com]}}
profiles: {prod: {role_arn: "arn:aws:iam::123456789012:role/BreakGlass", region: us-west-2}}
policy_file: policy.yaml
sts: {issuer: dev}
`, w.listen, duration, w.sts.URL))
	w.start()
	t.Cleanup(func() { w.server.stop() })
	w.alice = w.sts.User("/", "alice")
	return w
}

func (w *loginWorld) start() {
	w.t.Helper()
	cmd := exec.Command(testenv.Build(w.t, "./cmd/breakglassd"), "--config", "config.yaml")
	cmd.Dir = w.dir
	var err error
	w.server, err = startServer(cmd)
	require.NoError(w.t, err)
}

// bgctl runs bgctl with nothing of AWS in its environment but env.
func (w *loginWorld) bgctl(env []string, args ...string) result {
	w.t.Helper()
	return bgctl(w.t, w.home, append([]string{"BGCTL_SERVER=" + w.server.url, "AWS_EC2_METADATA_DISABLED=true"}, env...), args...)
}

func environment(k testenv.AWSKeys) []string {
	env := []string{"AWS_ACCESS_KEY_ID=" + k.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + k.SecretAccessKey}
	if k.SessionToken != "" {
		env = append(env, "AWS_SESSION_TOKEN="+k.SessionToken)
	}
	return env
}

// file writes a file of the AWS configuration.
func (w *loginWorld) file(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.home, ".aws", name)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(w.t, os.WriteFile(path, []byte(text), 0o600))
}

func (w *loginWorld) logins() string {
	b, err := os.ReadFile(filepath.Join(w.home, ".config/bgctl/logins.json"))
	require.NoError(w.t, err)
	return string(b)
}

// expire changes the stored login, as time would.
func (w *loginWorld) expire(left time.Duration) {
	w.t.Helper()
	var all map[string]any
	require.NoError(w.t, json.Unmarshal([]byte(w.logins()), &all))
	login := all["logins"].(map[string]any)[w.server.url].(map[string]any)["aws"].(map[string]any)
	login["expires"] = time.Now().Add(left).UTC().Format(time.RFC3339)
	b, err := json.Marshal(all)
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(filepath.Join(w.home, ".config/bgctl/logins.json"), b, 0o600))
}

// Each place where the AWS CLI finds credentials is one to log in from.
func TestLoginAWSFromEverySourceOfCredentials(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t, "1h")
	engineer := w.sts.AssumeRole("arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Engineer_0123456789abcdef", "Bob")
	task := w.sts.AssumeRole("arn:aws:iam::123456789012:role/Task", "i-0123456789abcdef0")
	w.file("credentials", fmt.Sprintf("[alice]\naws_access_key_id = %s\naws_secret_access_key = %s\n", w.alice.AccessKeyID, w.alice.SecretAccessKey))
	sso := ssoPortal(t, engineer)
	w.file("config", `
[profile alice]
region = eu-west-1
[profile process]
credential_process = `+process(t, task)+`
[profile engineer]
sso_session = company
sso_account_id = 123456789012
sso_role_name = Engineer
region = us-east-1
[sso-session company]
sso_start_url = https://company.awsapps.example/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access
`)
	name := sha1.Sum([]byte("company"))
	w.file("sso/cache/"+hex.EncodeToString(name[:])+".json", fmt.Sprintf(`{"startUrl":"https://company.awsapps.example/start","region":"us-east-1","accessToken":"sso-token","expiresAt":%q}`,
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	for _, tc := range []struct {
		source string
		env    []string
		args   []string
		name   string
		region string
	}{
		{"environment", environment(w.alice), nil, "alice@example.com", "us-east-1"},
		{"environment with a session token", environment(task), nil, "batch", "us-east-1"},
		{"AWS_PROFILE", []string{"AWS_PROFILE=alice"}, nil, "alice@example.com", "eu-west-1"},
		{"--profile before the environment", environment(task), []string{"--profile", "alice"}, "alice@example.com", "eu-west-1"},
		{"--region", []string{"AWS_PROFILE=alice"}, []string{"--region", "us-east-1"}, "alice@example.com", "us-east-1"},
		{"a Region that the server doesn't ask", append(environment(task), "AWS_REGION=ap-south-1"), nil, "batch", "us-east-1"},
		{"credential_process", nil, []string{"--profile", "process"}, "batch", "us-east-1"},
		{"single sign-on", []string{"AWS_PROFILE=engineer", "AWS_ENDPOINT_URL_SSO=" + sso}, nil, "bob@example.com", "us-east-1"},
		{"task role", []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + container(t, task)}, nil, "batch", "us-east-1"},
		{"instance role", []string{"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + instance(t, task)}, nil, "batch", "us-east-1"},
	} {
		t.Run(tc.source, func(t *testing.T) {
			w := *w
			w.t = t
			got := w.bgctl(tc.env, append([]string{"login", "--aws"}, tc.args...)...)
			require.Zero(t, got.code, got.stderr)
			assert.Contains(t, got.stdout, "as "+tc.name+".")
			seen := w.sts.Seen()
			assert.Equal(t, "sts."+tc.region+".amazonaws.com", seen[len(seen)-1].Host)
			who := w.bgctl(nil, "whoami")
			assert.Regexp(t, `(?m)^Name +`+tc.name+`$`, who.stdout)
			assert.Regexp(t, `(?m)^Way in +aws:arn:aws:(iam|sts)::123456789012:`, who.stdout)
			require.Zero(t, w.bgctl(nil, "logout").code)
		})
	}
}

func TestAnAWSLoginIsKeptPrivateAndLastsOverARestart(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t, "1h")
	got := w.bgctl(environment(w.alice), "login", "--aws", "-o", "json")
	require.Zero(t, got.code, got.stderr)
	assert.Contains(t, got.stdout, `"authenticated_by": "aws:arn:aws:iam::123456789012:user/alice"`)
	info, err := os.Stat(filepath.Join(w.home, ".config/bgctl/logins.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assert.NotContains(t, w.logins(), w.alice.SecretAccessKey)
	assert.NotContains(t, got.stdout+got.stderr, "bgs_")

	w.server.stop()
	w.start()
	asked := len(w.sts.Seen())
	require.Zero(t, w.bgctl(nil, "invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711").code)
	assert.Len(t, w.sts.Seen(), asked, "the session is still good")
	events := w.bgctl(nil, "events", "-o", "json")
	assert.Contains(t, events.stdout, `"authenticated_by":"aws:arn:aws:iam::123456789012:user/alice"`, "the trail says by which way in")

	// A key that was replaced ends what it had signed.
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "session.key"), []byte("another"+loginKey), 0o600))
	w.server.stop()
	w.start()
	got = w.bgctl(nil, "whoami")
	assert.Equal(t, 3, got.code, got.stderr)
	assert.Regexp(t, `What now +bgctl login --server `+w.server.url+` --aws\n`, got.stderr, "as that login was made")
}

// Whoever has read a login on its way can't log in with it: not at the server
// that took it, and not after a restart.
func TestALoginThatWasSeenOnItsWayIsWorthNothing(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t, "1h")
	target, err := url.Parse(w.server.url)
	require.NoError(t, err)
	var proof []byte
	forward := httputil.NewSingleHostReverseProxy(target)
	between := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		if r.URL.Path == "/v1/login/aws" {
			proof = body
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(rw, r)
	})
	got := w.bgctl(append(environment(w.alice), "BGCTL_SERVER="+between), "login", "--aws")
	require.Zero(t, got.code, got.stderr)
	require.NotEmpty(t, proof)
	assert.NotContains(t, string(proof), w.alice.SecretAccessKey)
	replay := func() (int, string) {
		resp, err := http.Post(w.server.url+"/v1/login/aws", "application/json", bytes.NewReader(proof))
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	for range 2 {
		status, body := replay()
		assert.Equal(t, 401, status)
		assert.Contains(t, body, "used before")
		w.server.stop()
		w.start()
	}
}

func TestAnAWSLoginIsRenewedWhileTheCredentialsAreValid(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t, "1h")
	w.file("credentials", fmt.Sprintf("[alice]\naws_access_key_id = %s\naws_secret_access_key = %s\n", w.alice.AccessKeyID, w.alice.SecretAccessKey))
	w.file("config", "[profile alice]\n")
	require.Zero(t, w.bgctl([]string{"AWS_PROFILE=alice"}, "login", "--aws").code)
	before := w.logins()

	w.expire(-time.Minute)
	got := w.bgctl(nil, "whoami") // from another shell: the profile is remembered
	require.Zero(t, got.code, got.stderr)
	assert.NotEqual(t, before, w.logins())

	// Somebody else's credentials don't take over the login.
	batch := w.sts.AssumeRole("arn:aws:iam::123456789012:role/Task", "i-1")
	w.file("credentials", fmt.Sprintf("[alice]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n",
		batch.AccessKeyID, batch.SecretAccessKey, batch.SessionToken))
	w.expire(-time.Minute)
	got = w.bgctl(nil, "whoami")
	assert.Equal(t, 2, got.code, got.stderr)
	assert.Contains(t, got.stderr, "are those of batch")

	// Without credentials it says so, and what to do.
	w.file("credentials", "")
	w.expire(-time.Minute)
	got = w.bgctl(nil, "whoami")
	assert.Equal(t, 3, got.code, got.stderr)
	assert.Contains(t, got.stderr, "has ended")
	assert.Contains(t, got.stderr, "login --server "+w.server.url+" --aws --profile alice\n", "the profile is kept")
	// A session that still holds is used until its end.
	w.expire(30 * time.Second)
	got = w.bgctl(nil, "whoami")
	assert.Zero(t, got.code, got.stderr)
}

func TestARefusedAWSLoginSaysWhy(t *testing.T) {
	t.Parallel()
	w := newLoginWorld(t, "1h")
	stranger := w.sts.AssumeRole("arn:aws:iam::999988887777:role/Task", "i-1")
	wrong := w.alice
	wrong.SecretAccessKey = "wrong" + wrong.SecretAccessKey
	for name, tc := range map[string]struct {
		env  []string
		args []string
		code int
		want []string
	}{
		"another account": {environment(stranger), nil, 3, []string{"arn:aws:sts::999988887777:assumed-role/Task/i-1", "no rule", "get-caller-identity",
			"bgctl login --server " + w.server.url + " --aws --profile NAME"}},
		"a wrong key":        {environment(wrong), nil, 3, []string{"SignatureDoesNotMatch"}},
		"no credentials":     {nil, nil, 1, []string{"There are no AWS credentials", "aws sso login"}},
		"an unknown Region":  {environment(w.alice), []string{"--region", "ap-south-1"}, 2, []string{`in "ap-south-1", only in us-east-1, eu-west-1`}},
		"an unknown profile": {nil, []string{"--profile", "nobody"}, 1, []string{"nobody", "There are no AWS credentials"}},
		"two ways at once":   {nil, []string{"--token-stdin"}, 2, []string{"use one of them"}},
		"another name of the server": {append(environment(w.alice), "BGCTL_SERVER="+strings.Replace(w.server.url, "127.0.0.1", "localhost", 1)), []string{"--region", "us-east-1"}, 3,
			[]string{`"localhost" is not among its names`, "bgctl login --server https://NAME --aws --region us-east-1", "auth.aws.server_names: localhost"}},
	} {
		got := w.bgctl(tc.env, append([]string{"login", "--aws"}, tc.args...)...)
		assert.Equal(t, tc.code, got.code, "%s: %s", name, got.stderr)
		for _, want := range tc.want {
			assert.Contains(t, strings.Join(strings.Fields(got.stderr), " "), want, name)
		}
		assert.NotContains(t, got.stderr, wrong.SecretAccessKey)
	}
	assert.NoFileExists(t, filepath.Join(w.home, ".config/bgctl/logins.json"))

	w.sts.Instead(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	got := w.bgctl(environment(w.alice), "login", "--aws")
	assert.Equal(t, 7, got.code, got.stderr)
	assert.Contains(t, strings.Join(strings.Fields(got.stderr), " "), "another way in")

	d := devServerFor(t) // has no login with AWS identities
	got = bgctl(t, t.TempDir(), append(environment(w.alice), "BGCTL_SERVER="+d.url), "login", "--aws")
	assert.Equal(t, 2, got.code, got.stderr)
	assert.Contains(t, got.stderr, "has no login with AWS identities")
}

func TestAServerWithoutAWSLoginsSaysSoBeforeAnybodyLooksForCredentials(t *testing.T) {
	t.Parallel()
	d := devServerFor(t)
	got := bgctl(t, t.TempDir(), []string{"BGCTL_SERVER=" + d.url, "AWS_EC2_METADATA_DISABLED=true"}, "login", "--aws")
	assert.Equal(t, 2, got.code, got.stderr)
	assert.Contains(t, got.stderr, d.url+" has no login with AWS identities", "an address is no word to begin with a capital letter")
	assert.Contains(t, got.stderr, "`bgctl login --help` shows the other ways")
}

// The AWS clients in bgctl are those by which credentials are found, and none
// beside them.
func TestBgctlLinksNoAWSClientThatItNeverCalls(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/bgctl")
	cmd.Dir = testenv.Root(t)
	out, err := cmd.Output()
	require.NoError(t, err)
	var clients []string
	for _, p := range strings.Fields(string(out)) {
		if name, ok := strings.CutPrefix(p, "github.com/aws/aws-sdk-go-v2/service/"); ok && !strings.Contains(name, "/") {
			clients = append(clients, name)
		}
	}
	assert.ElementsMatch(t, []string{"signin", "sso", "ssooidc", "sts"}, clients)
	assert.NotContains(t, string(out), "breakglass/internal/store")
	assert.NotContains(t, string(out), "breakglass/internal/authn/awsiam")
}

// What AWS runs on machines, in containers and for single sign-on, and no
// emulator has: each hands out keys in the form of AWS's documentation.

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func credentials(k testenv.AWSKeys) string {
	return fmt.Sprintf(`{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`,
		k.AccessKeyID, k.SecretAccessKey, k.SessionToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func container(t *testing.T, k testenv.AWSKeys) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) { respond(w, 200, "application/json", credentials(k)) })
}

func instance(t *testing.T, k testenv.AWSKeys) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		switch {
		case r.URL.Path == "/latest/api/token":
			respond(w, 200, "text/plain", "imds-token")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "imds-token":
			w.WriteHeader(401)
		case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
			respond(w, 200, "text/plain", "Task")
		case strings.HasSuffix(r.URL.Path, "/security-credentials/Task"):
			respond(w, 200, "text/plain", credentials(k))
		default:
			w.WriteHeader(404)
		}
	})
}

func ssoPortal(t *testing.T, k testenv.AWSKeys) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/federation/credentials" || r.Header.Get("X-Amz-Sso_bearer_token") != "sso-token" {
			w.WriteHeader(401)
			return
		}
		respond(w, 200, "application/json", fmt.Sprintf(`{"roleCredentials":{"accessKeyId":%q,"secretAccessKey":%q,"sessionToken":%q,"expiration":%d}}`,
			k.AccessKeyID, k.SecretAccessKey, k.SessionToken, time.Now().Add(time.Hour).UnixMilli()))
	})
}

func process(t *testing.T, k testenv.AWSKeys) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "process")
	doc := fmt.Sprintf(`{"Version":1,"AccessKeyId":%q,"SecretAccessKey":%q,"SessionToken":%q}`, k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\ncat <<'END'\n"+doc+"\nEND\n"), 0o700))
	return path
}
