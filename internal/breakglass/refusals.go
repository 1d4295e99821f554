package breakglass

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// refusalTimeout bounds the wait for the entry of a refusal.
	refusalTimeout = 5 * time.Second
	// maxRefusalText bounds what an entry says about the fields of a request,
	// and about refusals that were only counted, in bytes.
	maxRefusalText = 1000
	// flushBatch is how many entries of counted refusals share a transaction.
	flushBatch = 20
)

// entry is what is known about an invocation that was refused. Only fields in
// good form are kept: the trail is no place for ten megabytes of nonsense.
func (s *Service) refusedEntry(caller Principal, in Invocation) LogEntry {
	e := LogEntry{RequestID: in.RequestID, Invoker: caller.Name}
	in.Invoker = Canonical(in.Invoker)
	if in.Invoker != "" && in.Invoker != caller.Name && CheckName(in.Invoker) == "" {
		// Nobody may put another's name on a refusal of his own.
		if _, known := s.cfg.Directory.Lookup(in.Invoker); known && Permit(caller, CallInvoke, TargetForeign) == Allow {
			e.Invoker = in.Invoker
		} else {
			e.put(DetailRequestedInvoker, in.Invoker)
		}
	}
	if in.DryRun {
		e.put(DetailDryRun, "true")
	}
	if CheckName(in.Profile) == "" {
		e.Profile = in.Profile
	}
	if in.ReasonCode.IsValid() {
		e.ReasonCode = in.ReasonCode
	}
	if CheckJustification(in.Justification) == "" {
		e.Justification = in.Justification
	}
	if CheckDuration(in.Duration) == "" {
		e.DurationSeconds = int64(in.Duration / time.Second)
	}
	return e
}

// put adds to the detail of an entry.
func (e *LogEntry) put(key, value string) {
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	e.Detail[key] = value
}

// askedFor is what is known about a refused call for an event.
func askedFor(caller Principal, id, requestID string) LogEntry {
	e := LogEntry{RequestID: requestID, Invoker: caller.Name}
	if IsID(id) {
		e.put(DetailRequestedEvent, id)
	}
	return e
}

// recordCall records a refused call other than an invocation. What failed for
// want of the store is in the log alone.
func (s *Service) recordCall(ctx context.Context, call string, caller Principal, entry LogEntry, e *Error) {
	if e.Code == CodeUnavailable {
		return
	}
	entry.put(DetailCall, call)
	s.recordRefusal(ctx, EntryDenied, caller, entry, e)
}

// RecordRefusedCall records a call that was refused before it reached the
// service, because its caller may not make it at all.
func (s *Service) RecordRefusedCall(ctx context.Context, call Call, caller Principal, e *Error) {
	s.recordCall(ctx, string(call), caller, LogEntry{RequestID: originOf(ctx).RequestID, Invoker: caller.Name}, e)
}

// RecordRefusal records an invocation that was refused before it reached
// Invoke, such as a malformed body. in holds what could be understood of it.
func (s *Service) RecordRefusal(ctx context.Context, caller Principal, in Invocation, e *Error) {
	s.recordRefusal(ctx, EntryDenied, caller, s.refusedEntry(caller, in), e)
}

// RecordOverBudget records that a caller sent more requests than the server
// takes of one. It says so once a minute however many those are.
func (s *Service) RecordOverBudget(ctx context.Context, caller Principal, requestID string, e *Error) {
	s.recordCall(ctx, "over_budget", caller, LogEntry{RequestID: requestID, Invoker: caller.Name}, e)
}

// recordRefusal writes the entry of a refusal. The caller is refused whether
// or not that works, so a failure is logged, not returned.
func (s *Service) recordRefusal(ctx context.Context, typ EntryType, caller Principal, entry LogEntry, e *Error) {
	if e.Unknown {
		s.cfg.Log.Error("it is not known whether a change was made", "type", typ, "actor", caller.Name, "request_id", entry.RequestID, "error", e)
		return // what may have been granted isn't on record as refused
	}
	if entry.EventID == "" {
		entry.EventID = e.EventID // of the active event in the way
	}
	key := refusalKey{typ: typ, actor: caller.Name, code: e.Code, event: entry.EventID, via: caller.Via}
	if key.event == "" {
		// A decision that AWS was asked for is never like another one.
		key.event = cmp.Or(entry.Detail[DetailRequestedEvent], entry.Detail[DetailAccessRequestID], e.Stamps[DetailDecisionID])
	}
	if key.call = entry.Detail[DetailCall]; entry.Detail[DetailDryRun] != "" {
		key.call = DetailDryRun // the question must not hide the refusal of the deed
	}
	if entry.Invoker != caller.Name {
		key.invoker = entry.Invoker
	}
	if _, known := s.profiles[entry.Profile]; known {
		key.profile = entry.Profile
	}
	now := s.now()
	earlier, write := s.refusals.add(key, now)
	if !write {
		s.wakeFor(now.Add(refusalWindow))
		return
	}
	entry.Timestamp, entry.Event, entry.Actor, entry.Reason = now, typ, caller.Name, string(e.Code)
	entry.Detail = withCaller(caller, fromWhere(ctx, refusalDetail(entry.Detail, e, earlier)))
	// The caller may be gone, the refusal still goes on record.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalTimeout)
	defer cancel()
	s.writeRefusals(ctx, []LogEntry{entry})
}

func (s *Service) writeRefusals(ctx context.Context, entries []LogEntry) {
	err := s.cfg.Store.Update(ctx, Keys{}, func(tx Tx) error {
		for _, entry := range entries {
			if err := s.record(tx, entry, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.cfg.Log.Error("refusals could not be recorded", "error", err, "entries", len(entries),
			"request_id", entries[0].RequestID, "actor", entries[0].Actor, "reason", entries[0].Reason)
	}
}

func refusalDetail(base map[string]string, e *Error, earlier int) map[string]string {
	m := map[string]string{}
	maps.Copy(m, base)
	put := func(key, value string) {
		if value != "" {
			m[key] = value
		}
	}
	for key, value := range e.Stamps {
		put(key, value)
	}
	put(DetailMessage, e.Message)
	put(DetailLimit, string(e.Limit))
	put(DetailCondition, e.Condition)
	switch e.Code {
	case CodePolicyDenied, CodeMFARequired, CodeMFAInvalid:
		put(DetailPolicyRule, e.Rule)
	case CodeRateLimited:
		put(DetailLimitRule, e.Rule)
	}
	var fields []string
	for _, f := range e.Fields {
		fields = append(fields, fmt.Sprintf("%.64s %s", f.Field, f.Message))
	}
	put(DetailFields, joinCut(fields))
	if earlier > 0 {
		put(DetailSuppressed, strconv.Itoa(earlier))
	}
	return m
}

// joinCut joins texts whose number and length a caller can choose, cut to what
// an entry may hold.
func joinCut(texts []string) string {
	var b strings.Builder
	for i, text := range texts {
		if i > 0 {
			b.WriteString("; ")
		}
		if b.WriteString(text); b.Len() > maxRefusalText {
			return strings.ToValidUTF8(b.String()[:maxRefusalText], "") + "…"
		}
	}
	return b.String()
}

// flushRefusals writes what was only counted, one entry for each actor whose
// window is over, or for every actor when all is true.
func (s *Service) flushRefusals(ctx context.Context, all bool) {
	now := s.now()
	var entries []LogEntry
	for _, c := range s.refusals.flush(now, all) {
		entries = append(entries, LogEntry{
			Timestamp: now, Event: c.typ, Actor: c.actor, Invoker: c.actor, Reason: c.mostly,
			Detail: map[string]string{
				DetailMessage:    "Refusals in a burst, counted instead of recorded one by one.",
				DetailSuppressed: strconv.Itoa(c.total),
				DetailCounts:     joinCut(c.counts),
			},
		})
	}
	for batch := range slices.Chunk(entries, flushBatch) {
		s.writeRefusals(ctx, batch)
	}
}
