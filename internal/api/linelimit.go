package api

import (
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Strangers can make the server log as fast as they can send. They get this
// many lines a second; what goes beyond is counted, and told once a minute.
const (
	strangerLines   = 10
	suppressedEvery = time.Minute
)

// lineLimit bounds the lines that callers cause whom nobody knows. A full disk
// would stop the database beside the log, and with it the service.
type lineLimit struct {
	log  *slog.Logger
	what string // what is suppressed, for the line that says so

	mu         sync.Mutex
	until      time.Time      // up to which the lines are used up
	suppressed map[string]int // by kind, since the last line that told
}

func newLineLimit(log *slog.Logger, what string) *lineLimit {
	return &lineLimit{log: log, what: what, suppressed: map[string]int{}}
}

// allow reports whether a line may be written; kind is what it is counted
// under when not, one of few.
func (l *lineLimit) allow(kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.until.Before(now) {
		l.until = now
	}
	if l.until.Sub(now) < time.Second {
		l.until = l.until.Add(time.Second / strangerLines)
		return true
	}
	if len(l.suppressed) == 0 {
		time.AfterFunc(suppressedEvery, l.tell)
	}
	l.suppressed[kind]++
	return false
}

func (l *lineLimit) tell() {
	l.mu.Lock()
	counts := l.suppressed
	l.suppressed = map[string]int{}
	l.mu.Unlock()
	total, kinds := 0, make([]any, 0, len(counts))
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		total += counts[kind]
		kinds = append(kinds, slog.Int(kind, counts[kind]))
	}
	l.log.Warn("more "+l.what+" suppressed", "suppressed", total, slog.Group("by", kinds...))
}

// limitedWriter drops the lines that go beyond a limit.
type limitedWriter struct {
	io.Writer
	limit *lineLimit
}

func (w limitedWriter) Write(line []byte) (int, error) {
	if !w.limit.allow("connection") {
		return len(line), nil
	}
	return w.Writer.Write(line)
}
