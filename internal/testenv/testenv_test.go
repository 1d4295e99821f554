package testenv

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder stands in for the *testing.T of a test that Require ends.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, args ...any) {
	r.ended = "fatal: " + fmt.Sprintf(format, args...)
	panic(r)
}
func (r *recorder) Skip(args ...any) {
	r.ended = "skip: " + fmt.Sprint(args...)
	panic(r)
}

func runRequire(ok bool) (ended string) {
	r := &recorder{}
	defer func() { _ = recover(); ended = r.ended }()
	Require(r, ok, "needs the moon")
	return r.ended
}

func TestRequireSkipsVisiblyAndFailsWhenEmulatorsAreRequired(t *testing.T) {
	t.Setenv(envRequire, "")
	assert.Empty(t, runRequire(true))
	assert.Equal(t, "skip: needs the moon", runRequire(false))
	t.Setenv(envRequire, "1")
	assert.Empty(t, runRequire(true))
	assert.Equal(t, "fatal: needs the moon (BREAKGLASS_REQUIRE_EMULATORS=1 makes this a failure)", runRequire(false))
}

func TestToolRefusesAnIncompleteOrOutdatedEnvironment(t *testing.T) {
	t.Setenv(envVenv, "")
	root := t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o755))
	}
	write("test/requirements.txt", "moto\n")
	write(".cache/venv/bin/python", "")
	_, problem := tool(root, "python")
	assert.Contains(t, problem, "not installed", "no stamp: the installation was interrupted")

	write(".cache/venv/stamp", "0000\n")
	_, problem = tool(root, "python")
	assert.Contains(t, problem, "another test/requirements.txt")

	write("test/requirements.txt", "")
	write(".cache/venv/stamp", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n")
	path, problem := tool(root, "python")
	assert.Empty(t, problem)
	assert.Equal(t, filepath.Join(root, ".cache/venv/bin/python"), path)

	_, problem = tool(root, "aws")
	assert.Contains(t, problem, "needs aws")
}

func TestMotoIsARealEmulatorWithItsOwnState(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two processes")
	}
	aws := AWSCLI(t)
	run := func(endpoint string, args ...string) []byte {
		cmd := exec.Command(aws, append([]string{"--endpoint-url", endpoint, "--output", "json"}, args...)...)
		cmd.Env = append(motoEnv(os.Environ()), "AWS_DEFAULT_REGION=us-east-1")
		out, err := cmd.Output()
		require.NoError(t, err)
		return out
	}
	var endpoint string
	t.Run("state", func(t *testing.T) {
		endpoint = Moto(t)
		other := Moto(t)
		run(endpoint, "sns", "create-topic", "--name", "here")
		var topics struct{ Topics []any }
		require.NoError(t, json.Unmarshal(run(endpoint, "sns", "list-topics"), &topics))
		assert.Len(t, topics.Topics, 1)
		require.NoError(t, json.Unmarshal(run(other, "sns", "list-topics"), &topics))
		assert.Empty(t, topics.Topics, "another emulator saw this one's topic")
	})
	resp, err := http.Get(endpoint)
	if err == nil {
		_ = resp.Body.Close()
	}
	assert.Error(t, err, "the emulator outlived its test")
}

func TestRootIsTheModule(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(Root(t), "go.mod"))
	require.NoError(t, err)
	assert.Contains(t, string(b), "module breakglass")
}
