package audit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// recorder is a Logger that remembers what it was given, fails on demand and
// can hang.
type recorder struct {
	mu   sync.Mutex
	seqs []int64
	err  error
	hang chan struct{}
}

func (r *recorder) LogBreakGlass(e breakglass.LogEntry) error {
	if r.hang != nil {
		<-r.hang
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.seqs = append(r.seqs, e.Seq)
	return nil
}

func (r *recorder) got() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int64{}, r.seqs...)
}

func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// startFollower runs the follower within a synctest bubble.
func startFollower(t *testing.T, f *Follower) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func TestFollowerFeedsWhatIsCommittedAfterItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail := newTrail(1500)
		j, r := newJournal(trail[:3]...), &recorder{}
		defer startFollower(t, &Follower{Journal: j, Loggers: []Logger{r}})()
		assert.Empty(t, r.got())
		j.append(trail[3:]...)
		synctest.Wait()
		want := make([]int64, 0, 1497)
		for s := int64(4); s <= 1500; s++ {
			want = append(want, s)
		}
		assert.Equal(t, want, r.got())
	})
}

func TestFollowerFeedsWhatIsCommittedBetweenCheckAndRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail := newTrail(5)
		j, r := newJournal(trail[:2]...), &recorder{}
		f := &Follower{Journal: j, Loggers: []Logger{r}}
		require.NoError(t, f.Check(t.Context()))
		j.append(trail[2:]...)
		startFollower(t, f)()
		assert.Equal(t, []int64{3, 4, 5}, r.got())
		j.fail(errors.New("database is locked"))
		require.ErrorContains(t, f.Check(t.Context()), "database is locked")
	})
}

func TestFollowerWithoutLoggersOrWithNilOnesIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file *FileMirror
		var lines *JSONLogger
		f := &Follower{Journal: newJournal(), Loggers: []Logger{nil, file, lines}}
		require.NoError(t, f.Check(t.Context()))
		startFollower(t, f)()
		startFollower(t, &Follower{})()
		require.NoError(t, file.LogBreakGlass(newTrail(1)[0]))
		require.NoError(t, lines.LogBreakGlass(newTrail(1)[0]))
		require.NoError(t, file.Reopen())
		require.NoError(t, file.Close())
	})
}

func TestFollowerRetriesAFailingLoggerAndSaysSoOnceForEachOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail := newTrail(9)
		var log bytes.Buffer
		j, sick, well := newJournal(), &recorder{}, &recorder{}
		stop := startFollower(t, &Follower{Journal: j, Loggers: []Logger{sick, well}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		for outage := range 2 {
			sick.fail(errors.New("no space left on device"))
			j.append(trail[outage*4 : outage*4+4]...)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			assert.Len(t, well.got(), outage*4+4, "the other logger goes on")
			assert.Len(t, sick.got(), outage*4)
			sick.fail(nil)
			time.Sleep(retryMax)
			synctest.Wait()
			assert.Equal(t, well.got(), sick.got(), "in order, nothing lost")
		}
		stop()
		assert.Equal(t, 2, strings.Count(log.String(), "level=ERROR"), log.String())
		assert.Equal(t, 2, strings.Count(log.String(), "level=INFO"), log.String())
		assert.Contains(t, log.String(), "no space left on device")
	})
}

func TestFollowerIsHeldUpByNoHangingLogger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, hanging, well := newJournal(), &recorder{hang: make(chan struct{})}, &recorder{}
		stop := startFollower(t, &Follower{Journal: j, Loggers: []Logger{hanging, well}})
		j.append(newTrail(3)...)
		synctest.Wait()
		assert.Equal(t, []int64{1, 2, 3}, well.got())
		close(hanging.hang)
		stop()
		assert.Equal(t, []int64{1, 2, 3}, hanging.got(), "the end of Run hands over what was committed")
	})
}

func TestFollowerEndsAlthoughALoggerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		j, hanging := newJournal(), &recorder{hang: make(chan struct{})}
		stop := startFollower(t, &Follower{Journal: j, Loggers: []Logger{hanging}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		j.append(newTrail(3)...)
		synctest.Wait()
		began := time.Now()
		stop()
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Contains(t, log.String(), "left behind")
		close(hanging.hang)
	})
}

func TestFollowerHandsOverWhatWasCommittedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, r := newJournal(), &recorder{}
		ctx, cancel := context.WithCancel(t.Context())
		f := &feed{Follower: &Follower{Journal: j}, logger: r, after: 0}
		j.append(newTrail(1200)...)
		cancel()
		f.run(ctx)
		assert.Len(t, r.got(), 1200)
	})
}

func TestFollowerSurvivesAnUnreachableJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail := newTrail(5)
		var log bytes.Buffer
		j, r := newJournal(), &recorder{}
		defer startFollower(t, &Follower{Journal: j, Loggers: []Logger{r}, Log: slog.New(slog.NewTextHandler(&log, nil))})()
		j.append(trail[:2]...)
		synctest.Wait()
		j.fail(errors.New("database is locked"))
		time.Sleep(time.Minute)
		j.append(trail[2:]...)
		j.fail(nil)
		time.Sleep(retryMax)
		synctest.Wait()
		assert.Equal(t, []int64{1, 2, 3, 4, 5}, r.got())
		assert.Equal(t, 1, strings.Count(log.String(), "database is locked"))
	})
}

func TestFollowerDoesNotPassOnATrailWithAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trail := newTrail(4)
		j, r := newJournal(), &recorder{}
		var log bytes.Buffer
		defer startFollower(t, &Follower{Journal: j, Loggers: []Logger{r}, Log: slog.New(slog.NewTextHandler(&log, nil))})()
		j.append(trail[0], trail[2])
		synctest.Wait()
		assert.Contains(t, log.String(), "the audit trail has entry 3 where entry 2 is due")
		assert.Empty(t, r.got())
	})
}

func TestFollowerContinuesAMirrorWhereItEnded(t *testing.T) {
	trail := newTrail(20)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for _, upTo := range []int{7, 7, 20} {
		m, err := OpenFileMirror(path)
		require.NoError(t, err)
		synctest.Test(t, func(t *testing.T) {
			startFollower(t, &Follower{Journal: newJournal(trail[:upTo]...), Loggers: []Logger{m}})()
		})
		require.NoError(t, m.Close())
		assert.EqualValues(t, upTo, verifyFile(t, path).LastSeq)
	}
}

func TestFollowerLeavesAMirrorOfAnotherTrailAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	other := newTrail(5)
	other[0].Actor = "mallory"
	reseal(other, 0)
	for name, trail := range map[string][]breakglass.LogEntry{"of another trail": other, "shorter than the mirror": newTrail(3)} {
		t.Run(name, func(t *testing.T) {
			before := strings.Join(jsonLines(newTrail(4)), "") + `{"seq":5,"ti`
			require.NoError(t, os.WriteFile(path, []byte(before), 0o600))
			m, err := OpenFileMirror(path)
			require.NoError(t, err)
			defer func() { _ = m.Close() }()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				f := &Follower{Journal: newJournal(trail...), Loggers: []Logger{m}, Log: slog.New(slog.NewTextHandler(&log, nil))}
				err := f.Check(t.Context())
				require.ErrorIs(t, err, ErrForeignMirror)
				assert.Contains(t, err.Error(), "ends with entry 4")
				stop := startFollower(t, f)
				time.Sleep(time.Minute)
				after, err := os.ReadFile(path)
				require.NoError(t, err)
				assert.Equal(t, before, string(after), "not even the torn line is touched")
				assert.Contains(t, log.String(), "Nothing is written to it")

				require.NoError(t, os.Rename(path, path+".wrong"))
				time.Sleep(retryMax)
				stop()
				assert.EqualValues(t, len(trail), verifyFile(t, path).LastSeq, "moved away, a new one is begun from the start")
				assert.Contains(t, log.String(), "well again")
			})
		})
	}
}
