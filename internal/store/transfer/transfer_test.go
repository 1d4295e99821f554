package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/audit"
	"breakglass/internal/breakglass"
)

var noon = time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)

// sample is a small trail: an invocation with deliveries, its end, a refusal.
func sample(t *testing.T) (Header, []Entry, []breakglass.Idempotent) {
	t.Helper()
	ev := breakglass.Event{
		ID: "00112233445566aa", Invoker: "alice", RequestedBy: "alice", Profile: "prod", ReasonCode: breakglass.ReasonIncident,
		Justification: "the <primary> & its\u2028copy are down", DurationSeconds: 3600, Status: breakglass.StatusClosed,
		CreatedAt: noon, UpdatedAt: noon.Add(time.Minute), ExpiresAt: noon.Add(time.Hour), ClosedAt: noon.Add(time.Minute), RequestID: "r", PolicyRule: "oncall",
	}
	snapshot, err := json.Marshal(ev)
	require.NoError(t, err)
	h := Header{Source: "sqlite"}
	var entries []Entry
	for i, typ := range []breakglass.EntryType{breakglass.EntryInvoked, breakglass.EntryClosed, breakglass.EntryDenied} {
		l := breakglass.LogEntry{Seq: int64(i + 1), Timestamp: noon, Event: typ, Actor: "alice", Justification: ev.Justification}
		if typ != breakglass.EntryDenied {
			l.EventID, l.Invoker, l.Profile, l.ExpiresAt = ev.ID, ev.Invoker, ev.Profile, ev.ExpiresAt
		}
		prev := audit.GenesisHash
		if i > 0 {
			prev = h.Head.Hash
		}
		audit.Seal(&l, prev)
		h.Head = audit.Anchor{Seq: l.Seq, Hash: l.Hash}
		entries = append(entries, Entry{Body: audit.Canonical(l), Hash: l.Hash})
	}
	entries[0].Event = &ev
	entries[0].Snapshot = string(snapshot)
	entries[0].Deliveries = []Delivery{
		{Sink: "secops", NextAttempt: time.Unix(0, 0).UTC()},
		{Sink: "siem", NextAttempt: noon, Attempts: 3, Dead: true, LastError: "410 Gone"},
	}
	keys := []breakglass.Idempotent{
		{Caller: "alice", Key: "a", Fingerprint: "f", EventID: ev.ID, CreatedAt: noon},
		{Caller: "alice", Key: "b", Fingerprint: "f", EventID: ev.ID, CreatedAt: noon},
	}
	h.Counts = Counts{Events: 1, Entries: 3, Deliveries: 2, Idempotency: 2}
	return h, entries, keys
}

func write(h Header, entries []Entry, keys []breakglass.Idempotent) (string, error) {
	var out bytes.Buffer
	w, err := NewWriter(&out, h)
	for _, e := range entries {
		if err == nil {
			err = w.Entry(e)
		}
	}
	for _, k := range keys {
		if err == nil {
			err = w.Idempotent(k)
		}
	}
	if err == nil {
		err = w.Close()
	}
	return out.String(), err
}

func export(t *testing.T) string {
	t.Helper()
	h, entries, keys := sample(t)
	s, err := write(h, entries, keys)
	require.NoError(t, err)
	return s
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	h, entries, keys := sample(t)
	r, err := NewReader(iotest.OneByteReader(strings.NewReader(export(t))))
	require.NoError(t, err)
	require.Equal(t, h, r.Header())
	var gotEntries []Entry
	var gotKeys []breakglass.Idempotent
	require.NoError(t, r.Each(func(e Entry) error {
		require.Equal(t, e.Hash, audit.Hash(e.Log))
		e.Log = breakglass.LogEntry{}
		gotEntries = append(gotEntries, e)
		return nil
	}, func(k breakglass.Idempotent) error { gotKeys = append(gotKeys, k); return nil }, nil))
	require.Equal(t, entries, gotEntries)
	require.Equal(t, keys, gotKeys)
}

// resealed gives changed lines a trailer that fits them, as somebody would who
// wants the change to go unnoticed.
func resealed(lines []string) string {
	body := strings.Join(lines[:len(lines)-1], "")
	sum := sha256.Sum256([]byte(body))
	_, rest, _ := strings.Cut(lines[len(lines)-1], `"sha256":"`)
	return body + strings.Replace(lines[len(lines)-1], rest[:64], hex.EncodeToString(sum[:]), 1)
}

// closedQuietly is an export of an event that nobody closed and that is closed.
func closedQuietly(t *testing.T) string {
	t.Helper()
	h, entries, _ := sample(t)
	h.Counts, h.Head = Counts{Events: 1, Entries: 1, Deliveries: 2}, audit.Anchor{Seq: 1, Hash: entries[0].Hash}
	s, err := write(h, entries[:1], nil)
	require.NoError(t, err, "it can be exported, as evidence")
	return s
}

// TestEveryDamageIsFoundAndItsLineNamed: lines 1 header, 2 to 4 entries, 5 and 6
// idempotency records, 7 trailer.
func TestEveryDamageIsFoundAndItsLineNamed(t *testing.T) {
	whole := export(t)
	lines := func() []string { return strings.SplitAfter(strings.TrimSuffix(whole, "\n"), "\n") }
	require.Len(t, lines(), 7)
	replace := func(line int, old, new string) string {
		l := lines()
		require.Contains(t, l[line-1], old)
		l[line-1] = strings.Replace(l[line-1], old, new, 1)
		return resealed(l) + "\n"
	}
	arrange := func(order ...int) string {
		var out []string
		for _, n := range order {
			out = append(out, strings.TrimSuffix(lines()[n-1], "\n")+"\n")
		}
		return resealed(out)
	}
	for name, c := range map[string]struct{ input, message string }{
		"empty":                   {"", "line 1: there is nothing to import"},
		"something else":          {"{\"seq\":1}\n", "line 1: this is not an export"},
		"binary":                  {"\x00\xff\n", "line 1: this is not an export"},
		"a newer format":          {replace(1, `"format":2`, `"format":3,"more":true`), "line 1: the export was written by a newer breakglassd (format 3"},
		"an unknown header field": {replace(1, `"source"`, `"sauce":1,"source"`), "line 1: the record can't be read"},
		"cut after a line":        {strings.Join(lines()[:4], ""), "line 4: the export ends here without its trailer"},
		"cut within a line":       {strings.Join(lines()[:4], "")[:len(strings.Join(lines()[:4], ""))-9], "line 4: the export ends in the middle"},
		"cut within the trailer":  {strings.TrimSuffix(whole, "\n"), "line 7: the export ends in the middle"},
		"more after the trailer":  {whole + "\n", "line 8: something follows"},
		"entries swapped":         {arrange(1, 3, 2, 4, 5, 6, 7), "line 2: entry 1 is missing here"},
		"an entry repeated":       {arrange(1, 2, 2, 3, 4, 5, 6, 7), "line 3: entry 2 is due here"},
		"an entry dropped":        {arrange(1, 2, 4, 5, 6, 7), "line 3: entry 2 is missing here"},
		"the last entry dropped":  {arrange(1, 2, 3, 5, 6, 7), "line 6: the audit trail ends with entry 2 instead of 3:"},
		"keys swapped":            {arrange(1, 2, 3, 4, 6, 5, 7), "line 6: the idempotency records are not in the order"},
		"a key repeated":          {arrange(1, 2, 3, 4, 5, 5, 7), "line 6: the idempotency records are not in the order"},
		"a key dropped":           {arrange(1, 2, 3, 4, 5, 7), "line 6: there are 1 events, 3 audit entries, 2 deliveries, 1 idempotency"},
		"an entry after the keys": {arrange(1, 2, 3, 5, 4, 6, 7), "line 5: an audit entry stands after"},
		"a second header":         {arrange(1, 1, 2, 3, 4, 5, 6, 7), `line 2: a record of the kind "header" is unknown`},
		"an unknown kind":         {replace(5, `"idempotency"`, `"secret"`), `line 5: a record of the kind "secret" is unknown`},
		"an empty line":           {lines()[0] + lines()[1] + "\n", "line 3: this is not a record"},
		"an unknown field":        {replace(5, `"key"`, `"note":"x","key"`), `line 5: the record can't be read: json: unknown field "note"`},
		"a field twice":           {replace(5, `"key":"a"`, `"key":"z","key":"a"`), "line 5: the record was changed"},
		"white space":             {replace(5, `,"key"`, `, "key"`), "line 5: the record was changed"},
		"a body changed":          {replace(3, `"actor":"alice"`, `"actor":"alicf"`), "line 3: entry 2 has been changed"},
		"a hash changed":          {replace(3, `"hash":"`, `"hash":"0`), "line 3:"},
		"no event":                {replace(2, `"event":{`, `"deliveries":[],"snapshot":{`), "line 2: the record was changed"},
		"an event of another":     {replace(2, `"invoker":"alice"`, `"invoker":"alicf"`), "is not the one that entry 1 began"},
		"a prolonged event":       {replace(2, `"expires_at":"2026-11-02T13:00:00Z"`, `"expires_at":"2026-11-02T15:00:00Z"`), "line 2: event \"00112233445566aa\" ends at"},
		"a revived event":         {replace(2, `"status":"closed"`, `"status":"active"`), "line 2: event \"00112233445566aa\" is active, but entry 2 says that it is closed"},
		"an event ended":          {closedQuietly(t), "line 2: event \"00112233445566aa\" is closed, but no entry says that it is"},
		"ended otherwise":         {replace(2, `"status":"closed"`, `"status":"expired"`), "line 2: event \"00112233445566aa\" is expired, but entry 2 says that it is closed"},
		"an unknown status":       {replace(2, `"status":"closed"`, `"status":"paused"`), "is damaged"},
		"a delivery's time":       {replace(2, `"1970-01-01T00:00:00Z"`, `"1960-01-01T00:00:00Z"`), `line 2: the delivery to "secops" is damaged`},
		"a time in nanoseconds":   {replace(2, `"created_at":"2026-11-02T12:00:00Z"`, `"created_at":"2026-11-02T12:00:00.0000001Z"`), "is damaged"},
		"deliveries in disorder":  {replace(2, `"sink":"secops"`, `"sink":"tecops"`), "line 2: the deliveries are not in the order"},
		"a quiet change":          {strings.Replace(whole, `"last_error":"410 Gone"`, `"last_error":"410 gone"`, 1), "line 7: the export was changed"},
		"other counts":            {replace(1, `"idempotency":2`, `"idempotency":3`), "line 7: the counts here are not those of the header"},
		"an endless line":         {lines()[0] + `{"kind":"entry"` + strings.Repeat(" ", maxLine), "line 2: the line is longer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Verify(strings.NewReader(c.input))
			require.Error(t, err)
			var at *LineError
			require.ErrorAs(t, err, &at)
			assert.Contains(t, err.Error(), c.message)
		})
	}
	_, err := Verify(strings.NewReader(whole))
	require.NoError(t, err)
}

func TestNoBytesCanBeTakenAwayOrFlipped(t *testing.T) {
	whole := export(t)
	for i := range len(whole) {
		_, err := Verify(strings.NewReader(whole[:i]))
		require.Error(t, err, "cut at %d", i)
		_, err = Verify(strings.NewReader(whole[:i] + string(whole[i]^1) + whole[i+1:]))
		require.Error(t, err, "byte %d", i)
	}
}

func TestAnExportThatCannotBeImportedIsNotWritten(t *testing.T) {
	for name, change := range map[string]func(h *Header, entries []Entry, keys []breakglass.Idempotent){
		"an event that is missing":     func(_ *Header, e []Entry, _ []breakglass.Idempotent) { e[0].Event = nil },
		"an event that doesn't belong": func(_ *Header, e []Entry, _ []breakglass.Idempotent) { e[1].Event = e[0].Event },
		"a trail that was changed": func(_ *Header, e []Entry, _ []breakglass.Idempotent) {
			e[2].Body = bytes.Replace(e[2].Body, []byte("alice"), []byte("mallo"), 1)
		},
		"a body with white space": func(_ *Header, e []Entry, _ []breakglass.Idempotent) {
			e[2].Body = bytes.Replace(e[2].Body, []byte(","), []byte(", "), 1)
		},
		"a trail that has grown":    func(h *Header, _ []Entry, _ []breakglass.Idempotent) { h.Head.Seq++ },
		"events nobody has invoked": func(h *Header, _ []Entry, _ []breakglass.Idempotent) { h.Counts.Events++ },
		"keys in disorder":          func(_ *Header, _ []Entry, k []breakglass.Idempotent) { k[0], k[1] = k[1], k[0] },
		"a damaged snapshot":        func(_ *Header, e []Entry, _ []breakglass.Idempotent) { e[0].Snapshot = "{}" },
	} {
		t.Run(name, func(t *testing.T) {
			h, entries, keys := sample(t)
			change(&h, entries, keys)
			s, err := write(h, entries, keys)
			require.Error(t, err)
			assert.NotContains(t, s, "trailer")
		})
	}
}

func TestAReaderOrFunctionThatFailsIsReportedAsItIs(t *testing.T) {
	broken := errors.New("the disk is gone")
	_, err := Verify(io.MultiReader(strings.NewReader(export(t)[:2000]), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	r, err := NewReader(strings.NewReader(export(t)))
	require.NoError(t, err)
	require.Equal(t, broken, r.Each(func(Entry) error { return broken }, nil, nil))
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("{\"kind\":\"header\",\"format\":1,\"source\":\"\",\"head\":\"\",\"counts\":{}}\n{\"kind\":\"entry\"}\n"))
	f.Add([]byte("{\"kind\":\"header\",\"format\":2,\"source\":\"\",\"head\":\"\",\"counts\":{}}\n{\"kind\":\"entry\",\"request\":{}}\n"))
	f.Add([]byte(fmt.Sprintf("{\"kind\":\"header\",\"format\":1,\"source\":\"sqlite\",\"head\":\"0:%s\",\"counts\":"+
		"{\"events\":0,\"entries\":0,\"deliveries\":0,\"idempotency\":0,\"factors\":0}}\n{\"kind\":\"entry\",\"hash\":\"\",\"body\":{}}\n", audit.GenesisHash)))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Verify(bytes.NewReader(data))
		if err == nil { // one form only
			require.Equal(t, h.Head.Seq, h.Counts.Entries)
		}
	})
}
