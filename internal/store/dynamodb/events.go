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

// Event implements breakglass.Store.
func (s *Store) Event(ctx context.Context, id string) (breakglass.Event, error) {
	if err := ctx.Err(); err != nil {
		return breakglass.Event{}, err
	}
	it, err := s.get(ctx, eventKey(id))
	if err != nil {
		return breakglass.Event{}, unavailable(err)
	}
	if it == nil {
		return breakglass.Event{}, breakglass.ErrNotFound
	}
	return decodeEvent(it)
}

// ClaimExpiry implements breakglass.Store.
func (s *Store) ClaimExpiry(ctx context.Context, ev breakglass.Event, now, until time.Time) error {
	return s.claim(ctx, activeKey(ev.ExpiresAt, ev.ID), now, until)
}

func unavailableOrNil(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}

// Events implements breakglass.Store. It asks the indexes, which lag a little
// behind.
func (s *Store) Events(ctx context.Context, q breakglass.EventQuery) ([]breakglass.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.Limit < 1 {
		return nil, errLimit
	}
	first, last, ok := window(q)
	if !ok {
		return nil, s.ended()
	}
	var all []breakglass.Event
	for _, l := range listings(q) {
		events, err := s.list(ctx, l, q, first, last)
		if err != nil {
			return nil, unavailable(err)
		}
		all = append(events, all...)
	}
	slices.SortStableFunc(all, func(a, b breakglass.Event) int {
		switch {
		case newer(a, b):
			return -1
		case newer(b, a):
			return 1
		}
		return 0
	})
	// An event that ended between two queries is in both; the later one counts.
	all = slices.CompactFunc(all, func(a, b breakglass.Event) bool { return a.ID == b.ID })
	return all[:min(len(all), q.Limit)], nil
}

// window is the range of created_at, both ends included; ok is false when
// nothing can be in it.
func window(q breakglass.EventQuery) (first, last time.Time, ok bool) {
	first, last = time.UnixMicro(0), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	if !q.Since.IsZero() {
		first = q.Since
		if exact := exactTime(q.Since); exact.Before(q.Since) {
			first = exact.Add(time.Microsecond)
		}
	}
	if !q.Until.IsZero() {
		last = q.Until.Add(-time.Nanosecond).Truncate(time.Microsecond)
	}
	if q.Before != nil && q.Before.CreatedAt.Before(last) {
		last = q.Before.CreatedAt
	}
	return first, last, !last.Before(first)
}

// listing is one query of an index: the key and the filters.
type listing struct {
	index, attr, value string
	filters            []string
	values             item
}

// listings are the queries whose results together hold the answer. A derived
// status is what is stored as such and, for expired, what is stored as active
// and has lapsed. What is stored as active comes first: an event that ends
// meanwhile may then be found twice, and is not missed.
func listings(q breakglass.EventQuery) []listing {
	l := listing{values: item{}}
	if q.ReasonCode != "" {
		l = l.with("reason_code = :reason", ":reason", string(q.ReasonCode))
	}
	now := stamp(q.Now)
	switch {
	case q.Invoker != "":
		l.index, l.attr, l.value = "gsi-invoker", attrInvoker, q.Invoker
		if q.Profile != "" {
			l = l.with("profile = :profile", ":profile", q.Profile)
		}
		return []listing{l.status(q.Status, now)}
	case q.Profile != "":
		l.index, l.attr, l.value = "gsi-profile", attrProfile, q.Profile
		return []listing{l.status(q.Status, now)}
	}
	l.index, l.attr = "gsi-status", attrStatus
	of := func(s breakglass.Status, l listing) listing { l.value = string(s); return l }
	switch q.Status {
	case "":
		return []listing{of(breakglass.StatusActive, l), of(breakglass.StatusClosed, l), of(breakglass.StatusExpired, l)}
	case breakglass.StatusActive:
		return []listing{of(breakglass.StatusActive, l.with("expires_at > :now", ":now", now))}
	case breakglass.StatusExpired:
		return []listing{of(breakglass.StatusActive, l.with("expires_at <= :now", ":now", now)), of(breakglass.StatusExpired, l)}
	}
	return []listing{of(q.Status, l)}
}

// with adds a filter; the listing itself stays as it is.
func (l listing) with(filter, name, value string) listing {
	l.filters = append(slices.Clone(l.filters), filter)
	l.values = merge(maps.Clone(l.values), item{name: text(value)})
	return l
}

// status filters by the derived status.
func (l listing) status(s breakglass.Status, now string) listing {
	switch s {
	case "":
		return l
	case breakglass.StatusActive:
		return l.with("#status = :status", ":status", string(s)).with("expires_at > :now", ":now", now)
	case breakglass.StatusExpired:
		return l.with("(#status = :status OR (#status = :active AND expires_at <= :now))", ":status", string(s)).
			value2(":active", string(breakglass.StatusActive)).value2(":now", now)
	}
	return l.with("#status = :status", ":status", string(s))
}

func (l listing) value2(name, value string) listing {
	l.values = merge(maps.Clone(l.values), item{name: text(value)})
	return l
}

// list is one listing, newest first, up to the query's limit; of events that
// share the last instant it may return more. The order of those in an index is
// not defined, so all of them have to be seen before the listing can be cut.
func (s *Store) list(ctx context.Context, l listing, q breakglass.EventQuery, first, last time.Time) ([]breakglass.Event, error) {
	values := merge(maps.Clone(l.values), item{":key": text(l.value), ":first": text(stamp(first)), ":last": text(stamp(last))})
	in := &ddb.QueryInput{
		IndexName:                 &l.index,
		KeyConditionExpression:    aws.String("#key = :key AND created_at BETWEEN :first AND :last"),
		ExpressionAttributeNames:  map[string]string{"#key": l.attr},
		ExpressionAttributeValues: values,
		ScanIndexForward:          aws.Bool(false),
		// The event of the cursor comes first, and one after the last shows the
		// end; more events of one instant, which are rare, take another page.
		Limit: aws.Int32(int32(min(q.Limit+2, 1000))), // bounded
	}
	if len(l.filters) > 0 {
		in.FilterExpression = aws.String(strings.Join(l.filters, " AND "))
		in.Limit = aws.Int32(1000) // counts before the filter
		if strings.Contains(*in.FilterExpression, "#status") {
			in.ExpressionAttributeNames["#status"] = attrStatus
		}
	}
	var events []breakglass.Event
	err := s.query(ctx, in, func(it item) (bool, error) {
		e, err := decodeEvent(it)
		if err != nil {
			return false, err
		}
		if n := len(events); n >= q.Limit && e.CreatedAt.Before(events[n-1].CreatedAt) {
			return false, nil
		}
		if q.Before == nil || newer(breakglass.Event{CreatedAt: q.Before.CreatedAt, ID: q.Before.ID}, e) {
			events = append(events, e)
		}
		return true, nil
	})
	return events, err
}
