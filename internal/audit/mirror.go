package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"breakglass/internal/breakglass"
)

// FileMirror keeps a copy of the trail in a file of JSON lines, for log
// shippers and for the day on which the database can't be trusted. It knows
// from its last line where to go on after a restart, and it follows a rotation
// of the file by itself. It is safe for concurrent use.
type FileMirror struct {
	path string

	mu   sync.Mutex
	f    *os.File
	last Anchor // the last entry on disk, in this file or in one that was rotated away
	// checked says that last was compared with the trail, or written by us.
	checked bool
	// torn is where an incomplete last line begins, and tornEnd where it ends,
	// to be cut off before the next write; both are 0 when there is none. It is
	// not cut before last was checked: the file may be another one altogether.
	torn, tornEnd int64
}

// OpenFileMirror opens the mirror for appending, or makes it with mode 0600.
// It refuses a file that isn't a mirror, and one that another process has open
// as its mirror. An empty file is filled with the whole trail.
func OpenFileMirror(path string) (*FileMirror, error) {
	m := &FileMirror{path: path}
	if err := m.open(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *FileMirror) String() string { return "audit mirror " + m.path }

// Close closes the file. A closed mirror takes no more entries.
func (m *FileMirror) Close() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f == nil {
		return nil
	}
	err := m.f.Close()
	m.f = nil
	return err
}

// Reopen goes on in the file that now has the mirror's name, after somebody
// moved the old one away. A new, empty file continues after the last entry of
// the old one. When it can't be opened the mirror stays with the old file.
func (m *FileMirror) Reopen() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.followName()
}

// Resume returns the seq of the last entry in the mirror. The first time it
// compares that entry with the trail.
func (m *FileMirror) Resume(hashOf func(seq int64) (string, error)) (int64, error) {
	if m == nil {
		return 0, errClosed
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.followName(); err != nil {
		return 0, err
	}
	if m.checked || m.last.Seq == 0 {
		return m.last.Seq, nil
	}
	hash, err := hashOf(m.last.Seq)
	switch {
	case errors.Is(err, ErrNotInTrail):
		return 0, m.foreign("the trail doesn't reach that far", "the database was restored from a backup")
	case err != nil:
		return 0, err
	case hash != m.last.Hash:
		return 0, m.foreign(fmt.Sprintf("that entry has hash %s in the mirror and %s in the trail", m.last.Hash, hash), "the database was replaced")
	}
	m.checked = true
	return m.last.Seq, nil
}

// ErrForeignMirror says that a mirror file is not one of this trail.
var ErrForeignMirror = errors.New("the audit mirror is not one of this trail")

func (m *FileMirror) foreign(what, cause string) error {
	return fmt.Errorf("%w: %s ends with entry %d, but %s. Either it is another server's mirror, or %s. Nothing is written to it; "+
		"keep it as evidence and move it away, then a new mirror is begun", ErrForeignMirror, m.path, m.last.Seq, what, cause)
}

var errClosed = errors.New("the audit mirror is closed")

// LogBreakGlass appends the entry and returns when it is on disk.
func (m *FileMirror) LogBreakGlass(e breakglass.LogEntry) error {
	return m.LogBatch([]breakglass.LogEntry{e})
}

// LogBatch appends the entries and returns when they are on disk. Entries that
// the mirror already has are passed over; one that would leave a gap is refused.
func (m *FileMirror) LogBatch(entries []breakglass.LogEntry) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.followName(); err != nil {
		return err
	}
	if m.last.Seq > 0 && !m.checked {
		return fmt.Errorf("%s was not compared with the trail yet", m.path)
	}
	var buf []byte
	last := m.last
	for _, e := range entries {
		if e.Seq <= last.Seq {
			continue
		}
		if e.Seq != last.Seq+1 {
			return fmt.Errorf("%s ends with entry %d and can't go on with entry %d", m.path, last.Seq, e.Seq)
		}
		var err error
		if buf, err = appendLine(buf, e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		last = Anchor{Seq: e.Seq, Hash: e.Hash}
	}
	if len(buf) == 0 {
		return nil
	}
	if err := m.append(buf); err != nil {
		return fmt.Errorf("write the audit mirror: %w", err)
	}
	m.last, m.checked = last, true
	return nil
}

// append writes all of buf and syncs it, or leaves the file as it was. After a
// failed sync the kernel may believe pages to be clean that never reached the
// disk, so they are cut off and written again rather than synced again.
func (m *FileMirror) append(buf []byte) error {
	if err := m.cutTorn(); err != nil {
		return err
	}
	info, err := m.f.Stat()
	if err != nil {
		return err
	}
	if _, err = m.f.Write(buf); err == nil {
		err = m.f.Sync()
	}
	if err == nil {
		return nil
	}
	if cut := m.f.Truncate(info.Size()); cut != nil {
		m.torn, m.tornEnd = info.Size(), -1
		err = errors.Join(err, cut)
	}
	return err
}

// cutTorn cuts off an incomplete last line, unless the file has changed since.
func (m *FileMirror) cutTorn() error {
	if m.tornEnd == 0 {
		return nil
	}
	info, err := m.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > m.torn {
		if m.tornEnd > 0 && info.Size() != m.tornEnd {
			return fmt.Errorf("%s was changed by another program; move it away", m.path)
		}
		if err := m.f.Truncate(m.torn); err != nil {
			return err
		}
	}
	m.torn, m.tornEnd = 0, 0
	return nil
}

// followName opens the file again when the name now stands for another one.
func (m *FileMirror) followName() error {
	if m.f == nil {
		return errClosed
	}
	ours, err := m.f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(m.path)
	if err == nil && os.SameFile(ours, named) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.open()
}

// open opens the file with the mirror's name; the mirror changes only if that
// succeeds.
func (m *FileMirror) open() error {
	f, err := os.OpenFile(m.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the audit mirror: %w", err)
	}
	t, err := inspect(f)
	if err != nil {
		return errors.Join(fmt.Errorf("audit mirror %s: %w", m.path, err), f.Close())
	}
	if t.empty() {
		if err := syncDir(filepath.Dir(m.path)); err != nil {
			return errors.Join(fmt.Errorf("audit mirror %s: %w", m.path, err), f.Close())
		}
	}
	old := m.f
	m.f, m.torn, m.tornEnd = f, t.torn, t.tornEnd
	switch {
	case !t.empty():
		m.checked = m.checked && m.last == t.last
		m.last = t.last
	case !m.checked: // what was remembered is not known to be of this trail
		m.last = Anchor{}
	}
	if old != nil {
		_ = old.Close() // every entry in it is synced
	}
	return nil
}

// tail is what the end of a mirror file says.
type tail struct {
	last          Anchor
	torn, tornEnd int64
}

func (t tail) empty() bool { return t.last.Seq == 0 }

func inspect(f *os.File) (tail, error) {
	info, err := f.Stat()
	if err != nil {
		return tail{}, err
	}
	if !info.Mode().IsRegular() {
		return tail{}, errors.New("it is not a regular file")
	}
	if err := lockFile(f); err != nil {
		return tail{}, err
	}
	return readTail(f, info.Size())
}

// readTail finds the last complete line of a mirror and what follows it.
func readTail(f io.ReaderAt, size int64) (tail, error) {
	window := min(size, 2*maxEntryBytes+2)
	buf := make([]byte, window)
	if _, err := f.ReadAt(buf, size-window); err != nil && !errors.Is(err, io.EOF) {
		return tail{}, err
	}
	var t tail
	end := bytes.LastIndexByte(buf, '\n')
	if rest := buf[end+1:]; len(rest) > 0 {
		if !looksTorn(rest) {
			return t, errors.New("it doesn't end as an audit mirror does, so it is left alone")
		}
		t.torn, t.tornEnd = size-int64(len(rest)), size
	}
	if end < 0 {
		return t, nil
	}
	begin := bytes.LastIndexByte(buf[:end], '\n') + 1
	e, err := parseEntry(buf[begin:end])
	if err != nil {
		return t, fmt.Errorf("its last line is not an audit entry, so it is left alone: %w", err)
	}
	if e.computed != e.hash {
		return t, fmt.Errorf("its last line, entry %d, was changed: its contents don't give its hash", e.seq)
	}
	t.last = Anchor{Seq: e.seq, Hash: e.hash}
	return t, nil
}

// looksTorn reports whether the end of a file can be the beginning of a line
// that we were writing when the power failed. File systems may leave zeros in
// place of bytes that were not written yet.
func looksTorn(rest []byte) bool {
	const begin = `{"seq":`
	if len(rest) > maxEntryBytes {
		return false
	}
	rest = bytes.TrimRight(rest, "\x00")
	n := min(len(rest), len(begin))
	return string(rest[:n]) == begin[:n]
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
