package api_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/problem"
	"breakglass/internal/testenv"
)

func guide(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "api.md"))
	require.NoError(t, err)
	return string(b)
}

// block returns the code blocks of a language, in order.
func blocks(text, language string) []string {
	var out []string
	for _, part := range strings.Split(text, "\n```"+language+"\n")[1:] {
		code, _, _ := strings.Cut(part, "\n```")
		out = append(out, code)
	}
	return out
}

func TestTheGuideHasEveryCodeWithItsStatus(t *testing.T) {
	text := guide(t)
	for code, status := range problem.Codes() {
		assert.Contains(t, text, fmt.Sprintf("\n| `%s` | %d |", code, status))
	}
	assert.Equal(t, len(problem.Codes())+1, strings.Count(text[strings.Index(text, "\n| code |"):], "\n| `"), "no other codes")
}

// The shell and Python of the guide are run as they stand there, up to the
// loops that never end.
func TestTheExamplesOfTheGuideWork(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq"} {
		_, err := exec.LookPath(tool)
		testenv.Require(t, err == nil, "needs "+tool+" on the path")
	}
	shell := blocks(guide(t), "sh")
	require.Len(t, shell, 11)
	env, invoke, dryRun, use, chain, asking, deciding, bot, why, list, feed := shell[0], shell[1], shell[2], shell[3], shell[4], shell[5], shell[6], shell[7], shell[8], shell[9], shell[10]
	s := start(t, options{})
	run := func(as, script string) string {
		script = "set -eu\n" + strings.Replace(env, "BGCTL_TOKEN=…", "BGCTL_TOKEN="+tokenOf(as), 1) + "\n" + script
		script = strings.Replace(script, "http://127.0.0.1:8080", s.url, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir = t.TempDir()
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%s\n%s", script, out)
		return string(out)
	}
	out := run(alice, invoke+"\n"+invoke)
	assert.Equal(t, 2, strings.Count(out, `"event_id"`), "the second is a repetition: %s", out)
	assert.Contains(t, run(alice, dryRun), `"dry_run":true`)
	assert.Contains(t, run(alice, use), `"secret_access_key"`)
	require.Len(t, s.events(t), 1)
	assert.Equal(t, breakglass.StatusClosed, s.events(t)[0].Status)
	assert.Equal(t, 1, s.events(t)[0].Extensions)

	assert.Contains(t, run(alice, chain), `"access_denied"`)
	assert.Contains(t, run(alice, asking), `"status":"pending"`)
	assert.Contains(t, run(sam, deciding), `"status":"approved"`)
	assert.Contains(t, run(alice, chain), `"granted_by":"request"`)
	assert.Regexp(t, "(?s)^request\n.*request.created.*request.approved\t"+sam+".*credentials.issued", run(alice, why))

	var ids []string
	for range 3 {
		ids = append(ids, s.invoke(t, alice, "prod", "duration_seconds=60").ID)
		s.clock.advance(time.Hour)
	}
	out = run(alice, strings.ReplaceAll(list, "limit=200", "limit=2"))
	for _, id := range ids {
		assert.Equal(t, 1, strings.Count(out, id))
	}
	head := len(s.entries(t))
	s.handler.Drain() // the loop below has no end but this: an empty page
	once := func(loop string) string {
		return strings.Replace(loop, "; do\n", "; do\n  [ \"$(echo \"$page\" | jq '.items | length')\" != 0 ] || break\n", 1)
	}
	out = run(auditor, once(feed))
	assert.Equal(t, head, strings.Count(out, `"seq":`))
	assert.Equal(t, alice+" asks for prod: Rotate the certificate of the load balancer, CHG-2201  →  bgctl approve "+s.accessRequests(t)[0].ID+"\n", run(auditor, once(bot)))
}

func TestThePythonOfTheGuideFollowsTheTrail(t *testing.T) {
	python := testenv.Python(t)
	code := blocks(guide(t), "python")
	require.Len(t, code, 1)
	s := start(t, options{})
	s.invoke(t, alice, "prod")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", code[0])
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "BGCTL_SERVER="+s.url, "BGCTL_TOKEN="+tokenOf(auditor), "NO_PROXY=*")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for seq, who := range []string{alice, bob, sam} {
		if seq > 0 {
			s.invoke(t, who, "prod")
		}
		require.True(t, lines.Scan())
		assert.Regexp(t, fmt.Sprintf(`^%d 2026-.* breakglass.invoked %s prod$`, seq+1, who), lines.Text())
	}
}
