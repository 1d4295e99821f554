package audit

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

func verifyFile(t testing.TB, path string) Result {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	res, err := VerifyStream(f, Options{})
	require.NoError(t, err)
	return res
}

// openMirror opens a mirror that has been compared with the trail.
func openMirror(t *testing.T, path string, trail []breakglass.LogEntry) *FileMirror {
	t.Helper()
	m, err := OpenFileMirror(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Close() })
	resume(t, m, trail)
	return m
}

func resume(t *testing.T, m *FileMirror, trail []breakglass.LogEntry) int64 {
	t.Helper()
	f := &Follower{Journal: newJournal(trail...)}
	after, err := m.Resume(f.hashOf(t.Context()))
	require.NoError(t, err)
	return after
}

func TestMirrorIsPrivateAndVerifies(t *testing.T) {
	trail := newTrail(6)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	m := openMirror(t, path, trail)
	require.NoError(t, m.LogBatch(trail[:4]))
	require.NoError(t, m.LogBreakGlass(trail[4]))
	require.NoError(t, m.LogBatch(trail), "what it has is passed over")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	assert.Equal(t, Anchor{6, trail[5].Hash}, verifyFile(t, path).Head())
}

func TestMirrorNeverLeavesAGap(t *testing.T) {
	trail := newTrail(6)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	m := openMirror(t, path, trail)
	require.ErrorContains(t, m.LogBreakGlass(trail[1]), "ends with entry 0 and can't go on with entry 2")
	require.NoError(t, m.LogBreakGlass(trail[0]))
	require.ErrorContains(t, m.LogBatch([]breakglass.LogEntry{trail[1], trail[3]}), "can't go on with entry 4")
	assert.EqualValues(t, 1, verifyFile(t, path).LastSeq, "a batch is written as a whole or not at all")
}

func TestMirrorRepairsALineThatACrashTore(t *testing.T) {
	trail := newTrail(4)
	lines := jsonLines(trail)
	whole := strings.Join(lines[:2], "")
	step := 1
	if testing.Short() {
		step = 13 // each costs two syncs
	}
	for cut := 0; cut < len(lines[2]); cut += step {
		for _, zeros := range []string{"", "\x00\x00\x00\x00"} {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(whole+lines[2][:cut]+zeros), 0o600))
			m := openMirror(t, path, trail)
			require.EqualValues(t, 2, resume(t, m, trail))
			require.NoError(t, m.LogBatch(trail[2:]))
			require.EqualValues(t, 4, verifyFile(t, path).LastSeq)
			require.NoError(t, m.Close())
		}
	}
}

func TestMirrorRepairsATornFirstLine(t *testing.T) {
	trail := newTrail(2)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(`{"se`), 0o600))
	m := openMirror(t, path, trail)
	require.NoError(t, m.LogBatch(trail))
	assert.EqualValues(t, 2, verifyFile(t, path).LastSeq)
}

func TestMirrorRefusesWhatIsNotAMirrorAndLeavesItAlone(t *testing.T) {
	lines := jsonLines(newTrail(3))
	for name, content := range map[string]string{
		"text":                  "Dear diary,\n",
		"text without end":      "Dear diary",
		"text after entries":    lines[0] + "Dear diary",
		"other JSON":            "{\"seq\":1}\n",
		"an entry changed":      lines[0] + strings.Replace(lines[1], "bob", "eve", 1),
		"blank line at the end": lines[0] + "\n",
		"endless line":          strings.Repeat("x", 3*maxEntryBytes),
		"endless torn line":     lines[0] + `{"seq":2,"x":"` + strings.Repeat("x", maxEntryBytes),
		"zeros in the middle":   lines[0] + "\x00\x00\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
			_, err := OpenFileMirror(path)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, content, string(after))
		})
	}
	_, err := OpenFileMirror(t.TempDir())
	require.Error(t, err)
	_, err = OpenFileMirror("/dev/null")
	require.ErrorContains(t, err, "not a regular file")
	_, err = OpenFileMirror(filepath.Join(t.TempDir(), "missing", "audit.jsonl"))
	require.Error(t, err)
}

func TestMirrorBelongsToOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	m := openMirror(t, path, nil)
	_, err := OpenFileMirror(path)
	require.ErrorContains(t, err, "another process")
	require.NoError(t, m.Close())
	require.Error(t, m.LogBreakGlass(newTrail(1)[0]), "closed")
	openMirror(t, path, nil)
}

func TestMirrorFollowsRotation(t *testing.T) {
	trail := newTrail(12)
	for name, rotate := range map[string]func(t *testing.T, path string){
		"renamed":            func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+".1")) },
		"renamed and remade": func(t *testing.T, path string) { renameAndMake(t, path) },
		"copied and emptied": func(t *testing.T, path string) { copyAndTruncate(t, path) },
	} {
		for _, signalled := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				m := openMirror(t, path, trail)
				require.NoError(t, m.LogBatch(trail[:5]))
				rotate(t, path)
				if signalled {
					require.NoError(t, m.Reopen())
					require.NoError(t, m.Reopen(), "without a rotation it changes nothing")
				}
				require.EqualValues(t, 5, resume(t, m, trail))
				require.NoError(t, m.LogBatch(trail[5:]))

				old, err := os.ReadFile(path + ".1")
				require.NoError(t, err)
				now, err := os.ReadFile(path)
				require.NoError(t, err)
				assert.Equal(t, 7, strings.Count(string(now), "\n"))
				res, err := verifyLines(Options{}, string(old), string(now))
				require.NoError(t, err)
				assert.EqualValues(t, 12, res.Entries)

				require.NoError(t, m.Close())
				assert.EqualValues(t, 12, resume(t, openMirror(t, path, trail), trail))
			})
		}
	}
}

func renameAndMake(t *testing.T, path string) {
	require.NoError(t, os.Rename(path, path+".1"))
	require.NoError(t, os.WriteFile(path, nil, 0o640))
}

func copyAndTruncate(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".1", data, 0o600))
	require.NoError(t, os.Truncate(path, 0))
}

func TestMirrorStaysWithTheOldFileWhenTheNewOneCantBeOpened(t *testing.T) {
	trail := newTrail(4)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	m := openMirror(t, path, trail)
	require.NoError(t, m.LogBatch(trail[:2]))
	require.NoError(t, os.Rename(path, path+".1"))
	require.NoError(t, os.Mkdir(path, 0o700))
	require.Error(t, m.Reopen())
	require.Error(t, m.LogBreakGlass(trail[2]))
	require.NoError(t, os.Remove(path))
	require.NoError(t, m.LogBatch(trail[2:]))
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(string(now), "\n"))
}

func TestMirrorGoesBackToAnOlderFileOfTheSameTrail(t *testing.T) {
	trail := newTrail(6)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	m := openMirror(t, path, trail)
	require.NoError(t, m.LogBatch(trail))
	require.NoError(t, os.WriteFile(path+".old", []byte(strings.Join(jsonLines(trail[:2]), "")), 0o600))
	require.NoError(t, os.Rename(path+".old", path))
	require.ErrorContains(t, m.LogBreakGlass(trail[2]), "not compared with the trail yet")
	require.EqualValues(t, 2, resume(t, m, trail))
	require.NoError(t, m.LogBatch(trail[2:]))
	assert.EqualValues(t, 6, verifyFile(t, path).LastSeq)
}

// The limit on the size of files makes a real write stop in the middle of a
// line, as a full disk does.
func TestMirrorTakesBackWhatAFullDiskCutOff(t *testing.T) {
	const child = "BREAKGLASS_TEST_SMALL_FILES"
	if os.Getenv(child) == "" { // the limit would hit what the test framework writes, too
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: "+t.Name())
		return
	}
	trail := newTrail(6)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	m := openMirror(t, path, trail)
	require.NoError(t, m.LogBatch(trail[:2]))
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	low := limit
	low.Cur = uint64(len(before)) + 300
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low))
	failed := m.LogBatch(trail[2:])
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))

	require.ErrorIs(t, failed, syscall.EFBIG)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	require.EqualValues(t, 2, resume(t, m, trail))
	require.NoError(t, m.LogBatch(trail[2:]))
	assert.EqualValues(t, 6, verifyFile(t, path).LastSeq)
}

type shortWriter struct {
	strings.Builder
	room int
}

func (w *shortWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		n, _ := w.Builder.Write(p[:w.room])
		w.room = 0
		return n, syscall.ENOSPC
	}
	w.room -= len(p)
	return w.Builder.Write(p)
}

func TestJSONLinesStartAnewAfterAWriteThatFailedHalfWay(t *testing.T) {
	trail := newTrail(2)
	w := &shortWriter{}
	l := NewJSONLogger(w)
	require.ErrorIs(t, l.LogBreakGlass(trail[0]), syscall.ENOSPC)
	w.room = 20
	require.ErrorIs(t, l.LogBreakGlass(trail[0]), syscall.ENOSPC)
	require.ErrorIs(t, l.LogBreakGlass(trail[0]), syscall.ENOSPC, "nothing at all could be written")
	w.room = 1 << 20
	require.NoError(t, l.LogBreakGlass(trail[0]))
	require.NoError(t, l.LogBreakGlass(trail[1]))
	lines := jsonLines(trail)
	assert.Equal(t, lines[0][:20]+"\n"+lines[0]+lines[1], w.String())
}

func TestJSONLinesCantMoveATerminal(t *testing.T) {
	e := newTrail(1)[0]
	const acting = "\x1b\u009d\x7f\u2028\u2029\u202e\u2066\u061c\u200e\ufeff\U000e0041\ue000\x00\r"
	hostile := acting + "\x1b[2J\x9b31m\u009d\x7f\u2028\u2029\u202e\u2066\u061c\ufeff\U000e0041\x00\r\n"
	e.Justification, e.Actor, e.Detail = hostile, "é\U0001F469\u200d\U0001F680 日本", map[string]string{hostile: hostile}
	Seal(&e, GenesisHash)
	var b strings.Builder
	require.NoError(t, NewJSONLogger(&b).LogBreakGlass(e))

	line, end := strings.CutSuffix(b.String(), "\n")
	require.True(t, end)
	for _, r := range acting {
		assert.NotContains(t, line, string(r), "%U stands raw in the line", r)
	}
	assert.Contains(t, line, "é\U0001F469\u200d\U0001F680 日本", "readable text stays readable")
	var back, served breakglass.LogEntry
	require.NoError(t, json.Unmarshal([]byte(line), &back))
	raw, err := json.Marshal(e)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &served))
	assert.Equal(t, served, back)
	_, err = verifyLines(Options{}, line)
	require.NoError(t, err)
}
