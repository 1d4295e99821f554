package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"breakglass/internal/breakglass"
)

// errLimit is a mistake of the calling program: a listing without a bound.
var errLimit = errors.New("the limit of a listing must be at least 1")

// publish announces a head: first the number, then the wake-up, so that
// whoever wakes up sees it.
func (s *Store) publish(seq int64) {
	for {
		seen := s.seen.Load()
		if seq <= seen {
			return
		}
		if s.seen.CompareAndSwap(seen, seq) {
			break
		}
	}
	next := make(chan struct{})
	close(*s.changed.Swap(&next))
}

func (s *Store) readHead(ctx context.Context) (*head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	it, err := s.get(ctx, keyHead)
	if err != nil {
		return nil, unavailable(err)
	}
	h := &head{}
	if err := h.decode(it); err != nil {
		return nil, err
	}
	s.publish(h.seq)
	return h, nil
}

// Head implements breakglass.Journal. It reads one small item.
func (s *Store) Head(ctx context.Context) (int64, error) {
	h, err := s.readHead(ctx)
	if err != nil {
		return 0, err
	}
	return h.seq, nil
}

// LatestEntryTime implements breakglass.Store.
func (s *Store) LatestEntryTime(ctx context.Context) (time.Time, error) {
	h, err := s.readHead(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return h.latest(), nil
}

// Wait implements breakglass.Journal. It asks nothing of DynamoDB: one watcher
// does that for everybody. It returns ErrClosed when the store is closed
// meanwhile.
func (s *Store) Wait(ctx context.Context, after int64) error {
	for {
		changed := s.changed.Load() // before the look at the head, so that no change falls between
		if s.seen.Load() > after {
			return nil
		}
		select {
		case <-*changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			if s.seen.Load() > after {
				return nil
			}
			return ErrClosed
		}
	}
}

// watch looks for what other servers have written. The read may lag a little,
// which halves its cost; the next one sees what this one missed.
func (s *Store) watch(ctx context.Context) {
	ticker := time.NewTicker(s.opts.PollEvery)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		out, err := call(ctx, s, func(ctx context.Context) (*ddb.GetItemOutput, error) {
			return s.client.GetItem(ctx, &ddb.GetItemInput{TableName: &s.opts.Table, Key: keyHead.item()})
		})
		if err == nil {
			s.publish(num(out.Item["seq"]))
		} else if !failing && ctx.Err() == nil {
			s.opts.Log.Error("can't see what other servers write; trying again", "error", err)
		}
		failing = err != nil
	}
}

// searchTime ends a search through the trail early; the reader continues from
// there.
const searchTime = 200 * time.Millisecond

// Entries implements breakglass.Journal. Filters are applied to what is read:
// a search that finds little may return early with a through before the head;
// continuing after it finds the rest.
func (s *Store) Entries(ctx context.Context, q breakglass.EntryQuery) ([]breakglass.LogEntry, int64, error) {
	if q.Limit < 1 {
		return nil, 0, errLimit
	}
	head := s.seen.Load()
	if head <= q.After { // only then is it worth a call
		h, err := s.readHead(ctx)
		if err != nil {
			return nil, 0, err
		}
		if head = h.seq; head <= q.After {
			return nil, q.After, nil
		}
	}
	end, err := s.searchEnd(ctx, q, head)
	if err != nil {
		return nil, 0, unavailable(err)
	}
	entries, through, err := s.search(ctx, q, end)
	if err != nil {
		return nil, 0, unavailable(err)
	}
	if through >= end && len(entries) < q.Limit {
		through = head // nothing behind the end is asked for
	}
	return entries, through, nil
}

// searchEnd is the seq up to which the query asks.
func (s *Store) searchEnd(ctx context.Context, q breakglass.EntryQuery, head int64) (int64, error) {
	if q.Until.IsZero() {
		return head, nil
	}
	until := micros(q.Until)
	if fromMicros(until).Before(q.Until) {
		until++
	}
	_, end, err := s.bisect(ctx, max(q.After, 0), head, until)
	return end - 1, err
}

func (s *Store) search(ctx context.Context, q breakglass.EntryQuery, last int64) (entries []breakglass.LogEntry, through int64, err error) {
	after := max(q.After, 0)
	if !q.Since.IsZero() {
		if after, _, err = s.bisect(ctx, after, last, micros(q.Since)); err != nil {
			return nil, 0, err
		}
	}
	wait := backoff{}
	for start := time.Now(); after < last; {
		seen, full := after, false
		err := s.bucket(ctx, after, last, q, func(seq int64, e breakglass.LogEntry) bool {
			seen = seq
			if matches(e, q) {
				entries = append(entries, e)
			}
			full = len(entries) == q.Limit
			return !full && (len(entries) > 0 || time.Since(start) < searchTime)
		})
		if err != nil {
			return nil, 0, err
		}
		if seen == after {
			gone, err := s.gone(ctx, after+1)
			switch {
			case err != nil:
				return nil, 0, err
			case gone:
				seen = after + 1
			case !wait.sleep(ctx):
				return nil, 0, ctx.Err()
			default:
				continue
			}
		}
		if after = seen; full || time.Since(start) > searchTime {
			break
		}
	}
	return entries, after, nil
}

// bucket reads the entries after that sequence number that share its bucket,
// in order and without a gap, until each returns false. A query doesn't see a
// transaction all at once: what comes after a gap is for the next look. seq is
// the place of an entry; one that was tampered with may say something else.
func (s *Store) bucket(ctx context.Context, after, head int64, q breakglass.EntryQuery, each func(seq int64, e breakglass.LogEntry) bool) error {
	first := entryKey(after + 1)
	end := min(head, (after/bucketSize+1)*bucketSize)
	in := &ddb.QueryInput{
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND sk BETWEEN :first AND :last"),
		ExpressionAttributeValues: item{":pk": text(first.pk), ":first": text(first.sk), ":last": text(entryKey(end).sk)},
	}
	if q.Event == "" && q.Invoker == "" && q.Profile == "" && q.Limit < bucketSize {
		in.Limit = aws.Int32(int32(q.Limit)) // below bucketSize
	}
	next := after + 1
	return s.query(ctx, in, func(it item) (bool, error) {
		e, err := decodeEntry(it)
		if err != nil {
			return false, damaged(next, err)
		}
		if keyOf(it) != entryKey(next) {
			return false, nil
		}
		next++
		return each(next-1, e), nil
	})
}

// gone reports that an entry below the head isn't there. A read of one item is
// serializable with transactions, so this is no matter of time: somebody has
// removed it. The rest of the trail is served all the same, because it shows to
// everybody who verifies it which one is missing.
func (s *Store) gone(ctx context.Context, seq int64) (bool, error) {
	it, err := s.get(ctx, entryKey(seq))
	if err != nil || it != nil {
		return false, err
	}
	s.opts.Log.Error("an audit entry is missing: it was removed from the table behind the server's back", "seq", seq)
	return true, nil
}

func matches(e breakglass.LogEntry, q breakglass.EntryQuery) bool {
	return (q.Event == "" || e.Event == q.Event) && (q.Invoker == "" || e.Invoker == q.Invoker) &&
		(q.Profile == "" || e.Profile == q.Profile) && (q.Since.IsZero() || !e.Timestamp.Before(exactTime(q.Since)))
}

// bisect finds the first entry in (after, head] that can be as late as an
// instant: it is in (low, high], where head+1 stands for "none". The latest
// timestamp so far never falls as seq rises. Where an entry isn't there, the
// ones below it tell, and when these are missing, too, high is more than the one
// behind low.
//
// That timestamp, the attribute high, is not in the hash of an entry. Who
// changes the table can therefore make a search by time miss entries, until
// somebody reads without one, as verification does. What the entry itself says
// counts where it is later.
func (s *Store) bisect(ctx context.Context, after, head, instant int64) (low, high int64, err error) {
	low, high = after, head+1
	for low+1 < high {
		middle := low + (high-low)/2
		it, err := s.get(ctx, entryKey(middle))
		for n := 1; err == nil && it == nil && middle > low+1 && n < maxGap; n++ {
			middle--
			it, err = s.get(ctx, entryKey(middle))
		}
		switch {
		case err != nil:
			return 0, 0, err
		case it == nil: // nothing from low on
			return low, high, nil
		case latestOf(it) < instant:
			low = middle
		default:
			high = middle
		}
	}
	return low, high, nil
}

// maxGap bounds the look for an entry below one that isn't there.
const maxGap = 10

// latestOf is the latest timestamp of any entry up to this one.
func latestOf(it item) int64 {
	e, err := decodeEntry(it)
	if err != nil {
		return num(it["high"])
	}
	return max(num(it["high"]), micros(e.Timestamp))
}

// damaged names an entry that can't even be read, so that whoever verifies the
// trail learns where it was tampered with.
func damaged(seq int64, err error) error {
	return &breakglass.Error{Code: breakglass.CodeUnavailable, Cause: err,
		Message: fmt.Sprintf("Audit entry %d is damaged: its item was changed in the table behind the server's back. "+
			"Keep the table as evidence; earlier entries, and later ones, can still be read (after=%d).", seq, seq)}
}

// decodeEntry is the entry as it was sealed.
func decodeEntry(it item) (breakglass.LogEntry, error) {
	var e breakglass.LogEntry
	if err := json.Unmarshal([]byte(str(it["body"])), &e); err != nil {
		return e, fmt.Errorf("an audit entry is damaged: %w", err)
	}
	e.Hash = str(it["hash"])
	return e, nil
}
