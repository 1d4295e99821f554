package issuer

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"breakglass/internal/breakglass"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/assert"
)

// The rules of STS, as its API reference writes them.
var (
	sessionNameRule = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	tagValueRule    = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	tagKeyRule      = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$`)
)

func TestSessionNameCarriesInvokerAndEvent(t *testing.T) {
	for _, c := range []struct{ invoker, want string }{
		{"alice@example.com", "alice@example.com." + testEventID},
		{"a.b.c", "a.b.c." + testEventID},
		{"arn:aws:iam::123456789012:user/bob", "arn-aws-iam--123456789012-user-bob." + testEventID},
		{"Ångström 🚒", "-ngstr-m--." + testEventID},
		{"\xff\xfe", "--." + testEventID},
		{"", "-." + testEventID},
		{strings.Repeat("x", 300), strings.Repeat("x", 47) + "." + testEventID},
	} {
		got := SessionName(c.invoker, testEventID)
		assert.Equal(t, c.want, got)
		assert.Regexp(t, sessionNameRule, got)
	}
}

func TestParseSessionNameRefusesOtherSessions(t *testing.T) {
	for _, name := range []string{"", ".", "alice", "i-0123456789abcdef0", testEventID, "." + testEventID,
		"alice." + testEventID[1:], "alice." + strings.ToUpper(testEventID), "alice." + testEventID + "."} {
		_, _, ok := ParseSessionName(name)
		assert.False(t, ok, name)
	}
}

func FuzzSessionName(f *testing.F) {
	f.Add("alice@example.com", testEventID)
	f.Add("", "")
	f.Add(strings.Repeat("é", 100), testEventID)
	f.Add("a.0123456789abcdef", "not an id, much longer than one and with . in it 0123456789")
	f.Fuzz(func(t *testing.T, invoker, id string) {
		name := SessionName(invoker, id)
		if !sessionNameRule.MatchString(name) {
			t.Fatalf("STS refuses %q", name)
		}
		who, event, ok := ParseSessionName(name)
		if breakglass.IsID(id) && (!ok || event != id) {
			t.Fatalf("%q leads to %q, not to event %q", name, event, id)
		}
		if ok && !strings.HasPrefix(name, who+".") {
			t.Fatalf("%q parsed as invoker %q", name, who)
		}
	})
}

func FuzzSessionTags(f *testing.F) {
	f.Add("alice@example.com", "prod", "req-12345678")
	f.Add("\x00\u202e🚒\xff", strings.Repeat("𝔘", 300), "")
	f.Fuzz(func(t *testing.T, invoker, profile, request string) {
		tags := sessionTags(breakglass.Event{ID: testEventID, Invoker: invoker, Profile: profile, RequestID: request})
		for _, tag := range tags {
			value := aws.ToString(tag.Value)
			if !tagKeyRule.MatchString(aws.ToString(tag.Key)) || !tagValueRule.MatchString(value) || len(utf16.Encode([]rune(value))) > 256 {
				t.Fatalf("STS refuses %q=%q", aws.ToString(tag.Key), value)
			}
		}
	})
}

func TestChainingIsToldFromTheServersOwnARN(t *testing.T) {
	for arn, want := range map[string]chaining{
		"arn:aws:iam::123456789012:user/server":                                     chainingNo,
		"arn:aws:iam::123456789012:root":                                            chainingNo,
		"arn:aws:sts::123456789012:assumed-role/Server/0f1e2d3c4b5a":                chainingYes,
		"arn:aws-us-gov:sts::123456789012:assumed-role/Server/botocore-session-177": chainingYes,
		"arn:aws:sts::123456789012:assumed-role/Server/i-0123456789abcdef0":         chainingUnknown,
		"arn:aws:sts::123456789012:assumed-role/Server/i-alice":                     chainingYes,
		"": chainingUnknown,
	} {
		assert.Equal(t, want, chainingOf(arn), arn)
	}
}
