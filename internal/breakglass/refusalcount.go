package breakglass

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// refusalWindow: of identical refusals only the first in each window is an
	// entry of its own; the others are counted, and the counts of an actor are
	// written as one entry per window.
	refusalWindow = time.Minute
	// Each actor has this many entries for refusals at once, and one more in
	// each refusalRefill: no caller can fill the disk by varying a request.
	refusalBurst  = 30
	refusalRefill = 10 * time.Second
	// maxRefusalKeys bounds what is told apart for one actor within a window.
	maxRefusalKeys = 64
)

// refusalKey says which refusals are identical.
type refusalKey struct {
	typ     EntryType
	actor   string
	code    Code
	profile string // a configured profile, or empty
	invoker string // somebody else, for whom a delegate asked
	event   string // the event asked for or in the way
	call    string // what was refused, where it wasn't an invocation
	via     Via    // a second way in, perhaps in other hands, gets an entry of its own
}

// coarse is the key without what a caller can vary at will.
func (k refusalKey) coarse() refusalKey { return refusalKey{typ: k.typ, actor: k.actor, code: k.code} }

func (k refusalKey) String() string {
	words := []string{string(k.code)}
	for _, w := range []string{k.call, k.profile, k.invoker, k.event, k.via.String()} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// refusals counts what is suppressed. What it keeps is bounded by the number
// of actors times maxRefusalKeys and the number of codes.
type refusals struct {
	budget *budget

	mu     sync.Mutex
	actors map[string]*actorRefusals
}

type actorRefusals struct {
	since      map[refusalKey]time.Time // when the window of a key began
	suppressed map[refusalKey]int       // counted, and not yet in an entry
	first      time.Time                // when the oldest of suppressed was counted
}

func newRefusals() *refusals {
	return &refusals{budget: newBudget(refusalBurst, refusalRefill), actors: map[string]*actorRefusals{}}
}

// add counts a refusal. When it is to be an entry of its own, earlier says how
// many like it before were only counted.
func (r *refusals) add(key refusalKey, now time.Time) (earlier int, write bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.actors[key.actor]
	if a == nil {
		a = &actorRefusals{since: map[refusalKey]time.Time{}, suppressed: map[refusalKey]int{}}
		r.actors[key.actor] = a
	}
	if _, known := a.since[key]; !known && len(a.since) >= maxRefusalKeys {
		key = key.coarse()
	}
	began, known := a.since[key]
	if known && now.Sub(began) < refusalWindow && !now.Before(began) {
		a.count(key, now)
		return 0, false
	}
	a.since[key] = now
	if r.budget.spend(key.actor, now) > 0 {
		a.count(key, now)
		return 0, false
	}
	earlier = a.suppressed[key]
	delete(a.suppressed, key)
	return earlier, true
}

func (a *actorRefusals) count(key refusalKey, now time.Time) {
	if len(a.suppressed) == 0 {
		a.first = now
	}
	a.suppressed[key]++
}

// counted is what one actor's entry for counted refusals says.
type counted struct {
	typ    EntryType
	actor  string
	total  int
	mostly string   // the most frequent code
	counts []string // by key, the most frequent first
}

// flush takes out the counts of the actors whose window is over, or all.
func (r *refusals) flush(now time.Time, all bool) []counted {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []counted
	for _, actor := range slices.Sorted(maps.Keys(r.actors)) {
		a := r.actors[actor]
		if len(a.suppressed) > 0 && (all || now.Sub(a.first) >= refusalWindow) {
			for _, typ := range EntryTypes() {
				if c := a.counted(typ, actor); c.total > 0 {
					out = append(out, c)
				}
			}
			clear(a.suppressed)
		}
		maps.DeleteFunc(a.since, func(_ refusalKey, began time.Time) bool { return now.Sub(began) >= refusalWindow })
		if len(a.since) == 0 && len(a.suppressed) == 0 {
			delete(r.actors, actor)
		}
	}
	return out
}

func (a *actorRefusals) counted(typ EntryType, actor string) counted {
	c := counted{typ: typ, actor: actor}
	keys := slices.SortedFunc(maps.Keys(a.suppressed), func(x, y refusalKey) int {
		return cmp.Or(cmp.Compare(a.suppressed[y], a.suppressed[x]), cmp.Compare(x.String(), y.String()))
	})
	for _, key := range keys {
		if key.typ != typ {
			continue
		}
		if c.total == 0 {
			c.mostly = string(key.code)
		}
		c.total += a.suppressed[key]
		c.counts = append(c.counts, fmt.Sprintf("%d× %s", a.suppressed[key], key))
	}
	return c
}

// nextFlush is when the first actor has something to write; zero when nobody has.
func (r *refusals) nextFlush() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var next time.Time
	for _, a := range r.actors {
		if end := a.first.Add(refusalWindow); len(a.suppressed) > 0 && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return next
}
