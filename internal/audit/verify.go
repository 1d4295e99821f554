package audit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"breakglass/internal/breakglass"
)

// Options say what is known about a trail before it is verified. The zero
// value wants a trail from its very first entry on.
type Options struct {
	// After is the entry that comes right before the first one. Its hash is
	// trusted: a part of the trail is verified from a known anchor.
	After Anchor
	// Part accepts any first entry. What comes before it, and whether it is
	// genuine itself, is then only as certain as the Heads make it.
	Part bool
	// Heads are entries known from elsewhere. Each must be in the trail: one
	// that is missing shows a cut-off end, one with another hash a trail that
	// was written anew.
	Heads []Anchor
}

// Result is what was verified, up to the first bad entry.
type Result struct {
	Entries        int64
	FirstSeq       int64 // 0 when there are no entries
	LastSeq        int64
	LastHash       string
	FirstTimestamp time.Time
	LastTimestamp  time.Time
	// StepsBack counts entries with an earlier timestamp than the one before.
	// That is not a fault: clocks are set, and replicas differ a little. The
	// order of a trail is that of seq.
	StepsBack       int64
	LargestStepBack time.Duration
	LargestStepSeq  int64 // the entry after the largest step

	after Anchor // trusted before the first entry
}

// Head is the last verified entry, worth keeping away from the server. Where
// nothing followed Options.After, that is still the head.
func (r Result) Head() Anchor {
	if r.Entries == 0 {
		return r.after
	}
	return Anchor{Seq: r.LastSeq, Hash: r.LastHash}
}

// Check names what a BadEntry failed.
type Check string

// The checks, in the order in which they are made.
const (
	CheckJSON     Check = "json"      // it isn't acceptable JSON
	CheckFields   Check = "fields"    // it isn't an entry of an audit trail
	CheckHash     Check = "hash"      // its contents don't hash to its hash
	CheckSeq      Check = "seq"       // it isn't the entry that is due here
	CheckPrevHash Check = "prev_hash" // it doesn't follow the entry before it
	CheckHead     Check = "head"      // a known entry isn't in the trail
)

// BadEntry is the first place where a trail is not what it claims to be.
type BadEntry struct {
	Check    Check
	Seq      int64 // the entry that is due at this place of the trail
	Line     int   // of the input, from 1; 0 when it has no lines
	Item     int   // of the page, from 1; 0 outside pages
	Expected string
	Got      string
	Message  string // without place, expected and got; safe to print
}

func (e *BadEntry) Error() string {
	s := place(e.Line, e.Item) + e.Message
	if e.Expected != "" || e.Got != "" {
		s += fmt.Sprintf(" (expected %s, got %s)", e.Expected, e.Got)
	}
	return s
}

func place(line, item int) string {
	switch {
	case line > 0 && item > 0:
		return fmt.Sprintf("line %d, item %d: ", line, item)
	case line > 0:
		return fmt.Sprintf("line %d: ", line)
	}
	return ""
}

// Verifier checks the entries of a trail one after the other and keeps none of
// them. After the first error every call returns that error. It isn't safe for
// concurrent use.
type Verifier struct {
	part  bool
	prev  Anchor // the last verified entry
	heads []Anchor
	res   Result
	err   error
}

// NewVerifier returns a Verifier at the start that the options name.
func NewVerifier(o Options) *Verifier {
	v := &Verifier{part: o.Part && o.After == Anchor{}, prev: o.After, heads: slices.Clone(o.Heads)}
	if v.prev.Seq == 0 {
		v.prev.Hash = GenesisHash
	} else {
		v.res.after = v.prev
	}
	slices.SortFunc(v.heads, func(x, y Anchor) int { return cmp.Compare(x.Seq, y.Seq) })
	return v
}

// Add verifies an entry that was read as a LogEntry. Use AddJSON for what came
// from elsewhere: only there unknown fields are seen.
func (v *Verifier) Add(e breakglass.LogEntry) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Seq, err)
	}
	return v.AddJSON(raw)
}

// AddJSON verifies an entry from the JSON as received. The error is a *BadEntry.
func (v *Verifier) AddJSON(raw []byte) error { return v.add(raw, 0, 0) }

func (v *Verifier) add(raw []byte, line, item int) error {
	e, err := parseEntry(raw)
	return v.next(e, err, line, item)
}

func (v *Verifier) addParsed(p *parser, ms []member, line, item int) error {
	e, err := p.entry(ms)
	return v.next(e, err, line, item)
}

func (v *Verifier) fail(err error, line, item int) error { return v.next(rawEntry{}, err, line, item) }

// next judges what stands at one place of the trail.
func (v *Verifier) next(e rawEntry, unreadable error, line, item int) error {
	if v.err != nil {
		return v.err
	}
	bad := v.unreadable(unreadable)
	if bad == nil {
		bad = v.check(e)
	}
	if bad != nil {
		bad.Line, bad.Item = line, item
		v.err = bad
		return bad
	}
	v.accept(e)
	return nil
}

func (v *Verifier) unreadable(err error) *BadEntry {
	if err == nil {
		return nil
	}
	check := CheckJSON
	var fields *errFields
	if errors.As(err, &fields) {
		check = CheckFields
	}
	at := "the first entry"
	if !v.part {
		at = fmt.Sprintf("entry %d", v.prev.Seq+1)
	}
	return &BadEntry{Check: check, Seq: v.due(), Message: fmt.Sprintf("%s is due here, but this is not an entry: %v", at, err)}
}

// due is the seq that must come next; 0 when any may.
func (v *Verifier) due() int64 {
	if v.part {
		return 0
	}
	return v.prev.Seq + 1
}

// check looks at the contents first: a changed entry is to be called changed,
// even where the change is in its seq.
func (v *Verifier) check(e rawEntry) *BadEntry {
	if v.part {
		v.prev = Anchor{Seq: e.seq - 1, Hash: e.prevHash}
		if e.seq == 1 {
			v.prev.Hash = GenesisHash
		}
	}
	due := v.prev.Seq + 1
	switch {
	case e.computed != e.hash:
		return &BadEntry{Check: CheckHash, Seq: due, Expected: e.hash, Got: e.computed,
			Message: fmt.Sprintf("entry %d has been changed: its contents don't give its hash", due)}
	case e.seq != due:
		return &BadEntry{Check: CheckSeq, Seq: due, Expected: fmt.Sprint(due), Got: fmt.Sprint(e.seq), Message: outOfOrder(due, e.seq)}
	case e.prevHash != v.prev.Hash:
		return &BadEntry{Check: CheckPrevHash, Seq: due, Expected: v.prev.Hash, Got: e.prevHash, Message: notFollowing(due)}
	}
	if bad := v.checkHeads(v.prev); bad != nil {
		return bad
	}
	return v.checkHeads(Anchor{Seq: e.seq, Hash: e.hash})
}

func outOfOrder(due, got int64) string {
	switch {
	case got == due+1:
		return fmt.Sprintf("entry %d is missing here: it was dropped or moved, or the list is filtered", due)
	case got > due:
		return fmt.Sprintf("entries %d to %d are missing here: they were dropped or moved, or the list is filtered", due, got-1)
	}
	return fmt.Sprintf("entry %d is due here: entry %d was inserted, repeated or moved", due, got)
}

func notFollowing(seq int64) string {
	if seq == 1 {
		return "entry 1 doesn't begin a trail: its prev_hash is not 64 zeros"
	}
	return fmt.Sprintf("entry %d doesn't follow entry %d: its prev_hash is not that entry's hash, so one of the two was replaced", seq, seq-1)
}

// checkHeads compares an entry with what is known about it.
func (v *Verifier) checkHeads(a Anchor) *BadEntry {
	for len(v.heads) > 0 && v.heads[0].Seq <= a.Seq {
		known := v.heads[0]
		switch {
		case known.Seq < a.Seq:
			return &BadEntry{Check: CheckHead, Seq: known.Seq,
				Message: fmt.Sprintf("the known entry %d lies before the part of the trail that is here", known.Seq)}
		case known.Hash != a.Hash:
			return &BadEntry{Check: CheckHead, Seq: a.Seq, Expected: known.Hash, Got: a.Hash,
				Message: fmt.Sprintf("entry %d is not the one that is known: the trail was written anew up to here", a.Seq)}
		}
		v.heads = v.heads[1:]
	}
	return nil
}

func (v *Verifier) accept(e rawEntry) {
	r := &v.res
	if r.Entries == 0 {
		r.FirstSeq, r.FirstTimestamp = e.seq, e.timestamp
	} else if step := r.LastTimestamp.Sub(e.timestamp); step > 0 {
		r.StepsBack++
		if step > r.LargestStepBack {
			r.LargestStepBack, r.LargestStepSeq = step, e.seq
		}
	}
	r.Entries++
	r.LastSeq, r.LastHash, r.LastTimestamp = e.seq, e.hash, e.timestamp
	v.prev, v.part = Anchor{Seq: e.seq, Hash: e.hash}, false
}

// Result is what was verified so far.
func (v *Verifier) Result() Result { return v.res }

// Finish ends the trail and checks that every known entry was in it.
func (v *Verifier) Finish() (Result, error) {
	if v.err != nil {
		return v.res, v.err
	}
	if bad := v.checkHeads(v.prev); bad != nil {
		v.err = bad
		return v.res, bad
	}
	if len(v.heads) > 0 {
		last, known := v.prev.Seq, v.heads[len(v.heads)-1]
		v.err = &BadEntry{Check: CheckHead, Seq: last + 1, Expected: known.String(), Got: "the end of the trail",
			Message: fmt.Sprintf("the end of the trail is cut off after entry %d: entry %d is known to exist", last, known.Seq)}
	}
	return v.res, v.err
}
