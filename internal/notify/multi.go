package notify

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// multi sends each notification to several notifiers as one unit: it is taken
// when all of them took it.
type multi struct {
	opaque
	log     *slog.Logger
	name    string
	members []member

	mu    sync.Mutex
	gone  map[int]bool             // members that don't want any more (Disable)
	taken map[string]map[int]error // by notification: who is done with it, and how
}

type member struct {
	name string
	Notifier
}

// maxRemembered bounds what multi remembers of units under way. Forgetting
// costs a repetition, no more.
const maxRemembered = 4096

func newMulti(log *slog.Logger, name string, members []member) *multi {
	return &multi{opaque: opaque("multi " + name), log: log, name: name, members: members, gone: map[int]bool{}, taken: map[string]map[int]error{}}
}

// Notify calls the members side by side. Those that took n in an earlier
// attempt are left out as long as this process remembers. While one member
// wants a retry the unit is retried; once each member has taken or refused it
// for good, one refusal makes the unit fail for good. A member that doesn't
// want any more is left alone from then on, and the others go on; only when
// all are gone is the unit's sink disabled.
func (m *multi) Notify(ctx context.Context, n Notification) error {
	done := m.recall(n.ID)
	results := make([]error, len(m.members))
	var wg sync.WaitGroup
	for i, mem := range m.members {
		if err, ok := done[i]; ok {
			results[i] = err
			continue
		}
		wg.Go(func() { results[i] = contained(ctx, m.log, m.name+"/"+mem.name, mem, n) })
	}
	wg.Wait()
	return m.settle(n.ID, results)
}

// recall returns which members are done with the notification, and with what.
func (m *multi) recall(id string) map[int]error {
	m.mu.Lock()
	defer m.mu.Unlock()
	done := map[int]error{}
	for i := range m.members {
		if m.gone[i] {
			done[i] = &Failure{Verdict: Disable, Message: "disabled until restart: the target is gone (410)"}
		} else if err, ok := m.taken[id][i]; ok {
			done[i] = err
		}
	}
	return done
}

// settle joins the members' results into the unit's and remembers them while
// the unit is under way.
func (m *multi) settle(id string, results []error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	unit := &Failure{Verdict: Permanent}
	done := map[int]error{}
	var words []string
	for i, err := range results {
		if err == nil {
			done[i] = nil
			continue
		}
		f := asFailure(err)
		words = append(words, m.members[i].name+": "+f.Message)
		unit.RetryAfter = max(unit.RetryAfter, f.RetryAfter)
		switch f.Verdict {
		case Retry:
			unit.Verdict = Retry
		case Disable:
			m.disable(i)
		case Permanent:
			done[i] = f
		}
	}
	if len(words) == 0 || unit.Verdict != Retry {
		delete(m.taken, id)
	} else {
		if len(m.taken) >= maxRemembered {
			clear(m.taken)
		}
		m.taken[id] = done
	}
	if len(words) == 0 {
		return nil
	}
	if len(m.gone) == len(m.members) {
		unit.Verdict = Disable
	}
	unit.Message = printable(strings.Join(words, "; "), maxMessage)
	return unit
}

func (m *multi) disable(i int) {
	if !m.gone[i] {
		m.gone[i] = true
		m.log.Error("notification target is gone (410): not used again until restart",
			"sink", m.name, "member", m.members[i].name)
	}
}
