package e2e

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"

	"breakglass/internal/breakglass"
)

// refusedAnswer is one that is neither a success nor a refusal of the domain.
type refusedAnswer struct{ answer }

func (r *refusedAnswer) Error() string {
	return fmt.Sprintf("unexpected answer %d: %s", r.status, r.body)
}

// nothingChanged reports an answer that says so in so many words.
func (a answer) nothingChanged() bool {
	return strings.Contains(string(a.body), "Nothing was changed;") || strings.Contains(string(a.body), "Nothing was changed.")
}

// lossy keeps the calls of which nobody knows what became of them: no answer
// came, or one that doesn't tell. Each may have taken effect, or take effect
// later. What an event says in its own words tells which call has made or
// closed it, so that afterwards the history can be completed.
type lossy struct {
	mu      sync.Mutex
	unknown []porcupine.Operation
	denied  map[string]bool // by tag: the answer said that nothing was changed
	lost    int             // calls without any answer
	faults  []string
}

func newLossy() *lossy { return &lossy{denied: map[string]bool{}} }

func (l *lossy) add(op porcupine.Operation, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := op.Input.(opInput)
	var a *refusedAnswer
	switch {
	case !errors.As(err, &a):
		l.lost++
	case a.status != http.StatusServiceUnavailable:
		l.faults = append(l.faults, err.Error())
	case a.header.Get("Retry-After") == "":
		l.faults = append(l.faults, "no Retry-After: "+err.Error())
	case a.nothingChanged():
		l.denied[in.tag] = true
	}
	l.unknown = append(l.unknown, op)
}

// complete adds the calls that have taken effect to the history: at any time
// after their beginning. The others have changed nothing until now.
func (l *lossy) complete(t *testing.T, history []porcupine.Operation, events map[string]breakglass.View) []porcupine.Operation {
	t.Helper()
	assert.Empty(t, l.faults)
	made, closed := map[string]breakglass.View{}, map[string]breakglass.View{}
	for _, ev := range events {
		_, twice := made[ev.Justification]
		assert.False(t, twice, "%q made two events", ev.Justification)
		made[ev.Justification] = ev
		if ev.ClosedReason != "" {
			closed[ev.ClosedReason] = ev
		}
	}
	took := 0
	for _, op := range l.unknown {
		in := op.Input.(opInput)
		out := opOutput{status: http.StatusCreated, done: maxTime}
		var happened bool
		switch in.kind {
		case opInvoke:
			out.view, happened = made[in.tag]
		case opClose:
			out.status = http.StatusOK
			out.view, happened = closed[in.tag]
		}
		if !happened {
			continue
		}
		took++
		assert.False(t, l.denied[in.tag], "%q: the answer said that nothing was changed", in.tag)
		op.Output, op.Return = out, math.MaxInt64
		history = append(history, op)
	}
	t.Logf("%d calls without a telling answer (%d without any, %d told that nothing was changed), of which %d took effect",
		len(l.unknown), l.lost, len(l.denied), took)
	return history
}
