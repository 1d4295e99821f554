package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// servedCanonical canonicalises what the API serves with a program of others.
func servedCanonical(t testing.TB, e breakglass.LogEntry) []byte {
	t.Helper()
	served, err := json.Marshal(e)
	require.NoError(t, err)
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(served, &fields))
	delete(fields, "hash")
	without, err := json.Marshal(fields)
	require.NoError(t, err)
	out, err := jcs.Transform(without)
	require.NoError(t, err)
	return out
}

func TestCanonicalCoversEveryFieldAsServed(t *testing.T) {
	typ := reflect.TypeFor[breakglass.LogEntry]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		t.Run(field.Name, func(t *testing.T) {
			var e breakglass.LogEntry
			fill(t, reflect.ValueOf(&e).Elem().Field(i))
			assert.Equal(t, string(servedCanonical(t, e)), string(Canonical(e)),
				"LogEntry.%s is served but not hashed as served: add it to appendCanonical and docs/verify.md", field.Name)
			if field.Name != "Hash" {
				assert.NotEqual(t, Hash(breakglass.LogEntry{}), Hash(e))
			}
		})
	}
	assert.Equal(t, string(servedCanonical(t, breakglass.LogEntry{})), string(Canonical(breakglass.LogEntry{})))
	assert.Equal(t, string(servedCanonical(t, fullEntry())), string(Canonical(fullEntry())))
}

func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 2, 3, 4, 5, 60700000, time.UTC)
	case *map[string]string:
		*x = map[string]string{"b": "2", "a": "1", "": "0", "aa": ""}
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString("x\x7f\u2028<é>\xff\x1f\"\\\b\f\r")
		case reflect.Int64:
			v.SetInt(-42)
		default:
			t.Fatalf("LogEntry has a field of type %s: teach appendCanonical and this test", v.Type())
		}
	}
}

func TestSealChainsToTheEntryBefore(t *testing.T) {
	e := fullEntry()
	Seal(&e, "ab")
	assert.Equal(t, "ab", e.PrevHash)
	sum := sha256.Sum256(servedCanonical(t, e))
	assert.Equal(t, hex.EncodeToString(sum[:]), e.Hash)
	assert.Equal(t, e.Hash, Hash(e), "the hash doesn't cover itself")
	assert.Equal(t, "x"+string(Canonical(e)), string(AppendCanonical([]byte("x"), e)))
}

func TestSealHashesTimesAsTheyAreStored(t *testing.T) {
	e := fullEntry()
	Seal(&e, GenesisHash)
	other := fullEntry()
	zone := time.FixedZone("", 2*60*60)
	other.Timestamp = other.Timestamp.In(zone).Add(999 * time.Nanosecond)
	other.ExpiresAt = other.ExpiresAt.In(zone).Add(999 * time.Nanosecond)
	Seal(&other, GenesisHash)
	assert.Equal(t, e, other)
	other.Timestamp = other.Timestamp.In(zone)
	assert.Equal(t, e.Hash, Hash(other), "a store may hand out times in another zone: what is served is UTC")
}

func TestSealOfATypicalEntryAllocatesItsHashOnly(t *testing.T) {
	e := fullEntry()
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { Seal(&e, GenesisHash) }), 1.0)
}

func TestKeysAreSortedByUTF16CodeUnits(t *testing.T) {
	e := breakglass.LogEntry{Detail: map[string]string{"\ue000": "1", "\U0001F525": "2", "a": "3", "\uffff": "4", "\U0001F526": "5", "é": "6", "": "7"}}
	assert.Equal(t, string(servedCanonical(t, e)), string(Canonical(e)))
}

func TestStringsOfEveryLengthAroundTheFastPath(t *testing.T) {
	for _, n := range []int{0, 6, 7, 8, 9, 16} {
		for c := range 256 {
			for _, at := range []int{0, n / 2, n} {
				s := string(bytes.Repeat([]byte{'a'}, at)) + string([]byte{byte(c)}) + string(bytes.Repeat([]byte{' '}, n-at))
				e := breakglass.LogEntry{Actor: s}
				var back breakglass.LogEntry
				if served, err := json.Marshal(e); err != nil || json.Unmarshal(served, &back) != nil {
					t.Fatalf("%q", s)
				}
				if got := Canonical(e); string(got) != string(Canonical(back)) || !utf8.Valid(got) {
					t.Fatalf("%q became %s", s, got)
				}
			}
		}
	}
}

func FuzzCanonicalMatchesServedJSON(f *testing.F) {
	f.Add("alice", "key", "text\u2028\x7f\xff\xf0\x9f", "", int64(1), int64(0), int64(1763863200123456))
	f.Add("", "\U0001F525", "\ue000", "\\\"\b\t\x00", int64(-1), int64(14400), int64(-62135596800000000))
	f.Fuzz(func(t *testing.T, a, b, c, d string, seq, duration, micros int64) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) || a == b {
			a, b = "a", "b" // two keys that are served as the same one don't occur: keys are constants
		}
		at := time.UnixMicro(micros).UTC()
		if at.Year() < 1 || at.Year() > 9999 {
			t.Skip("encoding/json refuses such a year")
		}
		if max(seq, -seq) > 1<<53 || max(duration, -duration) > 1<<53 || seq == math.MinInt64 || duration == math.MinInt64 {
			t.Skip("RFC 8785 takes numbers as doubles")
		}
		e := breakglass.LogEntry{
			Seq: seq, Timestamp: at, ExpiresAt: at, Event: breakglass.EntryType(b), EventID: c, RequestID: d, Actor: a, Invoker: b,
			Profile: c, ReasonCode: breakglass.ReasonCode(d), Justification: a + b + c + d, Status: breakglass.Status(a),
			DurationSeconds: duration, ClosedBy: b, ClosedReason: c, Reason: d, Detail: map[string]string{a: c, b: d}, PrevHash: c,
		}
		require.Equal(t, string(servedCanonical(t, e)), string(Canonical(e)))
	})
}
