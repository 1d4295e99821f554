package dynamodb

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"breakglass/internal/breakglass"
	"breakglass/internal/store/transfer"
)

// Restore fills an empty table, which must exist, with what Dump of any engine
// has written. Until everything is written and the whole export is verified no
// server can use the table. When it fails or is killed, running it again begins
// from the start.
func Restore(ctx context.Context, cfg aws.Config, opts Options, in io.Reader) (transfer.Header, error) {
	return restoreWithin(ctx, cfg, opts, in, defaultBounds)
}

// bounds are what an import keeps to.
type bounds struct {
	guards int           // in memory
	trust  time.Duration // for how long a look at the mark says that the table is ours
	send   time.Duration // of one write, a look at the mark included
	quiet  time.Duration // between taking a table over and writing to it; more than trust and send together
}

// 50,000 guards take about 50 MB. A request that was cut off may still be
// carried out, so quiet has some seconds to spare.
var defaultBounds = bounds{guards: 50_000, trust: time.Second, send: 5 * time.Second, quiet: 15 * time.Second}

func restoreWithin(ctx context.Context, cfg aws.Config, opts Options, in io.Reader, b bounds) (transfer.Header, error) {
	r, err := transfer.NewReader(in)
	if err != nil {
		return transfer.Header{}, err
	}
	s := &restore{Store: offline(cfg, opts), ctx: ctx, run: newToken(), bounds: b, sinks: map[string]bool{}}
	s.batch = newBatcher(s.Store)
	s.batch.permit, s.batch.limit = s.alone, b.send
	s.forget()
	if err := s.usable(ctx); err != nil {
		return r.Header(), err
	}
	if err := s.begin(ctx); err != nil {
		return r.Header(), fmt.Errorf("import into table %s: %w", s.opts.Table, err)
	}
	err = r.Each(s.entry, s.idempotent, s.factor)
	if err == nil {
		err = s.flush()
	} else {
		s.batch.drop() // the table may be another's by now
	}
	if err == nil {
		err = s.finish(ctx)
	}
	if err != nil {
		return r.Header(), fmt.Errorf("import into table %s: %w; no server starts on the table until an import succeeds", s.opts.Table, err)
	}
	return r.Header(), nil
}

// restore rebuilds the table from an export.
type restore struct {
	*Store
	ctx    context.Context
	run    string // token of this run
	batch  *batcher
	sinks  map[string]bool // that are registered
	head   head
	guards *view // guards that are not written yet
	bounds bounds
	spilt  bool // guards were written: what isn't in memory may be in the table

	mu     sync.Mutex
	looked time.Time // when the import was last seen to be alone
}

// entry writes an audit entry and what belongs to it.
func (s *restore) entry(e transfer.Entry) error {
	if err := s.alone(s.ctx); err != nil {
		return err
	}
	at := micros(e.Log.Timestamp)
	if e.Log.Seq > 1 {
		at = max(at, s.head.high)
	}
	s.head.seq, s.head.hash, s.head.high = e.Log.Seq, e.Hash, at
	it := merge(entryKey(e.Log.Seq).item(), item{"body": text(string(e.Body)), "hash": text(e.Hash), "high": number(at)})
	if e.Snapshot != "" {
		it["snapshot"] = text(e.Snapshot)
	}
	if err := s.batch.put(s.ctx, it); err != nil {
		return err
	}
	for _, d := range e.Deliveries {
		v := breakglass.Delivery{Entry: e.Log, Sink: d.Sink, Attempts: d.Attempts, NextAttempt: d.NextAttempt, Dead: d.Dead, LastError: d.LastError}
		if !s.sinks[d.Sink] {
			s.sinks[d.Sink] = true
			if err := s.batch.put(s.ctx, sinkItem(d.Sink)); err != nil {
				return err
			}
		}
		if err := s.batch.put(s.ctx, deliveryItem(v)); err != nil {
			return err
		}
	}
	switch {
	case e.Event != nil:
		return s.event(*e.Event)
	case e.Request != nil:
		return s.request(*e.Request)
	}
	return nil
}

// event writes an event and takes it into its guards, as if it had been put in
// its present state when it began.
func (s *restore) event(e breakglass.Event) error {
	if len(s.guards.guards) > s.bounds.guards {
		if err := s.spill(); err != nil {
			return err
		}
	}
	p := s.guards.pair(e.Invoker, e.Profile)
	user, profile := s.guards.history(userKey(e.Invoker)), s.guards.history(profileKey(e.Profile))
	if err := s.load(); err != nil {
		return err
	}
	if p.known(e.ID) != nil {
		return fmt.Errorf("%w: event %s comes twice", errBroken, e.ID)
	}
	user.add(micros(e.CreatedAt))
	profile.add(micros(e.CreatedAt))
	if err := p.note(revised{e, 1}); err != nil {
		return err
	}
	if e.Status == breakglass.StatusActive {
		if err := s.batch.put(s.ctx, dueEvent(e).item()); err != nil {
			return err
		}
	}
	return s.batch.put(s.ctx, merge(eventKey(e.ID).item(), merge(encodeEvent(e), item{attrRev: number(1)})))
}

// request does the same with an access request.
func (s *restore) request(r breakglass.AccessRequest) error {
	if len(s.guards.guards) > s.bounds.guards {
		if err := s.spill(); err != nil {
			return err
		}
	}
	o := s.guards.openRequests(pairOf(r))
	if err := s.load(); err != nil {
		return err
	}
	if o.known(r.ID) != nil {
		return fmt.Errorf("%w: access request %s comes twice", errBroken, r.ID)
	}
	if err := o.note(revisedRequest{r, 1}); err != nil {
		return err
	}
	if r.Status.Open() {
		if err := s.batch.put(s.ctx, dueRequest(r).item()); err != nil {
			return err
		}
	}
	return s.batch.put(s.ctx, merge(requestKey(r.ID).item(), merge(encodeRequest(r), item{attrRev: number(1)})))
}

// load gets guards that aren't in memory.
func (s *restore) load() error {
	if s.spilt {
		if err := s.guards.load(s.ctx); err != nil {
			return err
		}
		return sound(slices.Collect(maps.Values(s.guards.guards))...)
	}
	for _, g := range s.guards.guards {
		if g.self().rev == unloaded {
			g.self().rev = 0
		}
	}
	return nil
}

// spill writes the guards and forgets them.
func (s *restore) spill() error {
	for k, g := range s.guards.guards {
		if !g.self().dirty {
			continue
		}
		if err := s.batch.put(s.ctx, merge(k.item(), merge(g.encode(), item{attrRev: number(g.self().rev + 1)}))); err != nil {
			return err
		}
		if h, ok := g.(*history); ok {
			for _, p := range h.fresh {
				if err := s.batch.put(s.ctx, merge(pageKey(k, p.number).item(), encodePage(p))); err != nil {
					return err
				}
			}
		}
	}
	s.forget()
	s.spilt = true
	return s.batch.flush(s.ctx)
}

// forget begins a view without guards. The head is none of them: it is marked.
func (s *restore) forget() {
	s.guards = newView(s.Store, nil)
	delete(s.guards.guards, keyHead)
}

func (s *restore) idempotent(r breakglass.Idempotent) error {
	if err := s.alone(s.ctx); err != nil {
		return err
	}
	i := idempotent{value: r}
	return s.batch.put(s.ctx, merge(idempotencyKey(r.Caller, r.Key).item(), merge(i.encode(), item{attrRev: number(1)})))
}

func (s *restore) factor(f breakglass.Factor) error {
	if err := s.alone(s.ctx); err != nil {
		return err
	}
	v := factor{value: &f}
	return s.batch.put(s.ctx, merge(factorKey(f.Name).item(), merge(v.encode(), item{attrRev: number(1)})))
}

// flush writes what is left and looks a last time whether the import is alone.
func (s *restore) flush() error {
	if err := s.spill(); err != nil {
		return err
	}
	return s.mine(s.ctx)
}

// alone looks whether another import has taken over, unless it has done so just
// now. Nothing is written without it.
func (s *restore) alone(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := time.Now() // the answer is at least as old as the question
	if begun.Sub(s.looked) < s.bounds.trust {
		return ctx.Err()
	}
	if err := s.mine(ctx); err != nil {
		return err
	}
	s.looked = begun
	return nil
}
