package issuer

import (
	"regexp"
	"strings"
	"testing"
	"time"
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

func TestSessionNameCarriesHolderAndGrant(t *testing.T) {
	for _, c := range []struct{ holder, want string }{
		{"alice@example.com", "alice@example.com." + testGrantID},
		{"a.b.c", "a.b.c." + testGrantID},
		{"arn:aws:iam::123456789012:user/bob", "arn-aws-iam--123456789012-user-bob." + testGrantID},
		{"Ångström 🚒", "-ngstr-m--." + testGrantID},
		{"\xff\xfe", "--." + testGrantID},
		{"", "-." + testGrantID},
		{strings.Repeat("x", 300), strings.Repeat("x", 47) + "." + testGrantID},
	} {
		got := breakglass.SessionName(c.holder, testGrantID)
		assert.Equal(t, c.want, got)
		assert.Regexp(t, sessionNameRule, got)
	}
}

func TestParseSessionNameRefusesOtherSessions(t *testing.T) {
	for _, name := range []string{"", ".", "alice", "i-0123456789abcdef0", testGrantID, "." + testGrantID,
		"alice." + testGrantID[1:], "alice." + strings.ToUpper(testGrantID), "alice." + testGrantID + "."} {
		_, _, ok := breakglass.ParseSessionName(name)
		assert.False(t, ok, name)
	}
}

func FuzzSessionName(f *testing.F) {
	f.Add("alice@example.com", testGrantID)
	f.Add("", "")
	f.Add(strings.Repeat("é", 100), testGrantID)
	f.Add("a.0123456789abcdef", "not an id, much longer than one and with . in it 0123456789")
	f.Fuzz(func(t *testing.T, holder, id string) {
		name := breakglass.SessionName(holder, id)
		if !sessionNameRule.MatchString(name) {
			t.Fatalf("STS refuses %q", name)
		}
		who, grant, ok := breakglass.ParseSessionName(name)
		if breakglass.IsID(id) && (!ok || grant != id) {
			t.Fatalf("%q leads to %q, not to grant %q", name, grant, id)
		}
		if ok && !strings.HasPrefix(name, who+".") {
			t.Fatalf("%q parsed as holder %q", name, who)
		}
	})
}

func FuzzSessionTags(f *testing.F) {
	f.Add("alice@example.com", "prod", "req-12345678")
	f.Add("\x00\u202e🚒\xff", strings.Repeat("𝔘", 300), "")
	f.Fuzz(func(t *testing.T, holder, profile, correlation string) {
		tags := sessionTags(breakglass.Profile{Name: profile}, breakglass.Grant{Link: breakglass.LinkBreakglass, ID: testGrantID,
			Holder: holder, ReasonCode: breakglass.ReasonIncident, CorrelationID: correlation})
		for _, tag := range tags {
			value := aws.ToString(tag.Value)
			if !tagKeyRule.MatchString(aws.ToString(tag.Key)) || !tagValueRule.MatchString(value) || len(utf16.Encode([]rune(value))) > 256 {
				t.Fatalf("STS refuses %q=%q", aws.ToString(tag.Key), value)
			}
		}
	})
}

// AWS packs tags and session policy together into one space and documents no size.
// Nine tags with values of 250 characters fill it to 498 % (seen in issue 1898 of
// aws-actions/configure-aws-credentials), so about 450 characters fit.
func TestSessionTagsFitAWSsPackedSpace(t *testing.T) {
	const fits = 450
	g := testGrant(time.Time{})
	g.Holder = strings.Repeat("h", 64)
	g.ReasonCode = breakglass.ReasonMaintenance // the longest
	g.CorrelationID = strings.Repeat("c", 64)   // the longest that a caller can send
	p := breakglass.Profile{Name: strings.Repeat("p", 32)}
	total := 0
	for _, tag := range sessionTags(p, g) {
		total += len(aws.ToString(tag.Key)) + len(aws.ToString(tag.Value))
	}
	assert.Less(t, total, fits*4/5, "little is left for the session policy, and for what AWS counts beside the text")
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
