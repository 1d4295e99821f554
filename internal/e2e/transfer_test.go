package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/testenv"
)

// awsEnv are credentials for an emulator, and a secret for the webhook.
func awsEnv() []string {
	return []string{"AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=testing", "AWS_EC2_METADATA_DISABLED=true", hookEnv + "=" + hookSecret()}
}

// daemon runs a command of breakglassd to its end.
func daemon(t testing.TB, stdin []byte, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.Build(t, "./cmd/breakglassd"), args...)
	cmd.Env = append(os.Environ(), awsEnv()...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func mustDaemon(t testing.TB, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := daemon(t, nil, args...)
	require.Zero(t, code, "%s%s", stdout, stderr)
	return stdout, stderr
}

// TestAServerMovesFromSQLiteToDynamoDBAndBack with the commands that operators use.
func TestAServerMovesFromSQLiteToDynamoDBAndBack(t *testing.T) {
	endpoint := testenv.SharedDynamoDB(t)
	hook := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "6") // not again before the move
		w.WriteHeader(http.StatusTooManyRequests)
	})
	const cooldown = "version: \"1\"\nrules:\n  - {name: all, profiles: [staging], cooldown: 1h}\n"
	sinks := "notify:\n  sinks:\n" + hook.sink("siem")
	old := site{dir: t.TempDir(), limits: cooldown, more: sinks}
	p := old.start(t, awsEnv()...)
	key := []string{"Idempotency-Key", "the-key"}
	a, err := p.http.invoke(t.Context(), user(0), "prod", 3600, key...)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	active := decode[breakglass.View](t, a)
	ended := decode[breakglass.View](t, p.http.must(t, http.StatusCreated, user(0), http.MethodPost, "/v1/breakglass", invocation("staging", 3600)))
	a, err = p.http.close(t.Context(), user(0), ended.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.status)
	p.http.must(t, http.StatusForbidden, user(1), http.MethodGet, "/v1/events", "")
	p.poll(t, "notifying", func() bool { return hook.attempts() > 0 })
	trail := p.http.feed(t, "0")

	file := filepath.Join(t.TempDir(), "moved.jsonl")
	config := filepath.Join(old.dir, "config.yaml")
	out, _ := mustDaemon(t, "export", "--config", config) // beside the running server
	require.Contains(t, out, `"kind":"trailer"`)
	require.Zero(t, p.terminate(t))
	_, said := mustDaemon(t, "export", "--config", config, "--output", file)
	require.Contains(t, said, fmt.Sprintf("2 events, %d audit entries", len(trail)))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	export, err := os.ReadFile(file)
	require.NoError(t, err)
	code, _, said := daemon(t, nil, "export", "--config", config, "--output", file)
	require.Equal(t, 1, code)
	require.Contains(t, said, "exists")
	for _, secret := range []string{token(user(0)), token("sam"), hookKey, hookSecret()} {
		require.NotContains(t, string(export), secret)
	}

	moved := site{dir: t.TempDir(), limits: cooldown, more: sinks,
		engine: fmt.Sprintf("{driver: dynamodb, dynamodb: {table: %s, region: us-east-1, endpoint: %q}}", "e2e-moved", endpoint)}
	config = moved.write(t)
	code, _, said = daemon(t, nil, "import", "--config", config, "--input", file)
	require.Equal(t, 1, code)
	require.Contains(t, said, "breakglassd init dynamodb", "there is no table yet")
	mustDaemon(t, "init", "dynamodb", "--config", config)

	// A file is verified before anything is written; what comes through a pipe
	// is not, and then no server starts.
	damaged := filepath.Join(t.TempDir(), "damaged.jsonl")
	require.NoError(t, os.WriteFile(damaged, export[:len(export)-40], 0o600))
	code, _, said = daemon(t, nil, "import", "--config", config, "--input", damaged)
	require.Equal(t, 1, code)
	require.Contains(t, said, "cut off")
	require.NotContains(t, said, "no server starts")
	code, _, said = daemon(t, export[:len(export)-40], "import", "--config", config)
	require.Equal(t, 1, code)
	require.Contains(t, said, "no server starts on the table")
	s := moved.spawn(t, awsEnv()...)
	require.Equal(t, 1, s.wait(t))
	require.Contains(t, s.logs.String(), "run breakglassd import again")

	out, _ = mustDaemon(t, "import", "--config", config, "--input", file)
	require.Contains(t, out, "from sqlite")
	code, _, said = daemon(t, nil, "import", "--config", config, "--input", file)
	require.Equal(t, 1, code)
	require.Contains(t, said, "needs an empty one")

	hook.repair()
	p = moved.start(t, awsEnv()...)
	require.Equal(t, trail, p.http.feed(t, "0"), "the same trail, hash by hash")
	c := newCtl(t, p.http, "sam")
	code, out, said = c.run(t, "verify", "--head", fmt.Sprintf("%d:%s", len(trail), trail[len(trail)-1].Hash))
	require.Zero(t, code, "%s%s", out, said)
	p.poll(t, "listing both events", func() bool { // an index may lag
		code, out, _ = c.run(t, "list", "-o", "json")
		return code == 0 && strings.Contains(out, active.ID) && strings.Contains(out, ended.ID)
	})
	a, err = p.http.invoke(t.Context(), user(0), "prod", 3600, key...)
	require.NoError(t, err)
	require.Equal(t, active.ID, decode[breakglass.View](t, a).ID, "the same key, the same event")
	a, err = p.http.invoke(t.Context(), user(0), "prod", 3600)
	require.NoError(t, err)
	require.Equal(t, "already_active", a.code())
	a, err = p.http.invoke(t.Context(), user(0), "staging", 3600)
	require.NoError(t, err)
	require.Equal(t, "rate_limited", a.code(), "%s", a.body)
	p.poll(t, "done with the deliveries of the other store", func() bool {
		missing, _ := hook.missing(trail)
		return len(missing) == 0
	})
	longer := p.http.feed(t, "0")
	require.Zero(t, p.terminate(t))

	back := site{dir: t.TempDir(), limits: cooldown, more: sinks}
	out, _ = mustDaemon(t, "export", "--config", config)
	code, said, errs := daemon(t, []byte(out), "import", "--config", back.write(t))
	require.Zero(t, code, "%s%s", said, errs)
	require.Contains(t, said, "from dynamodb")
	p = back.start(t, awsEnv()...)
	now := p.http.feed(t, "0")
	require.Equal(t, longer, now[:len(longer)])
}
