package dynamodb

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"breakglass/internal/breakglass"
)

// listed is what the listings of one kind of records have in common.
type listed[T any] struct {
	decode func(it item) (T, error)
	place  func(v T) breakglass.Position
	// states are the stored states, as their index has them, in an order in
	// which a record can pass through them. Those that are open lapse, and count
	// as lapsed then.
	states, open []string
	lapsed       string
}

// selection is what of them is asked for.
type selection struct {
	person, profile, status string // as the indexes have them; empty: any
	reason                  string
	since, until            time.Time
	before                  *breakglass.Position
	limit                   int
	now                     time.Time
}

// listAll asks the indexes, which lag a little behind.
func listAll[T any](ctx context.Context, s *Store, l listed[T], q selection) ([]T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.limit < 1 {
		return nil, errLimit
	}
	first, last, ok := window(q)
	if !ok {
		return nil, s.ended()
	}
	var all []T
	for _, part := range l.parts(q) {
		found, err := listPart(ctx, s, l, part, q, first, last)
		if err != nil {
			return nil, unavailable(err)
		}
		all = append(found, all...)
	}
	slices.SortStableFunc(all, func(a, b T) int { return -order(l.place(a), l.place(b)) })
	// A record whose state changed between two queries is in both; the later one counts.
	all = slices.CompactFunc(all, func(a, b T) bool { return l.place(a).ID == l.place(b).ID })
	return all[:min(len(all), q.limit)], nil
}

// order is by created_at, then by id.
func order(a, b breakglass.Position) int {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// window is the range of created_at, both ends included; ok is false when
// nothing can be in it.
func window(q selection) (first, last time.Time, ok bool) {
	first, last = time.UnixMicro(0), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	if !q.since.IsZero() {
		first = q.since
		if exact := exactTime(q.since); exact.Before(q.since) {
			first = exact.Add(time.Microsecond)
		}
	}
	if !q.until.IsZero() {
		last = q.until.Add(-time.Nanosecond).Truncate(time.Microsecond)
	}
	if q.before != nil && q.before.CreatedAt.Before(last) {
		last = q.before.CreatedAt
	}
	return first, last, !last.Before(first)
}

// part is one query of an index: the key and the filters.
type part struct {
	index, attr, value string
	filters            []string
	values             item
}

// parts are the queries whose results together hold the answer. A derived
// status is what is stored as such and, for the lapsed, what is stored as open
// and has lapsed. Earlier states come first: a record that moves on meanwhile
// may then be found twice, and is not missed.
func (l listed[T]) parts(q selection) []part {
	p := part{values: item{}}
	if q.reason != "" {
		p = p.with("reason_code = :reason", ":reason", q.reason)
	}
	switch {
	case q.person != "":
		p.index, p.attr, p.value = "gsi-invoker", attrInvoker, q.person
		if q.profile != "" {
			p = p.with("profile = :profile", ":profile", q.profile)
		}
		return []part{l.derived(p, q)}
	case q.profile != "":
		p.index, p.attr, p.value = "gsi-profile", attrProfile, q.profile
		return []part{l.derived(p, q)}
	}
	p.index, p.attr = "gsi-status", attrStatus
	of := func(state string, p part) part { p.value = state; return p }
	now := stamp(q.now)
	var all []part
	switch {
	case q.status == "":
		for _, state := range l.states {
			all = append(all, of(state, p))
		}
		return all
	case slices.Contains(l.open, q.status):
		return []part{of(q.status, p.with("expires_at > :now", ":now", now))}
	case q.status == l.lapsed:
		for _, state := range l.open {
			all = append(all, of(state, p.with("expires_at <= :now", ":now", now)))
		}
	}
	return append(all, of(q.status, p))
}

// derived filters by the derived status.
func (l listed[T]) derived(p part, q selection) part {
	if q.status == "" {
		return p
	}
	now := stamp(q.now)
	switch {
	case slices.Contains(l.open, q.status):
		return p.with("#status = :status", ":status", q.status).with("expires_at > :now", ":now", now)
	case q.status != l.lapsed:
		return p.with("#status = :status", ":status", q.status)
	}
	// What has ended by itself, and what is stored as anything that lapses.
	ended := "(#status = :status"
	p = p.value2(":now", now)
	for i, state := range l.open {
		name := ":open" + string(rune('a'+i))
		ended += " OR (#status = " + name + " AND expires_at <= :now)"
		p = p.value2(name, state)
	}
	return p.with(ended+")", ":status", q.status)
}

// with adds a filter; the part itself stays as it is.
func (p part) with(filter, name, value string) part {
	p.filters = append(slices.Clone(p.filters), filter)
	return p.value2(name, value)
}

func (p part) value2(name, value string) part {
	p.values = merge(maps.Clone(p.values), item{name: text(value)})
	return p
}

// listPart is one part, newest first, up to the limit; of records that share
// the last instant it may return more. The order of those in an index is not
// defined, so all of them have to be seen before the listing can be cut.
func listPart[T any](ctx context.Context, s *Store, l listed[T], p part, q selection, first, last time.Time) ([]T, error) {
	values := merge(maps.Clone(p.values), item{":key": text(p.value), ":first": text(stamp(first)), ":last": text(stamp(last))})
	in := &ddb.QueryInput{
		IndexName:                 &p.index,
		KeyConditionExpression:    aws.String("#key = :key AND created_at BETWEEN :first AND :last"),
		ExpressionAttributeNames:  map[string]string{"#key": p.attr},
		ExpressionAttributeValues: values,
		ScanIndexForward:          aws.Bool(false),
		// The record of the cursor comes first, and one after the last shows the
		// end; more of one instant, which are rare, take another page.
		Limit: aws.Int32(int32(min(q.limit+2, 1000))), // bounded
	}
	if len(p.filters) > 0 {
		in.FilterExpression = aws.String(strings.Join(p.filters, " AND "))
		in.Limit = aws.Int32(1000) // counts before the filter
		if strings.Contains(*in.FilterExpression, "#status") {
			in.ExpressionAttributeNames["#status"] = attrStatus
		}
	}
	var found []T
	err := s.query(ctx, in, func(it item) (bool, error) {
		v, err := l.decode(it)
		if err != nil {
			return false, err
		}
		at := l.place(v)
		if n := len(found); n >= q.limit && at.CreatedAt.Before(l.place(found[n-1]).CreatedAt) {
			return false, nil
		}
		if q.before == nil || order(at, *q.before) < 0 {
			found = append(found, v)
		}
		return true, nil
	})
	return found, err
}
