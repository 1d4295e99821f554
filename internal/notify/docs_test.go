package notify

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"breakglass/internal/testenv"
)

// blocks returns the code blocks of docs/notifications.md in that language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "notifications.md"))
	require.NoError(t, err)
	var out []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		out = append(out, m[1])
	}
	require.NotEmpty(t, out)
	return out
}

func TestDocumentedSinksAreValid(t *testing.T) {
	for _, text := range blocks(t, "yaml") {
		if !strings.HasPrefix(text, "notify:") {
			text = "notify:\n  sinks:\n" + text
		}
		var c struct{ Notify Config }
		require.NoError(t, yaml.Unmarshal([]byte(text), &c), text)
		require.NotEmpty(t, c.Notify.Sinks)
		require.Empty(t, c.Notify.Validate([]string{"prod"}), text)
	}
	for _, text := range blocks(t, "json") {
		require.True(t, json.Valid([]byte(text)), text)
	}
}

func TestDocumentedVerificationAcceptsWhatIsSentAndNothingElse(t *testing.T) {
	python := testenv.Python(t)
	h := newHook(t, ok)
	s := sinkFor(t, SinkConfig{URL: h.URL, AllowPrivate: []string{h.hostPort()}}, h.pool(), secret('n')+" "+secret('o'))
	require.NoError(t, notifyOnce(t, s, 5*time.Second))
	got := h.seen()[0]
	headers := map[string]string{}
	for k := range got.header {
		headers[strings.ToLower(k)] = got.header.Get(k)
	}
	in, err := json.Marshal(map[string]any{"secrets": []string{secret('n'), secret('o'), secret('x')}, "headers": headers, "body": string(got.body)})
	require.NoError(t, err)
	cmd := exec.Command(python, "-c", blocks(t, "python")[0]+`
import json, sys
d = json.load(sys.stdin)
body, headers = d["body"].encode(), d["headers"]
print([verify(s, headers, body) for s in d["secrets"]], verify(d["secrets"][0], headers, body + b" "),
      verify(d["secrets"][0], {**headers, "webhook-timestamp": "1"}, body))
`)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "[True, True, False] False False\n", string(out))
}
