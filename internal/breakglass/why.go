package breakglass

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Story is why somebody had access: what an id or a session name stands for, and
// what the audit trail says about it.
type Story struct {
	// Kind is event, request or session; the last is access by standing policy.
	Kind    string       `json:"kind"`
	ID      string       `json:"id"`
	Event   *View        `json:"event,omitempty"`
	Request *RequestView `json:"request,omitempty"`
	Entries []LogEntry   `json:"entries"`
	// Truncated says that there are more entries than are shown.
	Truncated bool `json:"truncated"`
}

// The kinds of stories.
const (
	StoryEvent   = "event"
	StoryRequest = "request"
	StorySession = "session"
)

const (
	// maxStory is the most entries of a story.
	maxStory = 500
	// storyPage is how many entries are read at a time.
	storyPage = 500
	// maxStoryPages bounds how much of the trail a story reads.
	maxStoryPages = 100
	// aftermath is how long after the end entries are looked for: refusals of
	// those who went on, and an end that was written down late.
	aftermath = time.Minute
	// decisionTime is the longest from a decision to its entry: a call takes no
	// longer.
	decisionTime = time.Minute
	// Each person has this many stories at once, and one more in each refill: each
	// reads the trail over the life of what it is about.
	tellingBurst  = 20
	tellingRefill = 5 * time.Second
)

// Why tells the story of an event, an access request or a role session, named by
// its id or its session name, to whoever may see it. Refusals are recorded.
func (s *Service) Why(ctx context.Context, caller Principal, ref string) (Story, error) {
	out, err := s.why(ctx, caller, ref)
	if err != nil {
		e := AsError(err)
		s.recordCall(ctx, string(CallWhy), caller, askedFor(caller, idIn(ref), originOf(ctx).RequestID), e)
		return Story{}, e
	}
	return out, nil
}

// idIn is the id that a session name ends with, or ref itself.
func idIn(ref string) string {
	if _, id, ok := ParseSessionName(ref); ok {
		return id
	}
	return ref
}

func (s *Service) why(ctx context.Context, caller Principal, ref string) (Story, error) {
	id := idIn(ref)
	if !IsID(id) {
		return Story{}, hidden(CallWhy)
	}
	story, holder, err := s.storyOf(ctx, caller, id)
	if err == nil && ref != id && ref != SessionName(holder, id) {
		// Whoever may assume the role by other means chooses the name: it must not
		// pass for somebody else's session.
		return Story{}, hidden(CallWhy)
	}
	return story, err
}

// storyOf is the story behind an id, and whose it is.
func (s *Service) storyOf(ctx context.Context, caller Principal, id string) (story Story, holder string, err error) {
	ev, err := s.cfg.Store.Event(ctx, id)
	switch {
	case err == nil:
		story, err = s.whyEvent(ctx, caller, ev)
		return story, ev.Invoker, err
	case !errors.Is(err, ErrNotFound):
		return Story{}, "", err
	}
	r, err := s.cfg.Store.AccessRequest(ctx, id)
	switch {
	case err == nil:
		story, err = s.whyRequest(ctx, caller, r)
		return story, r.Requester, err
	case !errors.Is(err, ErrNotFound):
		return Story{}, "", err
	}
	if story, err = s.whySession(ctx, caller, id); err != nil {
		return Story{}, "", err
	}
	return story, story.Entries[0].Invoker, nil
}

func (s *Service) whyEvent(ctx context.Context, caller Principal, ev Event) (Story, error) {
	if refusal := May(caller, CallWhy, targetOf(caller, ev)); refusal != nil {
		return Story{}, refusal
	}
	if err := s.mayTell(caller); err != nil {
		return Story{}, err
	}
	view := ev.At(s.now())
	story := Story{Kind: StoryEvent, ID: ev.ID, Event: &view}
	end := ev.ExpiresAt
	if ev.Status == StatusClosed {
		end = ev.ClosedAt
	}
	about := func(e LogEntry) bool { return e.EventID == ev.ID || e.Detail[DetailRequestedEvent] == ev.ID }
	err := s.tell(ctx, &story, EntryQuery{Invoker: only(caller, ev.Invoker), Since: ev.CreatedAt, Until: end.Add(aftermath)}, about)
	if err == nil && ev.Status == StatusExpired {
		err = s.late(ctx, &story, EntryExpired, EntryQuery{Invoker: ev.Invoker, Profile: ev.Profile, Since: end}, about)
	}
	if targetOf(caller, ev) != TargetOwn {
		story.redactFor(caller)
	}
	return story, err
}

func (s *Service) whyRequest(ctx context.Context, caller Principal, r AccessRequest) (Story, error) {
	if refusal := May(caller, CallWhy, s.requestTarget(caller, r)); refusal != nil {
		return Story{}, refusal
	}
	if err := s.mayTell(caller); err != nil {
		return Story{}, err
	}
	view := r.At(s.now())
	story := Story{Kind: StoryRequest, ID: r.ID, Request: &view}
	end := r.ExpiresAt
	if !r.EndedAt.IsZero() {
		end = r.EndedAt
	}
	about := func(e LogEntry) bool { return e.Detail[DetailAccessRequestID] == r.ID }
	err := s.tell(ctx, &story, EntryQuery{Invoker: only(caller, r.Requester), Since: r.CreatedAt, Until: end.Add(aftermath)}, about)
	if err == nil && r.Status == RequestExpired {
		err = s.late(ctx, &story, EntryRequestExpired, EntryQuery{Invoker: r.Requester, Profile: r.Profile, Since: end}, about)
	}
	if r.Requester != caller.Name {
		story.redactFor(caller)
	}
	return story, err
}

// whySession tells of a session by standing policy. Its only record is its
// entry, and its id says when that was written.
func (s *Service) whySession(ctx context.Context, caller Principal, id string) (Story, error) {
	at := decidedAt(id)
	if at.After(s.now().Add(clockTolerance)) {
		return Story{}, hidden(CallWhy)
	}
	if err := s.mayTell(caller); err != nil {
		return Story{}, err
	}
	q := EntryQuery{Since: at, Until: at.Add(decisionTime)}
	if May(caller, CallWhy, TargetForeign) != nil {
		q.Invoker = caller.Name // what is not theirs isn't even looked at
	}
	story := Story{Kind: StorySession, ID: id}
	if err := s.tell(ctx, &story, q, func(e LogEntry) bool { return e.Detail[DetailDecisionID] == id }); err != nil {
		return Story{}, err
	}
	if len(story.Entries) == 0 {
		return Story{}, hidden(CallWhy)
	}
	return story, nil
}

// only narrows a story to the entries about its person, for callers who may not
// read the trail. Whoever may also learns who else tried something.
func only(caller Principal, person string) string {
	if May(caller, CallFeed, TargetServer) == nil {
		return ""
	}
	return person
}

// redactFor leaves out what only those who may read the trail are to know of
// another person: where they called from, how they logged in, and which keys
// they got.
func (st *Story) redactFor(caller Principal) {
	if May(caller, CallFeed, TargetServer) == nil {
		return
	}
	for i := range st.Entries {
		e := &st.Entries[i]
		e.Detail = maps.Clone(e.Detail)
		for _, key := range []string{DetailClientAddr, DetailAuthenticatedBy, DetailAccessKeyID, DetailRoleSessionName, DetailSourceIdentity} {
			delete(e.Detail, key)
		}
	}
}

// mayTell takes one story of the caller's budget.
func (s *Service) mayTell(caller Principal) error {
	if wait := s.telling.spend(caller.Name, s.now()); wait > 0 {
		return &Error{Code: CodeRateLimited, RetryAfter: wait,
			Message: fmt.Sprintf("You asked %d times in quick succession. Wait a little; an auditor can read the whole trail with `bgctl events`.", tellingBurst)}
	}
	return nil
}

// tell reads the entries that belong to a story.
func (s *Service) tell(ctx context.Context, story *Story, q EntryQuery, about func(LogEntry) bool) error {
	story.Entries = []LogEntry{}
	q.Limit = storyPage
	for page := 0; ; page++ {
		entries, through, err := s.cfg.Journal.Entries(ctx, q)
		if err != nil {
			return err
		}
		story.Entries = append(story.Entries, slices.DeleteFunc(entries, func(e LogEntry) bool { return !about(e) })...)
		if len(story.Entries) > maxStory || page == maxStoryPages {
			story.Entries, story.Truncated = story.Entries[:min(len(story.Entries), maxStory)], true
			return nil
		}
		head, err := s.cfg.Journal.Head(ctx)
		if err != nil {
			return err
		}
		if through >= head || through == q.After {
			return nil
		}
		q.After = through
	}
}

// late finds an end that was written down long after it: no server ran then.
func (s *Service) late(ctx context.Context, story *Story, typ EntryType, q EntryQuery, about func(LogEntry) bool) error {
	if story.Truncated || slices.ContainsFunc(story.Entries, func(e LogEntry) bool { return e.Event == typ }) {
		return nil
	}
	q.Event = typ
	rest := Story{}
	err := s.tell(ctx, &rest, q, about)
	story.Entries = append(story.Entries, rest.Entries...)
	return err
}
