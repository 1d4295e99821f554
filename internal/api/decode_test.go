package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// decodeInvoke reads a body as POST /v1/breakglass does.
func decodeInvoke(t testing.TB, contentType string, body []byte) (breakglass.Invocation, *breakglass.Error) {
	t.Helper()
	v, err := newRequestValidator()
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodPost, "/v1/breakglass", strings.NewReader(string(body)))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	c := &call{h: &Handler{validate: v, draining: t.Context()}, w: recorder{ResponseWriter: httptest.NewRecorder()}, r: r}
	in, err := c.readInvocation()
	return in, breakglass.AsError(err)
}

func fieldsOf(e *breakglass.Error) []string {
	names := []string{}
	if e != nil {
		for _, f := range e.Fields {
			names = append(names, f.Field)
		}
	}
	return names
}

func TestFiveFaultsOfDifferentKindsGetFiveErrors(t *testing.T) {
	_, e := decodeInvoke(t, "application/json", []byte(`{
		"profile": 7, "reason_code": "boredom", "justification": "short", "Ticket": "x",
		"duration_seconds": 99999999999999999999}`))
	require.NotNil(t, e)
	assert.Equal(t, breakglass.CodeInvalidRequest, e.Code)
	assert.Equal(t, []breakglass.FieldError{
		{Field: "profile", Message: "must be a string, not a number"},
		{Field: "Ticket", Message: "is not a field of this request; it has duration_seconds, invoker, justification, profile, reason_code, ticket, totp"},
		{Field: "duration_seconds", Message: "is out of range: 99999999999999999999"},
		{Field: "reason_code", Message: "must be one of incident, maintenance, security, recovery, other"},
		{Field: "justification", Message: "must have 20 to 1000 characters, has 5"},
	}, e.Fields)
}

func TestAValidBodyIsReadExactly(t *testing.T) {
	in, e := decodeInvoke(t, `application/json; charset="UTF-8"`, []byte(` {"profile":"prod","reason_code":"incident",
		"justification":"Grüße \ud83d\ude00 from the primary \\ database","ticket":"INC-1","invoker":"bob","duration_seconds":14400} `))
	require.Nil(t, e)
	assert.Equal(t, breakglass.Invocation{Profile: "prod", ReasonCode: "incident", Justification: "Grüße 😀 from the primary \\ database",
		Ticket: "INC-1", Invoker: "bob", Duration: breakglass.MaxDuration}, in)
}

func TestWhatIsNoObjectIsMalformed(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":                 ``,
		"white space":             `   `,
		"not JSON":                `profile=prod`,
		"cut short":               `{"profile":"prod"`,
		"trailing data":           `{"profile":"prod"} {}`,
		"trailing garbage":        `{"profile":"prod"}x`,
		"array":                   `[{"profile":"prod"}]`,
		"string":                  `"prod"`,
		"number":                  `7`,
		"null":                    `null`,
		"byte order mark":         "\ufeff{}",
		"single quotes":           `{'profile':'prod'}`,
		"comment":                 `{} // x`,
		"invalid UTF-8":           "{\"profile\":\"\xff\"}",
		"invalid UTF-8 in a name": "{\"\xc3\x28\":1}",
		"UTF-16":                  "\xff\xfe{\x00}\x00",
		"control character":       "{\"profile\":\"a\nb\"}",
		"NaN":                     `{"duration_seconds":NaN}`,
		"leading zero":            `{"duration_seconds":007}`,
		"deep nesting":            `{"profile":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, e := decodeInvoke(t, "application/json", []byte(body))
			require.NotNil(t, e)
			assert.Equal(t, breakglass.CodeMalformed, e.Code, e.Message)
			assert.True(t, utf8.ValidString(e.Message))
		})
	}
}

func TestFaultsOfSingleFields(t *testing.T) {
	base := map[string]string{"profile": `"prod"`, "reason_code": `"incident"`, "justification": `"Primary DB down, INC-4711"`}
	for _, tc := range []struct{ name, field, value, message string }{
		{"null", "profile", `null`, "must be a string, not null"},
		{"an optional field is not null either", "ticket", `null`, "must be a string, not null"},
		{"array", "profile", `["prod"]`, "must be a string, not an array"},
		{"nested", "justification", `{"a":{"b":[1,2]}}`, "must be a string, not an object"},
		{"boolean", "invoker", `true`, "must be a string, not a boolean"},
		{"empty", "profile", `""`, "is required and must not be empty"},
		{"white space around a name", "profile", `" prod"`, "must not begin or end with white space"},
		{"empty invoker", "invoker", `""`, "must not be empty (1 to 256 characters)"},
		{"long name", "profile", `"` + strings.Repeat("p", 257) + `"`, "must have 1 to 256 characters, has 257"},
		{"case of a reason code", "reason_code", `"Incident"`, "must be one of incident, maintenance, security, recovery, other"},
		{"19 characters", "justification", `"` + strings.Repeat("x", 19) + `"`, "must have 20 to 1000 characters, has 19"},
		{"19 emoji of 4 bytes", "justification", `"` + strings.Repeat("🔥", 19) + `"`, "must have 20 to 1000 characters, has 19"},
		{"1001 combining marks", "justification", `"` + strings.Repeat("e\u0301", 500) + `x"`, "must have 20 to 1000 characters, has 1001"},
		{"white space only", "justification", `"` + strings.Repeat(" ", 40) + `"`, "must not be empty (20 to 1000 characters)"},
		{"white space doesn't count", "justification", `"  ` + strings.Repeat("x", 19) + `  "`, "must have 20 to 1000 characters, has 19"},
		{"escape character", "justification", `"Primary DB down \u001b[2J INC-4711"`, "must not contain control or invisible characters (found U+001B)"},
		{"bidirectional override", "justification", `"Primary DB down \u202e INC-4711"`, "must not contain control or invisible characters (found U+202E)"},
		{"lone high surrogate", "justification", `"Primary DB down \ud83d INC-4711"`, "must not contain half of a surrogate pair"},
		{"lone low surrogate", "justification", `"Primary DB down \ude00 INC-4711"`, "must not contain half of a surrogate pair"},
		{"long ticket", "ticket", `"` + strings.Repeat("t", 101) + `"`, "must have 0 to 100 characters, has 101"},
		{"zero", "duration_seconds", `0`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"minus zero", "duration_seconds", `-0`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"negative", "duration_seconds", `-1`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"5 h", "duration_seconds", `18000`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"one second too long", "duration_seconds", `14401`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"overflows a duration to 1 s", "duration_seconds", `18446744073`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"largest integer", "duration_seconds", `9223372036854775807`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"smallest integer", "duration_seconds", `-9223372036854775808`, "must be whole seconds from 1 to 14400 (4 hours)"},
		{"overflows an integer", "duration_seconds", `9223372036854775808`, "is out of range: 9223372036854775808"},
		{"fraction", "duration_seconds", `60.5`, "must be a whole number without fraction or exponent"},
		{"exponent", "duration_seconds", `1e999999999`, "must be a whole number without fraction or exponent"},
		{"number in a string", "duration_seconds", `"60"`, "must be a whole number, not a string"},
		{"Go duration", "duration_seconds", `"1h"`, "must be a whole number, not a string"},
	} {
		t.Run(tc.field+" "+tc.name, func(t *testing.T) {
			members := []string{fmt.Sprintf("%q:%s", tc.field, tc.value)}
			for k, v := range base {
				if k != tc.field {
					members = append(members, fmt.Sprintf("%q:%s", k, v))
				}
			}
			_, e := decodeInvoke(t, "application/json", []byte("{"+strings.Join(members, ",")+"}"))
			require.NotNil(t, e)
			assert.Equal(t, []breakglass.FieldError{{Field: tc.field, Message: tc.message}}, e.Fields)
		})
	}
}

// decodeBody reads a body as the calls of the chain do.
func decodeBody(t testing.TB, known fields, body any, text string, optional bool) *breakglass.Error {
	t.Helper()
	v, err := newRequestValidator()
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodPost, "/v1/x", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	c := &call{h: &Handler{validate: v, draining: t.Context()}, w: recorder{ResponseWriter: httptest.NewRecorder()}, r: r}
	return breakglass.AsError(c.read(known, body, optional))
}

// chainBodies are the bodies of the calls of the chain by name, each with a
// valid text.
func chainBodies() map[string]struct {
	valid    string
	optional bool
	decode   func(t testing.TB, text string) (any, *breakglass.Error)
} {
	type entry = struct {
		valid    string
		optional bool
		decode   func(t testing.TB, text string) (any, *breakglass.Error)
	}
	body := func(valid string, optional bool, make func() (fields, any)) entry {
		return entry{valid, optional, func(t testing.TB, text string) (any, *breakglass.Error) {
			known, out := make()
			e := decodeBody(t, known, out, text, optional)
			return out, e
		}}
	}
	return map[string]entry{
		"credentials": body(`{"profile":"prod"}`, false, func() (fields, any) { b := &credentialsRequest{}; return b.fields(), b }),
		"extend": body(`{"justification":"Replica is still catching up","duration_seconds":14400,"totp":"123456"}`, false,
			func() (fields, any) { b := &extendRequest{}; return b.fields(), b }),
		"request": body(`{"profile":"prod","justification":"Rotate the certificate","ticket":"CHG-1","duration_seconds":28800}`, false,
			func() (fields, any) { b := &newRequest{}; return b.fields(), b }),
		"approve": body(`{"comment":"fine"}`, true, func() (fields, any) { b := &approveRequest{}; return b.fields(), b }),
		"deny":    body(`{"reason":"freeze"}`, false, func() (fields, any) { b := &denyRequest{}; return b.fields(), b }),
		"cancel":  body(`{"reason":"done"}`, true, func() (fields, any) { b := &cancelRequest{}; return b.fields(), b }),
	}
}

func TestTheBodiesOfTheChainAreReadExactly(t *testing.T) {
	for name, b := range chainBodies() {
		out, e := b.decode(t, b.valid)
		require.Nil(t, e, name)
		again, err := json.Marshal(out)
		require.NoError(t, err)
		assert.JSONEq(t, b.valid, string(again), name)
		_, e = b.decode(t, "")
		assert.Equal(t, b.optional, e == nil, name)
		_, e = b.decode(t, "{}")
		assert.Equal(t, b.optional, e == nil, name)
	}
}

func TestFaultsOfTheBodiesOfTheChain(t *testing.T) {
	bodies := chainBodies()
	for _, tc := range []struct {
		body, text string
		fields     []string // none: malformed
	}{
		{"credentials", `{}`, []string{"profile"}},
		{"credentials", `{"profile":7,"Profile":"prod","invoker":"bob"}`, []string{"profile", "Profile", "invoker"}},
		{"credentials", `{"profile":"prod","profile":"staging"}`, []string{"profile"}},
		{"credentials", `{"profile":" prod"}`, []string{"profile"}},
		{"credentials", `["prod"]`, nil},
		{"extend", `{}`, []string{"justification"}},
		{"extend", `{"justification":"short","duration_seconds":14401,"totp":"12345","reason_code":"incident"}`, []string{"reason_code", "justification", "duration_seconds", "totp"}},
		{"extend", `{"justification":"Replica is still catching up","duration_seconds":0}`, []string{"duration_seconds"}},
		{"extend", `{"justification":"Replica is still catching up","duration_seconds":18446744073}`, []string{"duration_seconds"}},
		{"extend", `{"justification":"Replica is still catching up","duration_seconds":"1h","totp":123456}`, []string{"duration_seconds", "totp"}},
		{"extend", `{"justification":"Replica is still \u202e catching up"}`, []string{"justification"}},
		{"request", `{}`, []string{"profile", "justification"}},
		{"request", `{"profile":"","justification":"short","ticket":"\u0007","duration_seconds":28801,"requester":"bob"}`,
			[]string{"requester", "profile", "justification", "ticket", "duration_seconds"}},
		{"request", `{"profile":"prod","justification":"Rotate the certificate","duration_seconds":-1}`, []string{"duration_seconds"}},
		{"request", `{"profile":"prod","justification":"Rotate the certificate","duration_seconds":1e3}`, []string{"duration_seconds"}},
		{"request", `{"profile":"prod","justification":"Rotate the certificate","duration_seconds":null,"ticket":null}`, []string{"duration_seconds", "ticket"}},
		{"approve", `{"comment":"a\u001b[2Jb","reason":"x","by":"sam"}`, []string{"reason", "by", "comment"}},
		{"approve", `{"comment":"` + strings.Repeat("x", 1001) + `"}`, []string{"comment"}},
		{"approve", `{"comment":["x"]}`, []string{"comment"}},
		{"approve", `null`, nil},
		{"deny", `{}`, []string{"reason"}},
		{"deny", `{"reason":"   "}`, []string{"reason"}},
		{"deny", `{"reason":"` + strings.Repeat("x", 1001) + `","comment":"x"}`, []string{"comment", "reason"}},
		{"cancel", `{"reason":"a\u2028b","force":true}`, []string{"force", "reason"}},
		{"cancel", `{"reason":null}`, []string{"reason"}},
		{"cancel", `{`, nil},
	} {
		_, e := bodies[tc.body].decode(t, tc.text)
		require.NotNil(t, e, "%s %s", tc.body, tc.text)
		checkRefusal(t, e)
		if tc.fields == nil {
			assert.Equal(t, breakglass.CodeMalformed, e.Code, tc.text)
			continue
		}
		assert.ElementsMatch(t, tc.fields, fieldsOf(e), "%s %s", tc.body, tc.text)
	}
}

func TestWordsThatMayBeLeftOutMayBeEmpty(t *testing.T) {
	for _, name := range []string{"approve", "cancel"} {
		field := map[string]string{"approve": "comment", "cancel": "reason"}[name]
		for _, text := range []string{`""`, `"  "`, `"` + strings.Repeat("🔥", 1000) + `"`} {
			_, e := chainBodies()[name].decode(t, `{"`+field+`":`+text+`}`)
			assert.Nil(t, e, "%s %s", name, text)
		}
	}
}

// FuzzDecodeChain: as FuzzDecodeInvoke, for the other bodies.
func FuzzDecodeChain(f *testing.F) {
	bodies := chainBodies()
	names := slices.Sorted(maps.Keys(bodies))
	for i, name := range names {
		f.Add(byte(i), []byte(bodies[name].valid))
		f.Add(byte(i), []byte(`{"reason":"\ud83d","comment":"\u202e","profile":null,"duration_seconds":-0}`))
	}
	f.Fuzz(func(t *testing.T, which byte, text []byte) {
		out, e := bodies[names[int(which)%len(names)]].decode(t, string(text))
		if e != nil {
			checkRefusal(t, e)
			return
		}
		var bad error
		switch b := out.(type) {
		case *extendRequest:
			in := breakglass.Extension{Justification: b.Justification}
			if b.DurationSeconds != nil {
				in.Duration = breakglass.Seconds(*b.DurationSeconds)
			}
			bad = in.Validate()
		case *newRequest:
			in := breakglass.NewRequest{Profile: b.Profile, Justification: b.Justification, Ticket: b.Ticket}
			if b.DurationSeconds != nil {
				in.Duration = breakglass.Seconds(*b.DurationSeconds)
			}
			bad = in.Validate()
		}
		if bad != nil {
			t.Fatalf("%s is let through: %v", text, bad)
		}
	})
}

func TestCharactersAreCodePointsAtBothEnds(t *testing.T) {
	for _, text := range []string{strings.Repeat("🔥", 20), strings.Repeat("é", 1000), "  " + strings.Repeat("x", 1000) + "\t", strings.Repeat("👩‍👩‍👧", 7)} {
		body, err := json.Marshal(map[string]string{"profile": "prod", "reason_code": "incident", "justification": text})
		require.NoError(t, err)
		_, e := decodeInvoke(t, "application/json", body)
		assert.Nil(t, e, text)
	}
}

func TestRepeatedAndUnknownNamesAreRefused(t *testing.T) {
	_, e := decodeInvoke(t, "application/json", []byte(`{"profile":"prod","reason_code":"incident","justification":"Primary DB down, INC-4711",
		"profile":"staging","profile":"x","prof\u0069le":"y","color":"red","color":"blue","__proto__":{},"\u001b[2J":1,"":2}`))
	assert.Equal(t, []string{"profile", "color", "color", "__proto__", `"\x1b[2J"`, `""`}, fieldsOf(e))
	assert.Equal(t, "must be given once", e.Fields[0].Message)
}

func TestTheNumberOfReportedFaultsIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{`)
	for i := range 3000 {
		fmt.Fprintf(&b, `"field%d":1,`, i)
	}
	b.WriteString(`"` + strings.Repeat("n", 20000) + `":1}`)
	_, e := decodeInvoke(t, "application/json", []byte(b.String()))
	require.NotNil(t, e)
	assert.Len(t, e.Fields, maxFaults)
	assert.Equal(t, "…", e.Fields[maxFaults-1].Field)
	assert.Equal(t, fmt.Sprintf("%d more faults are not listed", 3000+1+3-(maxFaults-1)), e.Fields[maxFaults-1].Message)
	_, e = decodeInvoke(t, "application/json", []byte(`{"`+strings.Repeat("ü", 20000)+`":1}`))
	assert.LessOrEqual(t, len(e.Fields[0].Field), maxShownName+len("…"))
}

func TestMediaTypes(t *testing.T) {
	body := []byte(`{"profile":"prod","reason_code":"incident","justification":"Primary DB down, INC-4711"}`)
	for _, ok := range []string{"application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8", "application/json; v=1"} {
		_, e := decodeInvoke(t, ok, body)
		assert.Nil(t, e, ok)
	}
	for _, bad := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/problem+json",
		"application/jsonx", "*/*", "application/json, text/plain", ";", "application/json; charset"} {
		_, e := decodeInvoke(t, bad, body)
		require.NotNil(t, e, bad)
		assert.Equal(t, breakglass.CodeUnsupportedMediaType, e.Code, bad)
	}
}

func TestTheLargestBodyIs64KiB(t *testing.T) {
	body := `{"profile":"prod","reason_code":"incident","justification":"Primary DB down, INC-4711"}`
	_, e := decodeInvoke(t, "application/json", []byte(body+strings.Repeat(" ", maxBody-len(body))))
	assert.Nil(t, e)
	_, e = decodeInvoke(t, "application/json", []byte(body+strings.Repeat(" ", maxBody-len(body)+1)))
	require.NotNil(t, e)
	assert.Equal(t, breakglass.CodeTooLarge, e.Code)
}

// FuzzDecodeInvoke: whatever arrives, the answer is an invocation that the
// domain finds valid, or a refusal that is itself well-formed.
func FuzzDecodeInvoke(f *testing.F) {
	for _, seed := range []string{
		`{"profile":"prod","reason_code":"incident","justification":"Primary DB down, INC-4711","duration_seconds":60,"ticket":"x","invoker":"bob"}`,
		`{"profile":"prod","profile":"x"}`, `{"justification":"\ud83d\ude00\ud83d"}`, `{"duration_seconds":-0}`, `{"a":{"b":[{}]}}`, `[]`, ``, "{\"\xff\":1}",
		`{"duration_seconds":1e400,"invoker":null,"x\u0000":"\u202e"}`,
	} {
		f.Add("application/json", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		in, e := decodeInvoke(t, contentType, body)
		if e == nil {
			if err := in.Validate(); err != nil {
				t.Fatalf("%s is let through: %v", body, err)
			}
			var again map[string]any
			if err := json.Unmarshal(body, &again); err != nil || again["profile"] != in.Profile {
				t.Fatalf("%s is read as %+v", body, in)
			}
			return
		}
		checkRefusal(t, e)
		if len(body) <= maxBody && e.Code == breakglass.CodeTooLarge {
			t.Fatal("not too large")
		}
	})
}

func checkRefusal(t *testing.T, e *breakglass.Error) {
	t.Helper()
	switch e.Code {
	case breakglass.CodeInvalidRequest, breakglass.CodeMalformed, breakglass.CodeTooLarge, breakglass.CodeUnsupportedMediaType:
	default:
		t.Fatalf("code %s: %v", e.Code, e.Cause)
	}
	if (e.Code == breakglass.CodeInvalidRequest) != (len(e.Fields) > 0) || len(e.Fields) > maxFaults || len(e.Message) > 4096 || !utf8.ValidString(e.Message) {
		t.Fatalf("%+v", e)
	}
	for _, fault := range e.Fields {
		if fault.Message == "" || len(fault.Field) > 5*maxShownName || breakglass.CheckName(fault.Field) != "" {
			t.Fatalf("%+v", fault)
		}
	}
}
