package dynamodb

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"breakglass/internal/breakglass"
)

const (
	// historyKept is how many instants a history holds before the older half
	// moves to a page: about 1 KB, so that each invocation writes no more.
	historyKept = 128
	pageSize    = historyKept / 2
)

// history guards a quota: it knows when the newest events of a user or profile
// were created. Older instants are in pages, which never change, so a count
// that goes back that far is as exact as one that doesn't.
type history struct {
	guard
	stamps []int64 // microseconds, ascending
	pages  int64   // how many pages there are
	paged  int64   // the latest instant of any page; 0 when there is none
	fresh  []page  // pages to write
}

// page holds the instants that a history has moved out.
type page struct {
	number int64
	stamps []int64
	before int64 // the latest instant of any page before this one
}

func (h *history) encode() item {
	return item{"stamps": blob(packStamps(h.stamps)), "pages": number(h.pages), "paged": number(h.paged)}
}

func (h *history) decode(it item) (err error) {
	h.stamps, err = unpackStamps(bytesOf(it["stamps"]))
	h.pages, h.paged = num(it["pages"]), num(it["paged"])
	return err
}

// add notes that an event was created.
func (h *history) add(at int64) {
	i, _ := slices.BinarySearch(h.stamps, at)
	h.stamps = slices.Insert(slices.Clone(h.stamps), i, at)
	h.dirty = true
	if len(h.stamps) < historyKept {
		return
	}
	h.pages++
	h.fresh = append(h.fresh, page{h.pages, h.stamps[:pageSize:pageSize], h.paged})
	h.paged = max(h.paged, h.stamps[pageSize-1])
	h.stamps = h.stamps[pageSize:]
}

// count counts the instants after since, newest first, and stops at atMost.
// get reads a page.
func (h *history) count(ctx context.Context, since int64, atMost int, get func(ctx context.Context, n int64) (page, error)) (breakglass.Tally, error) {
	if atMost <= 0 {
		return breakglass.Tally{}, nil
	}
	i, _ := slices.BinarySearch(h.stamps, since+1)
	found := slices.Clone(h.stamps[i:])
	for n, latest := h.pages, h.paged; n > 0 && latest > since; n-- {
		if len(found) >= atMost {
			slices.Sort(found)
			if found[len(found)-atMost] >= latest {
				break // nothing in this page or an earlier one can be among the newest
			}
		}
		p, err := get(ctx, n)
		if err != nil {
			return breakglass.Tally{}, err
		}
		for _, at := range p.stamps {
			if at > since {
				found = append(found, at)
			}
		}
		latest = p.before
	}
	slices.Sort(found)
	found = found[max(0, len(found)-atMost):]
	if len(found) == 0 {
		return breakglass.Tally{}, nil
	}
	return breakglass.Tally{Count: len(found), Oldest: fromMicros(found[0])}, nil
}

func packStamps(stamps []int64) []byte {
	b := make([]byte, 0, 8*len(stamps))
	for _, at := range stamps {
		b = binary.BigEndian.AppendUint64(b, uint64(at)) // reversed below, bit by bit
	}
	return b
}

func unpackStamps(b []byte) ([]int64, error) {
	if len(b)%8 != 0 {
		return nil, errors.New("a history is damaged")
	}
	stamps := make([]int64, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		stamps = append(stamps, int64(binary.BigEndian.Uint64(b))) // as packed
	}
	return stamps, nil
}

func encodePage(p page) item {
	return item{"stamps": blob(packStamps(p.stamps)), "before": number(p.before)}
}

func decodePage(n int64, it item) (page, error) {
	stamps, err := unpackStamps(bytesOf(it["stamps"]))
	if err == nil && len(stamps) == 0 {
		err = errors.New("a page of a history is missing")
	}
	return page{n, stamps, num(it["before"])}, err
}

// sinceMicros is the start of a window; a time before 1970 counts everything.
func sinceMicros(t time.Time) int64 { return max(micros(t), -1) }
