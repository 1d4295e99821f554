package notify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 123456000, time.UTC)

func TestDocumentIsTheEntryAndTheEventAtThatInstant(t *testing.T) {
	d := delivery(7, noon, breakglass.EntryInvoked)
	n, err := NewNotification(d)
	require.NoError(t, err)
	require.Equal(t, "msg_"+d.Entry.Hash[:32], n.ID)

	var doc map[string]any
	require.NoError(t, json.Unmarshal(n.Body, &doc))
	require.Len(t, doc, 3)
	require.EqualValues(t, 1, doc["schema"])
	entry, event := doc["entry"].(map[string]any), doc["event"].(map[string]any)
	require.Equal(t, "breakglass.invoked", entry["event"])
	require.Equal(t, d.Entry.Hash, entry["hash"])
	require.Equal(t, "2026-11-23T12:00:00.123456Z", entry["timestamp"])
	require.Equal(t, "active", event["status"])
	require.EqualValues(t, 3600, event["remaining_seconds"])
	require.Equal(t, entry["event_id"], event["event_id"])

	var served breakglass.LogEntry // the entry is the one of the feed, field for field
	raw, err := json.Marshal(doc["entry"])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &served))
	require.Equal(t, d.Entry, served)
}

func TestDocumentOfARefusalHasNoEvent(t *testing.T) {
	d := delivery(7, noon, breakglass.EntryDenied)
	d.Event = nil
	n, err := NewNotification(d)
	require.NoError(t, err)
	require.NotContains(t, string(n.Body), `"event":{`)
	require.NotContains(t, string(n.Body), `null`)
}

func TestTheSameDeliveryMakesTheSameBytes(t *testing.T) {
	d := delivery(7, noon, breakglass.EntryInvoked)
	d.Entry.Detail = map[string]string{"b": "2", "a": "1", "c": "3", "d": "4"}
	first, err := NewNotification(d)
	require.NoError(t, err)
	for range 50 {
		d.Attempts++
		d.NextAttempt = d.NextAttempt.Add(time.Hour)
		d.LastError = "timed out"
		again, err := NewNotification(d)
		require.NoError(t, err)
		require.Equal(t, first, Notification{ID: again.ID, Seq: again.Seq, Body: again.Body, Entry: again.Entry})
	}
}

func TestHostileTextStaysInsideTheDocument(t *testing.T) {
	d := delivery(7, noon, breakglass.EntryInvoked)
	d.Entry.Justification = "</script>\"\\ \ufffe\uffff \xff\xfe 💥 ́ e"
	n, err := NewNotification(d)
	require.NoError(t, err)
	require.True(t, json.Valid(n.Body))
	require.NotContains(t, string(n.Body), "\ufffe")
	require.NotContains(t, string(n.Body), "\uffff")
	require.NotContains(t, string(n.Body), "\n")
	var doc document
	require.NoError(t, json.Unmarshal(n.Body, &doc))
	require.Equal(t, strings.ToValidUTF8("</script>\"\\ \ufffe\uffff \ufffd\ufffd 💥 ́ e", ""), doc.Entry.Justification)
}

func TestAnUnsealedEntryIsNotSent(t *testing.T) {
	d := delivery(7, noon, breakglass.EntryInvoked)
	d.Entry.Hash = ""
	_, err := NewNotification(d)
	require.Error(t, err)
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00b\x1b[31m\u202e\u009b\xff💥\n", 20)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 1000)
		out := printable(s, limit)
		require.LessOrEqual(t, len(out), limit+len("…"))
		require.Equal(t, out, printable(out, len(out)), "escaping is stable")
		require.NotContains(t, out, "\x1b")
		require.NotContains(t, out, "\n")
	})
}
