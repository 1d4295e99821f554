package audit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// block returns the first fenced block of that language in docs/verify.md.
func block(t *testing.T, language string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/verify.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(doc), "\n```"+language+"\n")
	require.True(t, ok, "docs/verify.md has no %s block", language)
	text, _, _ := strings.Cut(rest, "```\n")
	return text
}

func TestTheExampleInTheDocumentIsTrue(t *testing.T) {
	served, canonical := block(t, "json"), strings.TrimSuffix(block(t, "text"), "\n")
	res, err := verifyLines(Options{}, served)
	require.NoError(t, err)
	assert.Equal(t, res.LastHash, hexDigest(sum(canonical)))
}

func TestTheScriptInTheDocumentAgreesOnARealMirror(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("BREAKGLASS_REQUIRE_EMULATORS") == "1" {
			t.Fatal("python3 is not in PATH, and BREAKGLASS_REQUIRE_EMULATORS=1")
		}
		t.Skip("python3 is not in PATH: the script of docs/verify.md was not run")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "verify.py")
	require.NoError(t, os.WriteFile(script, []byte(block(t, "python")), 0o600))
	trail := newTrail(7)
	trail[1].Justification = "\x00\x1f\x7f\x1b\u0085\u2028\u202e\U000e0041\xff\U0001F469\u200d\U0001F680\"\\/<&>"
	trail[2] = fullEntry()
	trail[2].Seq = 3
	reseal(trail, 0)
	path := filepath.Join(dir, "audit.jsonl")
	m := openMirror(t, path, trail)
	require.NoError(t, m.LogBatch(trail))
	mirror, err := os.ReadFile(path)
	require.NoError(t, err)
	head := verifyFile(t, path).Head().String()

	run := func(in []byte, args ...string) (string, error) {
		cmd := exec.Command(python, append([]string{script}, args...)...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	served := []byte(strings.Join(jsonLines(trail), ""))
	for _, in := range [][]byte{mirror, served} {
		out, err := run(in, head)
		require.NoError(t, err, out)
		assert.Equal(t, "7 entries verified, head "+head, out)
	}
	lines := bytes.SplitAfter(mirror, []byte("\n"))
	for want, c := range map[string]struct {
		in   [][]byte
		args []string
	}{
		"entry 2 is bad or missing":          {in: [][]byte{lines[0], lines[2]}},
		"entry 3 is bad or missing":          {in: [][]byte{lines[0], lines[1], bytes.Replace(lines[2], []byte("alice"), []byte("clive"), 1)}},
		"entry 1 is bad or missing":          {in: [][]byte{bytes.Replace(lines[0], []byte("{"), []byte(`{"actor":"eve",`), 1)}},
		"the end is cut off after entry 6":   {in: lines[:6], args: []string{head}},
		"entry 7 is not the one that is kno": {in: lines, args: []string{"7:" + GenesisHash}},
	} {
		out, err := run(bytes.Join(c.in, nil), c.args...)
		require.Error(t, err, want)
		assert.Contains(t, out, want)
	}
}
