package breakglass

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func key(actor string, code Code) refusalKey {
	return refusalKey{typ: EntryDenied, actor: actor, code: code}
}

func TestIdenticalRefusalsInAWindowAreCountedNotWritten(t *testing.T) {
	r := newRefusals()
	_, write := r.add(key("alice", CodePolicyDenied), t0)
	assert.True(t, write, "the first is an entry")
	for i := range 500 {
		_, write = r.add(key("alice", CodePolicyDenied), t0.Add(time.Duration(i)*time.Millisecond))
		assert.False(t, write)
	}
	_, write = r.add(key("bob", CodePolicyDenied), t0)
	assert.True(t, write, "somebody else's refusal is another one")
	_, write = r.add(key("alice", CodeRateLimited), t0)
	assert.True(t, write, "another reason is another one")

	earlier, write := r.add(key("alice", CodePolicyDenied), t0.Add(refusalWindow))
	assert.True(t, write)
	assert.Equal(t, 500, earlier, "the next entry stands for those before it")
}

func TestVariedRefusalsOfOneActorAreBounded(t *testing.T) {
	r := newRefusals()
	written := 0
	for i := range 10_000 {
		if _, write := r.add(key("alice", Code(fmt.Sprint(i))), t0.Add(time.Duration(i)*time.Millisecond)); write {
			written++
		}
	}
	assert.LessOrEqual(t, written, refusalBurst+1, "10 s of refusals buy one entry beyond the burst")
	_, write := r.add(key("bob", CodePolicyDenied), t0)
	assert.True(t, write, "one actor's flood doesn't silence another")
}

func TestFlushHandsOutEachSuppressedRefusalOnce(t *testing.T) {
	r := newRefusals()
	r.add(key("alice", CodePolicyDenied), t0)
	assert.True(t, r.nextFlush().IsZero(), "nothing was suppressed")
	r.add(key("alice", CodePolicyDenied), t0)
	r.add(key("alice", CodePolicyDenied), t0)
	assert.Equal(t, t0.Add(refusalWindow), r.nextFlush())
	assert.Empty(t, r.flush(t0.Add(refusalWindow-1), false), "the window isn't over")
	out := r.flush(t0.Add(refusalWindow), false)
	assert.Len(t, out, 1)
	assert.Equal(t, 2, out[0].total)
	assert.Equal(t, []string{"2× policy_denied"}, out[0].counts)
	assert.Empty(t, r.flush(t0.Add(2*refusalWindow), false))
	assert.Empty(t, r.actors, "nothing is kept")
}

func TestCountedRefusalsOfAnActorAreOneEntryPerWindow(t *testing.T) {
	r := newRefusals()
	entries := 0
	for i := range 3000 { // ten minutes of refusals that differ as much as they can
		now := t0.Add(time.Duration(i) * 200 * time.Millisecond)
		k := key("mallory", []Code{CodePolicyDenied, CodeForbidden, CodeInvalidRequest}[i%3])
		k.profile, k.event = fmt.Sprint("p", i%300), NewID()
		if _, write := r.add(k, now); write {
			entries++
		}
		entries += len(r.flush(now, false))
		assert.LessOrEqual(t, len(r.actors["mallory"].since), maxRefusalKeys+3)
	}
	assert.LessOrEqual(t, entries, refusalBurst+10*6+10, "the budget, and one entry a minute for the rest")
}

func TestRefusalsAboutDifferentEventsAndPeopleAreToldApart(t *testing.T) {
	r := newRefusals()
	for _, change := range []func(*refusalKey){
		func(k *refusalKey) { k.event = "0000000000000001" },
		func(k *refusalKey) { k.event = "0000000000000002" },
		func(k *refusalKey) { k.invoker = "alice" },
		func(k *refusalKey) { k.invoker = "bob" },
		func(k *refusalKey) { k.profile = "prod" },
	} {
		k := key("bot", CodeForbidden)
		change(&k)
		_, write := r.add(k, t0)
		assert.True(t, write, k.String())
	}
}

func TestABudgetRefillsAndSurvivesAClockThatIsSetBack(t *testing.T) {
	b := newBudget(2, time.Minute)
	assert.Zero(t, b.spend("a", t0))
	assert.Zero(t, b.spend("a", t0))
	assert.Equal(t, time.Minute, b.spend("a", t0))
	assert.Zero(t, b.spend("b", t0), "others have their own")
	assert.Equal(t, time.Second, b.spend("a", t0.Add(59*time.Second)))
	assert.Zero(t, b.spend("a", t0.Add(time.Minute)))
	assert.Zero(t, b.spend("a", t0.Add(-time.Hour)))
}
