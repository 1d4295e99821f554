package audit

import (
	"context"
	"errors"
	"sync"

	"breakglass/internal/breakglass"
)

// memoryJournal is a journal that tests write to.
type memoryJournal struct {
	mu      sync.Mutex
	entries []breakglass.LogEntry
	changed chan struct{}
	down    error
}

func newJournal(entries ...breakglass.LogEntry) *memoryJournal {
	return &memoryJournal{entries: entries, changed: make(chan struct{})}
}

func (j *memoryJournal) append(entries ...breakglass.LogEntry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entries...)
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *memoryJournal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = err
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *memoryJournal) Head(context.Context) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int64(len(j.entries)), j.down
}

func (j *memoryJournal) Entries(ctx context.Context, q breakglass.EntryQuery) ([]breakglass.LogEntry, int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := errors.Join(j.down, ctx.Err()); err != nil {
		return nil, 0, err
	}
	from := min(q.After, int64(len(j.entries)))
	to := min(from+int64(q.Limit), int64(len(j.entries)))
	return append([]breakglass.LogEntry(nil), j.entries[from:to]...), to, nil
}

func (j *memoryJournal) Wait(ctx context.Context, after int64) error {
	for {
		j.mu.Lock()
		ready, changed, down := int64(len(j.entries)) > after, j.changed, j.down
		j.mu.Unlock()
		if ready || down != nil {
			return down
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
