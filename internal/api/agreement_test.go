package api_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/problem"
)

// property finds a schema by its path below components.schemas.
func property(t testing.TB, path ...string) *openapi3.Schema {
	t.Helper()
	c, err := loadContract()
	require.NoError(t, err)
	ref := c.doc.Components.Schemas[path[0]]
	for _, name := range path[1:] {
		require.NotNil(t, ref, path)
		if name == "[]" {
			ref = ref.Value.Items
			continue
		}
		ref = ref.Value.Properties[name]
	}
	require.NotNil(t, ref, path)
	return ref.Value
}

// Texts with which the patterns of openapi.yaml and the checks of the domain
// must agree. White space at the ends is a case of its own: the server removes
// it, the schema describes the text without it. That enough of a text is visible
// is a rule that a pattern can't say; the schema says it in words.
func TestPatternsAndChecksAgree(t *testing.T) {
	samples := []string{"", "x", "prod", "prod db", "a\tb", "a\nb", "a\x00b", "a\x7fb", "a\u0085b", "a\u009fb", "a\u00a0b", "a\u00adb", "a\u061cb", "a\u200bb",
		"a\u200db", "a\u200eb", "a\u2028b", "a\u2029b", "a\u202ab", "a\u202eb", "a\u2066b", "a\u2069b", "a\ufeffb", "a\u034fb", "a\u17b4b", "a\u17b5b", "a\u180bb", "a\u180db", "a\u180eb", "a\u180fb",
		"a\u206ab", "a\u206fb", "a\u2800b", "a\u115fb", "a\u3164b", "❤\ufe0f", "é", "🔥", "e\u0301", "<b>&amp;", `"quoted" \`, "alice@example.com"}
	for n := range []int{0, 1, 2} {
		for _, c := range []string{"x", "🔥"} {
			for _, limit := range []int{20, 100, 256, 1000} {
				samples = append(samples, strings.Repeat(c, limit-1+n))
			}
		}
	}
	for name, tc := range map[string]struct {
		schema *openapi3.Schema
		check  func(string) string
	}{
		"name":          {property(t, "Name"), breakglass.CheckName},
		"justification": {property(t, "Invocation", "justification"), breakglass.CheckJustification},
		"ticket":        {property(t, "Invocation", "ticket"), breakglass.CheckTicket},
		"reason":        {property(t, "Close", "reason"), breakglass.CheckClosedReason},
		"comment":       {property(t, "Approve", "comment"), breakglass.CheckComment},
	} {
		for _, s := range append(samples, "a sentence with \u202e in the middle", "a sentence with a \u001b in it") {
			assert.Equal(t, tc.check(s) == "", tc.schema.VisitJSON(s) == nil, "%s: %.40q (%d)", name, s, len([]rune(s)))
		}
	}
	for _, padded := range []string{" prod", "prod ", "\u3000prod"} {
		assert.NotEmpty(t, breakglass.CheckName(padded))
		if !strings.HasPrefix(padded, "\u3000") { // \s is ASCII in Go's expressions, Unicode in those of JSON Schema
			assert.Error(t, property(t, "Name").VisitJSON(padded))
		}
	}
	for _, n := range []int64{-1, 0, 1, 59, 14399, 14400, 14401, 28799, 28800, 28801} {
		for body, check := range map[string]func(time.Duration) string{
			"Invocation": breakglass.CheckDuration, "Extension": breakglass.CheckDuration, "NewAccessRequest": breakglass.CheckRequestDuration,
		} {
			ok := n != 0 && check(time.Duration(n)*time.Second) == ""
			assert.Equal(t, ok, property(t, body, "duration_seconds").VisitJSON(float64(n)) == nil, "%s %d", body, n)
		}
	}
}

func TestEnumerationsAgree(t *testing.T) {
	words := func(path ...string) []string {
		var out []string
		for _, v := range property(t, path...).Enum {
			out = append(out, v.(string))
		}
		return out
	}
	assert.ElementsMatch(t, texts(breakglass.Statuses()), words("Status"))
	assert.Equal(t, texts(breakglass.ReasonCodes()), words("ReasonCode"))
	assert.ElementsMatch(t, texts(breakglass.EntryTypes()), words("EntryType"))
	assert.Equal(t, texts(breakglass.RequestStatuses()), words("AccessRequestStatus"))
	assert.Equal(t, texts(breakglass.Links()), words("Link"))
	assert.ElementsMatch(t, texts([]breakglass.Outcome{breakglass.OutcomeAllowed, breakglass.OutcomeAbsent, breakglass.OutcomeDenied, breakglass.OutcomePending,
		breakglass.OutcomeExpired, breakglass.OutcomeWithdrawn, breakglass.OutcomeExhausted, breakglass.OutcomeUnavailable}), words("LinkAnswer", "outcome"))
	assert.Equal(t, []string{breakglass.StoryEvent, breakglass.StoryRequest, breakglass.StorySession}, words("Story", "kind"))
	inTrail := append(texts(breakglass.Statuses()), texts(breakglass.RequestStatuses())...)
	slices.Sort(inTrail)
	assert.ElementsMatch(t, slices.Compact(inTrail), words("Entry", "status"))
	assert.ElementsMatch(t, texts(breakglass.Roles()), words("Caller", "roles", "[]"))
	assert.ElementsMatch(t, []string{string(breakglass.LimitCooldown), string(breakglass.LimitUserQuota), string(breakglass.LimitProfileQuota), string(breakglass.LimitMFAAttempts)}, words("Problem", "limit"))
	assert.ElementsMatch(t, []string{breakglass.ConditionNoRule, breakglass.ConditionReasonCode, breakglass.ConditionTime, breakglass.ConditionMaxDuration,
		breakglass.ConditionTicket, breakglass.ConditionProfileCap, breakglass.ConditionMaxRenewals, breakglass.ConditionExtensions}, words("Problem", "condition"))
	var codes []string
	for code := range problem.Codes() {
		codes = append(codes, string(code))
	}
	assert.ElementsMatch(t, codes, words("Problem", "code"))
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// Every parameter that openapi.yaml describes is one that the server takes,
// within the same bounds.
func TestQueryParametersAgree(t *testing.T) {
	s := start(t, options{})
	s.invoke(t, alice, "prod")
	c, err := loadContract()
	require.NoError(t, err)
	valid := map[string][]string{"invoker": {"alice", "jürgen"}, "requester": {"alice"}, "decidable": {"true", "false"}, "profile": {"prod"}, "status": {"active", "closed", "expired"}, "since": {"2026-03-01T00:00:00Z", "2026-03-01T00:00:00.5%2B02:00"},
		"until": {"2027-03-01T00:00:00z"}, "limit": {"1", "1000"}, "wait": {"1s", "9s", "10s", "59s", "60s", "1m", "1m0s"}, "after": {"0", "1"},
		"reason_code": texts(breakglass.ReasonCodes()), "event": texts(breakglass.EntryTypes()), "cursor": {"AQAGTFRGbNlATxwMDzpbfZIBAgMEBQYHCA"}}
	invalid := map[string][]string{"decidable": {"yes", "1", "TRUE"}, "limit": {"0", "1001", "x"}, "wait": {"0s", "61s", "01s", "1s0m", "1.0s", "2m"}, "after": {"-1", "1.5"}, "status": {"open"}, "since": {"now"}, "event": {"x"}}
	s.handler.Drain() // nothing waits
	for _, path := range []string{"/v1/breakglass", "/v1/events", "/v1/requests"} {
		valid, invalid := maps.Clone(valid), maps.Clone(invalid)
		if path == "/v1/requests" {
			valid["status"], invalid["status"] = texts(breakglass.RequestStatuses()), []string{"active", "PENDING"}
		}
		for _, p := range c.doc.Paths.Value(path).Get.Parameters {
			if p.Value.In != "query" {
				continue
			}
			require.NotEmpty(t, valid[p.Value.Name], "no sample of %s", p.Value.Name)
			for _, v := range valid[p.Value.Name] {
				a := s.call(t, request{method: "GET", path: path + "?" + p.Value.Name + "=" + v, as: sam})
				if p.Value.Name == "cursor" {
					continue // its form is right, its content is not
				}
				assert.Equal(t, 200, a.status, "%s?%s=%s %s", path, p.Value.Name, v, a.body)
				if p.Value.Schema.Value.Type.Is("string") && p.Value.Schema.Value.Format == "" {
					assert.NoError(t, p.Value.Schema.Value.VisitJSON(v))
				}
			}
			for _, v := range invalid[p.Value.Name] {
				assert.Equal(t, 422, s.call(t, request{method: "GET", path: path + "?" + p.Value.Name + "=" + v, as: sam}).status)
				if p.Value.Schema.Value.Type.Is("string") && p.Value.Schema.Value.Format == "" {
					assert.Error(t, p.Value.Schema.Value.VisitJSON(v), "%s=%s", p.Value.Name, v)
				}
			}
		}
	}
	limit := c.doc.Components.Parameters["Limit"].Value.Schema.Value
	assert.Equal(t, []float64{1, 1000}, []float64{*limit.Min, *limit.Max})
	assert.EqualValues(t, 100, limit.Default)
}

func TestThePatternOfIdempotencyKeysAgrees(t *testing.T) {
	s := start(t, options{})
	c, err := loadContract()
	require.NoError(t, err)
	schema := c.doc.Paths.Value("/v1/breakglass").Post.Parameters.GetByInAndName("header", "Idempotency-Key").Schema.Value
	for _, key := range []string{"a", "a-b_c", `"a"`, `"a\"b"`, `"a\\b"`, "base64+/==", `"a,b;c"`, "~!", strings.Repeat("k", 255), `"` + strings.Repeat(`\"`, 255) + `"`,
		`""`, `"`, `"a`, `a"`, `"a\b"`, "a b", `"a b"`, "a,b", "a;b", `a\b`, strings.Repeat("k", 256), `"` + strings.Repeat("k", 256) + `"`, `"a"b`, `"a";q=1`} {
		a := s.call(t, request{method: "POST", path: "/v1/breakglass?dry_run=true", as: alice, body: body(), header: map[string][]string{"Idempotency-Key": {key}}})
		assert.Equal(t, a.status == 200, schema.VisitJSON(key) == nil, "%q: %s", key, a.body)
	}
}
