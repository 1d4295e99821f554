package transfer

import (
	"fmt"
	"time"

	"breakglass/internal/breakglass"
)

// lives holds events and access requests against the entries that begin, change
// and end them. In memory are those that are open at this place of the trail.
// Only a reader asks: a store that was tampered with can be exported, as
// evidence.
type lives map[string]*life

// life is what a record says about itself, and what the trail has said so far.
type life struct {
	name   string
	began  int64 // the entry with which it stands
	status string
	ends   time.Time
	by     []breakglass.Approval // of an access request

	told        int64 // the entry that told last
	toldStatus  string
	toldEnds    time.Time
	toldEndsSeq int64
	toldBy      map[approval]bool
}

// approval is who said yes to an access request, and when.
type approval struct {
	by string
	at time.Time
}

func eventName(id string) string   { return fmt.Sprintf("event %q", id) }
func requestName(id string) string { return fmt.Sprintf("access request %q", id) }

// entry takes what an entry tells.
func (l lives) entry(e Entry) error {
	seq := e.Log.Seq
	if ev := e.Event; ev != nil {
		name := eventName(ev.ID)
		l[name] = &life{name: name, began: seq, status: string(ev.Status), ends: ev.ExpiresAt,
			told: seq, toldStatus: string(breakglass.StatusActive), toldEnds: e.Log.ExpiresAt, toldEndsSeq: seq}
	}
	if r := e.Request; r != nil {
		name := requestName(r.ID)
		l[name] = &life{name: name, began: seq, status: string(r.Status), ends: r.ExpiresAt, by: r.Approvals,
			told: seq, toldStatus: string(breakglass.RequestPending), toldEnds: e.Log.ExpiresAt, toldEndsSeq: seq, toldBy: map[approval]bool{}}
	}
	switch e.Log.Event {
	case breakglass.EntryExtended:
		if v := l[eventName(e.Log.EventID)]; v != nil {
			v.toldEnds, v.toldEndsSeq = e.Log.ExpiresAt, seq
		}
	case breakglass.EntryClosed:
		return l.over(eventName(e.Log.EventID), string(breakglass.StatusClosed), seq)
	case breakglass.EntryExpired:
		return l.over(eventName(e.Log.EventID), string(breakglass.StatusExpired), seq)
	case breakglass.EntryRequestEndorsed:
		if v := l[requestName(requestID(e.Log))]; v != nil {
			v.toldBy[approval{e.Log.Actor, e.Log.Timestamp}] = true
		}
	case breakglass.EntryRequestApproved:
		if v := l[requestName(requestID(e.Log))]; v != nil {
			v.toldBy[approval{e.Log.Actor, e.Log.Timestamp}] = true
			v.told, v.toldStatus = seq, string(breakglass.RequestApproved)
			v.toldEnds, v.toldEndsSeq = e.Log.ExpiresAt, seq
		}
	case breakglass.EntryRequestDenied:
		return l.over(requestName(requestID(e.Log)), string(breakglass.RequestDenied), seq)
	case breakglass.EntryRequestCancelled:
		return l.over(requestName(requestID(e.Log)), string(breakglass.RequestCancelled), seq)
	case breakglass.EntryRequestExpired:
		return l.over(requestName(requestID(e.Log)), string(breakglass.RequestExpired), seq)
	}
	return nil
}

// requestID is the access request that an entry is about.
func requestID(l breakglass.LogEntry) string { return l.Detail[breakglass.DetailAccessRequestID] }

// over ends a life. Nothing that an entry says afterwards counts.
func (l lives) over(name, status string, seq int64) error {
	v := l[name]
	if v == nil {
		return nil
	}
	delete(l, name)
	v.told, v.toldStatus = seq, status
	return v.fault()
}

// rest checks those that the trail leaves open; the first fault counts.
func (l lives) rest() error {
	var first *life
	for _, v := range l {
		if v.fault() != nil && (first == nil || v.began < first.began) {
			first = v
		}
	}
	if first == nil {
		return nil
	}
	return first.fault()
}

// fault is an error about the line that holds the record, or nil.
func (v *life) fault() error {
	line := int(v.began) + 1 // after the header
	switch {
	case v.status != v.toldStatus && v.told == v.began:
		return &LineError{line, fmt.Errorf("%s is %s, but no entry says that it is", v.name, v.status)}
	case v.status != v.toldStatus:
		return &LineError{line, fmt.Errorf("%s is %s, but entry %d says that it is %s", v.name, v.status, v.told, v.toldStatus)}
	case !v.ends.Equal(v.toldEnds):
		return &LineError{line, fmt.Errorf("%s ends at %s, but entry %d says %s", v.name, v.ends.Format(time.RFC3339Nano),
			v.toldEndsSeq, v.toldEnds.Format(time.RFC3339Nano))}
	}
	for _, a := range v.by {
		if !v.toldBy[approval{a.By, a.At}] {
			return &LineError{line, fmt.Errorf("%s has an approval by %q that no entry tells of", v.name, a.By)}
		}
	}
	return nil
}
