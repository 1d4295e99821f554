package app

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"breakglass/internal/api"
	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// mirrorPatience is how long a mirror may lack entries without taking any
// before that is a fault: a disk can be slow, and a new mirror of an old trail
// takes a while.
const mirrorPatience = 30 * time.Second

// watchedMirror is the audit mirror with an eye on how it does.
type watchedMirror struct {
	*audit.FileMirror
	now func() time.Time

	mu    sync.Mutex
	after int64     // the last entry that it has
	moved time.Time // when that was found out
	err   error     // of the last attempt; nil: it worked
}

func watchMirror(m *audit.FileMirror) *watchedMirror {
	return &watchedMirror{FileMirror: m, now: time.Now}
}

// Resume implements audit.Resumer.
func (m *watchedMirror) Resume(hashOf func(seq int64) (string, error)) (int64, error) {
	after, err := m.FileMirror.Resume(hashOf)
	m.note(after, err)
	return after, err
}

// LogBatch implements audit.BatchLogger.
func (m *watchedMirror) LogBatch(entries []breakglass.LogEntry) error {
	err := m.FileMirror.LogBatch(entries)
	if err == nil && len(entries) > 0 {
		m.note(entries[len(entries)-1].Seq, nil)
	} else if err != nil {
		m.note(0, err)
	}
	return err
}

func (m *watchedMirror) note(after int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err = err; err == nil && (after != m.after || m.moved.IsZero()) {
		m.after, m.moved = after, m.now()
	}
}

// status says how the mirror stands to a trail that ends at head.
func (m *watchedMirror) status(head int64) (ok bool, detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	behind := max(head-m.after, 0)
	switch {
	case errors.Is(m.err, audit.ErrForeignMirror):
		return false, "NOT WRITTEN: the file is the mirror of another trail; keep it as evidence, and see the server's log"
	case m.err != nil:
		return false, fmt.Sprintf("NOT WRITTEN: it fails, and lacks %d entries; see the server's log", behind)
	case behind > 0 && m.now().Sub(m.moved) > mirrorPatience:
		return false, fmt.Sprintf("NOT WRITTEN: it lacks %d entries and takes none; see the server's log", behind)
	case behind > 0:
		return true, fmt.Sprintf("follows the trail, %d entries behind", behind)
	}
	return true, "has the whole trail"
}

// check is green whatever the mirror does: without it the server still
// grants and records, and that is when access is needed most.
func (m *watchedMirror) check(head int64) api.Check {
	_, detail := m.status(head)
	return api.Check{Name: "audit_mirror", OK: true, Detail: detail}
}
