package dynamodb

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

// guard is an item that decisions rest on. Its revision counts the changes; 0
// means that there is no such item.
type guard struct {
	key
	rev   int64 // as read
	used  bool  // a decision has looked at it
	dirty bool  // it changes
	err   error // what is stored can't be understood: whoever needs it fails, and nobody else
}

func (g *guard) self() *guard { return g }

// guarded is a guard with content.
type guarded interface {
	self() *guard
	decode(it item) error // it is nil when there is no such item
	encode() item         // without key and revision
}

// event is an event by its id.
type event struct {
	guard
	value breakglass.Event
}

func (e *event) encode() item { return encodeEvent(e.value) }

func (e *event) decode(it item) (err error) {
	if it != nil {
		e.value, err = decodeEvent(it)
	}
	return err
}

// errDamaged is something in the table that can't be understood.
var errDamaged = errors.New("a record is damaged")

// damage names a damaged item to whoever needs it.
func damage(k key, err error) error {
	return &breakglass.Error{Code: breakglass.CodeUnavailable, Cause: fmt.Errorf("%w: item %s/%s: %w", errDamaged, k.pk, k.sk, err),
		Message: "A record that this call rests on is damaged: it was changed in the store behind the server's back. " +
			"Nothing was changed. An operator has to look at the server's log."}
}

// revised is an event inside the guard of its pair, with the revision that the
// event's own item has: both change together.
type revised struct {
	breakglass.Event
	rev int64
}

// pair guards that an invoker has one active event on a profile at most. It
// holds the events themselves so that a decision needs no second read.
type pair struct {
	guard
	active *revised
	last   *revised // the newest by (created_at, id)
}

func (p *pair) encode() item {
	it := item{}
	put := func(name string, e *revised) {
		if e != nil {
			m := encodeEvent(e.Event)
			m[attrRev] = number(e.rev)
			it[name] = &types.AttributeValueMemberM{Value: m}
		}
	}
	put("active_event", p.active)
	if p.last != nil && p.active != nil && p.last.ID == p.active.ID {
		it["last_is_active"] = &types.AttributeValueMemberBOOL{Value: true}
	} else {
		put("last_event", p.last)
	}
	return it
}

func (p *pair) decode(it item) error {
	get := func(name string) (*revised, error) {
		m, ok := it[name].(*types.AttributeValueMemberM)
		if !ok {
			return nil, nil
		}
		e, err := decodeEvent(m.Value)
		return &revised{e, num(m.Value[attrRev])}, err
	}
	var err1, err2 error
	p.active, err1 = get("active_event")
	p.last, err2 = get("last_event")
	if _, same := it["last_is_active"]; same {
		p.last = p.active
	}
	return errors.Join(err1, err2)
}

// known returns the pair's event of that id as far as the guard holds it.
func (p *pair) known(id string) *revised {
	for _, e := range []*revised{p.active, p.last} {
		if e != nil && e.ID == id {
			return e
		}
	}
	return nil
}

// note takes an event's new state into the guard. An event that isn't active
// and is older than the newest leaves no trace here.
func (p *pair) note(e revised) error {
	switch {
	case e.Status == breakglass.StatusActive && p.active != nil && p.active.ID != e.ID:
		return fmt.Errorf("%w: the pair already has the active event %s", errBroken, p.active.ID)
	case e.Status == breakglass.StatusActive:
		p.active, p.dirty = &e, true
	case p.active != nil && p.active.ID == e.ID:
		p.active, p.dirty = nil, true
	}
	if p.last == nil || p.last.ID == e.ID || newer(e.Event, p.last.Event) {
		p.last, p.dirty = &e, true
	}
	return nil
}

// newer is the order of listings.
func newer(a, b breakglass.Event) bool { return order(placeOf(a), placeOf(b)) > 0 }

// head is the end of the audit trail.
type head struct {
	guard
	seq  int64
	hash string
	high int64  // latest timestamp of any entry, in microseconds
	turn string // whose turn it is; see turns
}

func (h *head) encode() item {
	return item{"seq": number(h.seq), "hash": text(h.hash), "high": number(h.high)}
}

func (h *head) decode(it item) error {
	if str(it[attrImport]) != "" {
		return errImporting
	}
	h.seq, h.hash, h.high, h.turn = num(it["seq"]), str(it["hash"]), num(it["high"]), str(it[attrTurn])
	if h.seq == 0 {
		h.hash = audit.GenesisHash
	}
	return nil
}

// idempotent is an idempotency record.
type idempotent struct {
	guard
	value breakglass.Idempotent
}

func (i *idempotent) encode() item {
	return item{"caller": text(i.value.Caller), "name": text(i.value.Key), "fingerprint": text(i.value.Fingerprint),
		"event_id": text(i.value.EventID), "made": number(micros(i.value.CreatedAt))}
}

func (i *idempotent) decode(it item) error {
	i.value = breakglass.Idempotent{Caller: str(it["caller"]), Key: str(it["name"]), Fingerprint: str(it["fingerprint"]),
		EventID: str(it["event_id"]), CreatedAt: fromMicros(num(it["made"]))}
	return nil
}
