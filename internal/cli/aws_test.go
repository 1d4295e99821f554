package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/testenv"
	"breakglass/internal/testenv/teststore"
)

// awsWorld is a breakglassd that assumes roles at an AWS emulator.
type awsWorld struct {
	t        *testing.T
	endpoint string
	aws      string
	home     string
	env      []string
}

func newAWSWorld(t *testing.T) *awsWorld {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an AWS emulator and the AWS CLI")
	}
	w := &awsWorld{t: t, aws: testenv.AWSCLI(t), endpoint: testenv.Moto(t)}
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	sum := sha256.Sum256([]byte("alice-token"))
	write("policy.yaml", "version: \"1\"\nrules:\n  - {name: oncall, groups: [oncall]}\n")
	write("config.yaml", fmt.Sprintf(`
listen: 127.0.0.1:0
%sauth: {tokens: [{name: alice@example.com, sha256: "%s", groups: [oncall]}]}
profiles: {prod: {role_arn: "arn:aws:iam::123456789012:role/BreakGlass", region: us-west-2}}
policy_file: policy.yaml
sts: {issuer: aws, region: us-east-1, endpoint: "%s"}
`, teststore.YAML(teststore.Config(t, dir)), hex.EncodeToString(sum[:]), w.endpoint))
	server := exec.Command(testenv.Build(t, "./cmd/breakglassd"), "--config", "config.yaml")
	server.Dir = dir
	server.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=AKIASERVER", "AWS_SECRET_ACCESS_KEY=server", "AWS_EC2_METADATA_DISABLED=true")
	d, err := startServer(server)
	require.NoError(t, err)
	t.Cleanup(d.stop)
	w.env = append(loggedIn(d, "alice"), "AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL="+w.endpoint,
		"PATH="+filepath.Dir(testenv.Build(t, "./cmd/bgctl"))+string(os.PathListSeparator)+os.Getenv("PATH"))
	return w
}

// person is somebody with an empty home directory, for one test in this world.
func (w *awsWorld) person(t *testing.T) *awsWorld {
	t.Helper()
	p := *w
	p.t, p.home = t, t.TempDir()
	t.Cleanup(func() { p.bgctl("close", "prod", "--reason", "The test is over") })
	return &p
}

func (w *awsWorld) bgctl(args ...string) result {
	w.t.Helper()
	return bgctl(w.t, w.home, w.env, args...)
}

func (w *awsWorld) invoke() (eventID string) {
	w.t.Helper()
	got := w.bgctl("invoke", "prod", "--reason", "incident", "--justification", "Primary DB down, INC-4711", "-o", "json")
	require.Zero(w.t, got.code, got.stderr)
	return regexp.MustCompile(`"event_id": "([0-9a-f]{16})"`).FindStringSubmatch(got.stdout)[1]
}

// identity checks that AWS takes the caller for alice's session of this event.
func (w *awsWorld) identity(output string, eventID string) {
	w.t.Helper()
	var id struct{ Arn, Account string }
	require.NoError(w.t, json.Unmarshal([]byte(output), &id), output)
	assert.Equal(w.t, "123456789012", id.Account)
	assert.Contains(w.t, id.Arn, "assumed-role/BreakGlass/")
	assert.Contains(w.t, id.Arn, eventID, "CloudTrail must lead to the event")
}

// One emulator and one server do for all, because starting them takes longer
// than the tests.
func TestTheAWSCLIUsesTheCredentials(t *testing.T) {
	t.Parallel()
	w := newAWSWorld(t)
	t.Run("works through exec", func(t *testing.T) { awsTheAWSCLIWorksThroughExec(t, w.person(t)) })
	t.Run("exec wins over every other source", func(t *testing.T) { awsExecWinsOverEveryOtherSourceOfCredentials(t, w.person(t)) })
	t.Run("works through credential_process", func(t *testing.T) { awsTheAWSCLIWorksThroughCredentialProcess(t, w.person(t)) })
	t.Run("works through env", func(t *testing.T) { awsTheAWSCLIWorksThroughEnv(t, w.person(t)) })
	t.Run("closing ends what a running command can fetch", func(t *testing.T) { awsClosingTheEventEndsWhatARunningCommandCanFetch(t, w.person(t)) })
}

func awsTheAWSCLIWorksThroughExec(t *testing.T, w *awsWorld) {
	id := w.invoke()
	got := w.bgctl("exec", "prod", "--", w.aws, "--output", "json", "sts", "get-caller-identity")
	require.Zero(t, got.code, got.stderr)
	w.identity(got.stdout, id)

	got = w.bgctl("exec", "prod", "--", w.aws, "configure", "list")
	assert.Contains(t, got.stdout, "container-role")
	assert.Regexp(t, `us-west-2\s+env`, got.stdout)

	got = w.bgctl("exec", "prod", "--static", "--", w.aws, "--output", "json", "sts", "get-caller-identity")
	require.Zero(t, got.code, got.stderr)
	w.identity(got.stdout, id)

	got = w.bgctl("exec", "prod", "--", w.aws, "sts", "no-such-operation")
	assert.NotZero(t, got.code)
	assert.NotEqual(t, 1, got.code, "the exit code is the AWS CLI's")
}

func awsExecWinsOverEveryOtherSourceOfCredentials(t *testing.T, w *awsWorld) {
	id := w.invoke()
	aws := filepath.Join(w.home, ".aws")
	require.NoError(t, os.Mkdir(aws, 0o700))
	file := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(aws, name), []byte(text), 0o600))
	}
	for name, prepare := range map[string]func(){
		"default profile with keys": func() {
			file("credentials", "[default]\naws_access_key_id = AKIAOLD\naws_secret_access_key = old\n")
		},
		"default profile with a process": func() {
			file("config", "[default]\nregion = eu-west-1\ncredential_process = /bin/false\n")
		},
		"chosen profile": func() {
			file("config", "[default]\noutput = text\n[profile other]\naws_access_key_id = AKIAOLD\naws_secret_access_key = old\n")
			w.env = append(w.env, "AWS_PROFILE=other")
		},
		"environment": func() {
			w.env = append(w.env, "AWS_ACCESS_KEY_ID=AKIAOLD", "AWS_SECRET_ACCESS_KEY=old", "AWS_SESSION_TOKEN=old")
		},
		"web identity": func() {
			w.env = append(w.env, "AWS_WEB_IDENTITY_TOKEN_FILE="+filepath.Join(aws, "config"), "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/other")
		},
	} {
		env := w.env
		_ = os.Remove(filepath.Join(aws, "config"))
		_ = os.Remove(filepath.Join(aws, "credentials"))
		prepare()
		got := w.bgctl("exec", "prod", "--", w.aws, "--output", "json", "sts", "get-caller-identity")
		if assert.Zero(t, got.code, "%s: %s", name, got.stderr) {
			w.identity(got.stdout, id)
		}
		w.env = env
	}
}

func awsTheAWSCLIWorksThroughCredentialProcess(t *testing.T, w *awsWorld) {
	id := w.invoke()
	aws := filepath.Join(w.home, ".aws")
	require.NoError(t, os.Mkdir(aws, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(aws, "config"),
		[]byte("[profile breakglass-prod]\nregion = us-west-2\ncredential_process = bgctl credentials prod\n"), 0o600))
	run := func() (string, string, error) {
		cmd := exec.Command(w.aws, "--profile", "breakglass-prod", "--output", "json", "sts", "get-caller-identity")
		cmd.Env = append([]string{"HOME=" + w.home}, w.env...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	out, errs, err := run()
	require.NoError(t, err, errs)
	w.identity(out, id)

	require.Zero(t, w.bgctl("close", "prod", "--reason", "Failover done").code)
	_, errs, err = run()
	require.Error(t, err)
	assert.Contains(t, errs, "Nothing gives you access to prod", "the person sees why")
}

func awsTheAWSCLIWorksThroughEnv(t *testing.T, w *awsWorld) {
	id := w.invoke()
	cmd := exec.Command("sh", "-c", `eval "$(bgctl env prod)" && exec "$0" --output json sts get-caller-identity`, w.aws)
	cmd.Env = append([]string{"HOME=" + w.home}, w.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	w.identity(stdout.String(), id)
}

func awsClosingTheEventEndsWhatARunningCommandCanFetch(t *testing.T, w *awsWorld) {
	w.invoke()
	script := `"$0" sts get-caller-identity >/dev/null || exit 20; bgctl close prod --reason "Failover done" >/dev/null || exit 21; exec "$0" sts get-caller-identity`
	// The token isn't in the command's environment, so it logs in for itself.
	home := w.home
	login := bgctlCommand(t, home, w.env, "login", "--token-stdin")
	login.Stdin = bytes.NewBufferString("alice-token\n")
	require.NoError(t, login.Run())
	got := w.bgctl("exec", "prod", "--", "sh", "-c", script, w.aws)
	assert.NotContains(t, []int{0, 20, 21}, got.code, got.stderr)
	assert.Contains(t, got.stderr, "Nothing gives you access to prod")
}
