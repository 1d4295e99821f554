package transfer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

const (
	eventID   = "00112233445566aa"
	deniedID  = "00112233445566bb"
	pendingID = "00112233445566cc"
)

// chainSample is the trail of an event that was extended, a request that was
// approved and withdrawn, and one that waits.
func chainSample(t *testing.T) (Header, []Entry) {
	t.Helper()
	ev := breakglass.Event{ID: eventID, Invoker: "alice", RequestedBy: "alice", Profile: "prod", ReasonCode: breakglass.ReasonIncident,
		Justification: "down", DurationSeconds: 7200, Status: breakglass.StatusActive, CreatedAt: noon, UpdatedAt: noon.Add(time.Minute),
		ExpiresAt: noon.Add(2 * time.Hour), Sessions: 3, Extensions: 1, WarnAt: noon.Add(110 * time.Minute)}
	denied := breakglass.AccessRequest{ID: deniedID, Requester: "bob", Profile: "prod", Justification: "a <restore> & \u2028 test", DurationSeconds: 60,
		Status: breakglass.RequestDenied, CreatedAt: noon, UpdatedAt: noon, ExpiresAt: noon.Add(time.Hour), ApprovalsRequired: 1,
		Approvals: []breakglass.Approval{{By: "carol", At: noon}}, ApprovedAt: noon, EndedAt: noon, EndedBy: "carol", EndedReason: "no"}
	pending := breakglass.AccessRequest{ID: pendingID, Requester: "bob", Profile: "prod", Status: breakglass.RequestPending, CreatedAt: noon,
		UpdatedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	about := func(typ breakglass.EntryType, r breakglass.AccessRequest, actor string) breakglass.LogEntry {
		return breakglass.LogEntry{Event: typ, Actor: actor, Profile: "prod", Justification: r.Justification, DurationSeconds: r.DurationSeconds,
			ExpiresAt: r.ExpiresAt, Detail: map[string]string{breakglass.DetailAccessRequestID: r.ID}}
	}
	entries := []Entry{
		{Log: breakglass.LogEntry{Event: breakglass.EntryInvoked, EventID: eventID, Actor: "alice", Invoker: "alice", Profile: "prod", ExpiresAt: noon.Add(time.Hour)}, Event: &ev},
		{Log: about(breakglass.EntryRequestCreated, denied, "bob"), Request: &denied},
		{Log: breakglass.LogEntry{Event: breakglass.EntryExtended, EventID: eventID, Actor: "alice", ExpiresAt: ev.ExpiresAt}},
		{Log: about(breakglass.EntryRequestApproved, denied, "carol")},
		{Log: about(breakglass.EntryRequestDenied, denied, "carol")},
		{Log: about(breakglass.EntryRequestCreated, pending, "bob"), Request: &pending},
	}
	h := Header{Source: "sqlite", Counts: Counts{Events: 1, Entries: 6, Requests: 2}}
	prev := audit.GenesisHash
	for i := range entries {
		l := &entries[i].Log
		l.Seq, l.Timestamp = int64(i+1), noon
		audit.Seal(l, prev)
		entries[i].Body, entries[i].Hash, prev = audit.Canonical(*l), l.Hash, l.Hash
		h.Head = audit.Anchor{Seq: l.Seq, Hash: l.Hash}
		*l = breakglass.LogEntry{}
	}
	return h, entries
}

func TestAccessRequestsAreWrittenAndRead(t *testing.T) {
	h, entries := chainSample(t)
	whole, err := write(h, entries, nil)
	require.NoError(t, err)
	r, err := NewReader(strings.NewReader(whole))
	require.NoError(t, err)
	require.Equal(t, h, r.Header())
	var got []Entry
	require.NoError(t, r.Each(func(e Entry) error {
		e.Log = breakglass.LogEntry{}
		got = append(got, e)
		return nil
	}, nil, nil))
	require.Equal(t, entries, got)

	again, err := write(h, got, nil)
	require.NoError(t, err)
	require.Equal(t, whole, again)
}

// TestARequestIsWhatTheTrailSays: line 2 holds the event, 3 and 7 the requests.
func TestARequestIsWhatTheTrailSays(t *testing.T) {
	h, entries := chainSample(t)
	whole, err := write(h, entries, nil)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		line          int
		old, new, say string
	}{
		"a request of another":    {3, `"requester":"bob"`, `"requester":"eve"`, `access request "00112233445566bb" is not the one that entry 2 began`},
		"for another profile":     {3, `"request":{"request_id":"00112233445566bb","requester":"bob","profile":"prod"`, `"request":{"request_id":"00112233445566bb","requester":"bob","profile":"root"`, "is not the one"},
		"under another id":        {3, `"request_id":"00112233445566bb"`, `"request_id":"00112233445566bd"`, "is not the one"},
		"revived":                 {3, `"status":"denied"`, `"status":"approved"`, `access request "00112233445566bb" is approved, but entry 5 says that it is denied`},
		"ended otherwise":         {3, `"status":"denied"`, `"status":"cancelled"`, "is cancelled, but entry 5 says that it is denied"},
		"approved by nobody":      {7, `"status":"pending"`, `"status":"approved"`, `access request "00112233445566cc" is approved, but no entry says that it is`},
		"a longer one":            {3, `"duration_seconds":60`, `"duration_seconds":6000`, "is not the one"},
		"for another reason":      {7, `"justification":""`, `"justification":"x"`, "is not the one"},
		"one that ends later":     {7, `"expires_at":"2026-11-02T13:00:00Z"`, `"expires_at":"2099-11-02T13:00:00Z"`, "ends at 2099-11-02T13:00:00Z, but entry 6 says"},
		"a yes that nobody said":  {7, `"approvals":null`, `"approvals":[{"by":"bob","at":"2026-11-02T12:00:00Z"}]`, `has an approval by "bob" that no entry tells of`},
		"a yes of another":        {3, `"by":"carol"`, `"by":"dave"`, `has an approval by "dave" that no entry tells of`},
		"an unknown state":        {7, `"status":"pending"`, `"status":"lost"`, `access request "00112233445566cc" is damaged`},
		"an approval of nobody":   {3, `"by":"carol"`, `"by":""`, "is damaged"},
		"in nanoseconds":          {3, `"at":"2026-11-02T12:00:00Z"`, `"at":"2026-11-02T12:00:00.0000001Z"`, "is damaged"},
		"used less than never":    {3, `"sessions":0`, `"sessions":-1`, "is damaged"},
		"a field of its own":      {3, `"ended_by"`, `"note":"x","ended_by"`, "can't be read"},
		"an event as it was":      {2, `"expires_at":"2026-11-02T14:00:00Z"`, `"expires_at":"2026-11-02T13:00:00Z"`, "ends at 2026-11-02T13:00:00Z, but entry 3 says 2026-11-02T14:00:00Z"},
		"an event's odd warning":  {2, `"warn_at":"2026-11-02T13:50:00Z"`, `"warn_at":"1960-11-02T13:50:00Z"`, `event "00112233445566aa" is damaged`},
		"extended less than ever": {2, `"extensions":1`, `"extensions":-1`, "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			lines := strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n")
			require.Contains(t, lines[c.line-1], c.old)
			lines[c.line-1] = strings.Replace(lines[c.line-1], c.old, c.new, 1)
			_, err := Verify(strings.NewReader(resealed(lines) + "\n"))
			var at *LineError
			require.ErrorAs(t, err, &at)
			assert.Equal(t, c.line, at.Line, "%v", err)
			assert.Contains(t, err.Error(), c.say)
		})
	}
}

func TestRequestsThatCannotBeImportedAreNotWritten(t *testing.T) {
	for name, change := range map[string]func(h *Header, e []Entry){
		"one that is missing":     func(_ *Header, e []Entry) { e[1].Request = nil },
		"one that doesn't belong": func(_ *Header, e []Entry) { e[3].Request = e[1].Request },
		"uncounted":               func(h *Header, _ []Entry) { h.Counts.Requests = 1 },
		"damaged":                 func(_ *Header, e []Entry) { e[5].Request.Status = "" },
	} {
		t.Run(name, func(t *testing.T) {
			h, entries := chainSample(t)
			change(&h, entries)
			s, err := write(h, entries, nil)
			require.Error(t, err)
			assert.NotContains(t, s, "trailer")
		})
	}
}

// former is the sample as the program before this one has written it.
func former(t *testing.T, change func(s string) string) string {
	t.Helper()
	s := strings.Replace(export(t), `"format":2`, `"format":1`, 1)
	lines := strings.SplitAfter(strings.TrimSuffix(s, "\n"), "\n")
	event, rest, _ := strings.Cut(lines[1], `"deliveries"`)
	event = strings.Replace(event, `,"sessions":0,"extensions":0`, "", 1)
	require.NotContains(t, event, "sessions")
	lines[1] = change(event) + `"deliveries"` + rest
	return resealed(lines) + "\n"
}

func TestAnExportOfTheFormerFormatIsRead(t *testing.T) {
	_, entries, keys := sample(t)
	r, err := NewReader(strings.NewReader(former(t, func(s string) string { return s })))
	require.NoError(t, err)
	var got []Entry
	n := 0
	require.NoError(t, r.Each(func(e Entry) error {
		e.Log = breakglass.LogEntry{}
		got = append(got, e)
		return nil
	}, func(breakglass.Idempotent) error { n++; return nil }, nil))
	require.Equal(t, entries, got)
	require.Len(t, keys, n)

	for name, change := range map[string]func(s string) string{
		"with what came later": func(s string) string {
			return strings.Replace(s, `"escalated":false`, `"escalated":false,"sessions":0,"extensions":0`, 1)
		},
		"used": func(s string) string {
			return strings.Replace(s, `"escalated":false`, `"escalated":false,"sessions":3`, 1)
		},
		"with a warning": func(s string) string {
			return strings.Replace(s, `"escalated":false`, `"escalated":false,"warn_at":"2026-11-02T12:50:00Z"`, 1)
		},
		"with a request": func(s string) string { return s + `"request":{},` },
		"changed":        func(s string) string { return strings.Replace(s, `"invoker":"alice"`, `"invoker":"alicf"`, 1) },
	} {
		_, err := Verify(strings.NewReader(former(t, change)))
		var at *LineError
		require.ErrorAs(t, err, &at, name)
		require.Equal(t, 2, at.Line, name)
	}
	_, err = Verify(strings.NewReader(strings.Replace(former(t, func(s string) string { return s }), `"factors":0}`, `"factors":0,"requests":1}`, 1)))
	require.ErrorContains(t, err, "line 1: the header contradicts itself")
	_, err = Verify(strings.NewReader(strings.Replace(export(t), `"format":2`, `"format":1`, 1)))
	require.ErrorContains(t, err, "line 2: the record")
	_, err = Verify(strings.NewReader(strings.Replace(export(t), `"format":2`, `"format":0`, 1)))
	require.ErrorContains(t, err, "line 1: the header contradicts itself")
}
