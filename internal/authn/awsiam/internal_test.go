package awsiam

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/authn"
	"breakglass/internal/authn/session"
	"breakglass/internal/breakglass"
)

func testKeys() *session.Keys { return session.Random() }

func TestANonceLivesAMinuteAndNoLonger(t *testing.T) {
	keys := testKeys()
	made := time.Now()
	n := newNonce(keys, made)
	for after, ok := range map[time.Duration]bool{0: true, 59 * time.Second: true, 61 * time.Second: false, -4 * time.Second: true, -6 * time.Second: false, 48 * time.Hour: false} {
		assert.Equal(t, ok, checkNonce(keys, n, made.Add(after)) == nil, after)
	}
	assert.NotEqual(t, n, newNonce(keys, made))
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		twin := n[:len(n)-1] + string(last)
		assert.Equal(t, twin == n, checkNonce(keys, twin, made) == nil, "a second text of one nonce would be a second use")
	}
	// A session token's MAC is worth nothing here, nor the other way round.
	require.ErrorIs(t, checkNonce(testKeys(), n, made), errNonce)
}

func TestARNs(t *testing.T) {
	for arn, want := range map[string]Identity{
		"arn:aws:iam::123456789012:user/alice":                                     {Partition: "aws", Account: "123456789012", User: "alice"},
		"arn:aws:iam::123456789012:user/a/b/alice":                                 {Partition: "aws", Account: "123456789012", User: "alice"},
		"arn:aws-us-gov:sts::123456789012:assumed-role/OnCall/s":                   {},
		"arn:aws-us-gov:sts::123456789012:assumed-role/OnCall/se":                  {Partition: "aws-us-gov", Account: "123456789012", Role: "OnCall", Session: "se"},
		"arn:aws-cn:sts::123456789012:assumed-role/A_b+=,.@-/x@y.z":                {Partition: "aws-cn", Account: "123456789012", Role: "A_b+=,.@-", Session: "x@y.z"},
		"arn:aws-evil:iam::123456789012:user/alice":                                {},
		"arn:aws:iam::123456789012:root":                                           {},
		"arn:aws:iam::123456789012:role/OnCall":                                    {},
		"arn:aws:iam::12345678901:user/alice":                                      {},
		"arn:aws:iam:us-east-1:123456789012:user/alice":                            {},
		"arn:aws:sts::123456789012:assumed-role/path/OnCall/session":               {},
		"arn:aws:sts::123456789012:federated-user/alice":                           {},
		"arn:aws:iam::123456789012:user/":                                          {},
		"arn:aws:iam::123456789012:user/a b":                                       {},
		"x arn:aws:iam::123456789012:user/alice":                                   {},
		"arn:aws:iam::123456789012:user/alice\n":                                   {},
		"arn:aws:iam::123456789012:user/alice\narn:aws:iam::123456789012:user/bob": {},
	} {
		got, err := parseARN(arn)
		if want.Account != "" {
			want.ARN = arn
		}
		assert.Equal(t, want, got)
		assert.Equal(t, want.Account == "", err != nil, arn)
	}
}

func TestEachRegionHasItsHostAndPartition(t *testing.T) {
	for r, want := range map[string][2]string{
		"us-east-1":     {"sts.us-east-1.amazonaws.com", "aws"},
		"us-gov-west-1": {"sts.us-gov-west-1.amazonaws.com", "aws-us-gov"},
		"cn-north-1":    {"sts.cn-north-1.amazonaws.com.cn", "aws-cn"},
	} {
		assert.Equal(t, want, [2]string{stsHost(r), partitionOf(r)})
	}
}

// A session is only as good as the rule that made it.
func TestASessionEndsWithItsRule(t *testing.T) {
	arn := "arn:aws:sts::123456789012:assumed-role/OnCall/i-1"
	now := time.Now().Truncate(time.Second)
	keys := testKeys()
	made := session.Session{Name: "oncall", Via: "aws", Subject: arn, Server: "here", Issued: now, Expires: now.Add(time.Hour)}
	rule := Rule{Account: "123456789012", Role: "OnCall", Name: "OnCall", Groups: []string{"new"}}
	verify := func(r Rule, s session.Session, after time.Duration) (authn.Identity, error) {
		token, err := keys.Token(s)
		require.NoError(t, err)
		l := &Login{cfg: Config{ServerNames: []string{"here"}, Rules: []Rule{r}}, deps: Deps{Keys: keys, Now: func() time.Time { return now.Add(after) }}}
		return l.Verify(nil, token)
	}
	id, err := verify(rule, made, 59*time.Minute)
	require.NoError(t, err)
	assert.Equal(t, authn.Identity{Name: "oncall", Groups: []string{"new"}, Via: breakglass.Via{Method: breakglass.MethodAWS, Source: arn}}, id,
		"groups are those of today")
	_, err = verify(rule, made, time.Hour)
	require.ErrorContains(t, err, "This login ended at")
	long := made
	long.Expires = now.Add(12 * time.Hour) // made when session_duration was 12h
	_, err = verify(rule, long, 59*time.Minute)
	require.NoError(t, err)
	_, err = verify(rule, long, time.Hour)
	require.ErrorContains(t, err, "This login ended at "+now.Add(time.Hour).UTC().Format(time.RFC3339))
	for why, change := range map[string]func(*Rule, *session.Session){
		"another name":    func(r *Rule, _ *session.Session) { r.Name = "somebody-else" },
		"another account": func(r *Rule, _ *session.Session) { r.Account = "999988887777" },
		"another role":    func(r *Rule, _ *session.Session) { r.Role = "Other" },
		"another way in":  func(_ *Rule, s *session.Session) { s.Via = "oidc" },
		"another server":  func(_ *Rule, s *session.Session) { s.Server = "staging" },
		"too long a life": func(_ *Rule, s *session.Session) { s.Expires = s.Issued.Add(13 * time.Hour) },
		"no ARN":          func(_ *Rule, s *session.Session) { s.Subject = "" },
	} {
		r, s := rule, made
		change(&r, &s)
		_, err := verify(r, s, 0)
		require.ErrorIs(t, err, authn.ErrInvalidCredentials, why)
	}
	l := &Login{deps: Deps{Keys: keys, Now: time.Now}}
	for _, token := range []string{"", session.Prefix + "x", session.Prefix + "x.y"} {
		_, err := l.Verify(nil, token)
		require.ErrorIs(t, err, authn.ErrInvalidCredentials)
	}
}

// The same account number in another partition is another account.
func TestARuleHoldsForItsPartition(t *testing.T) {
	rules := []Rule{
		{Account: "123456789012", Partition: "aws", Role: "OnCall", Name: "commercial"},
		{Account: "123456789012", Partition: "aws-us-gov", Role: "OnCall", Name: "government"},
	}
	for partition, want := range map[string]string{"aws": "commercial", "aws-us-gov": "government", "aws-cn": ""} {
		name, _, ok := resolve(rules, Identity{Account: "123456789012", Partition: partition, Role: "OnCall", Session: "x"})
		assert.Equal(t, want, name)
		assert.Equal(t, want != "", ok)
	}
	mixed := Config{ServerNames: []string{"here"}, Regions: []string{"us-east-1", "us-gov-west-1"}, Rules: rules}
	assert.Empty(t, mixed.Validate())
}

// One person has one name, however the identity provider spells it.
func TestNamesAreCanonicalAndLookAlikesAreRefused(t *testing.T) {
	rules := []Rule{{Account: "123456789012", PermissionSet: "Engineer", NameFrom: SessionName, NameSuffix: "@Example.com"}}
	id := Identity{Account: "123456789012", Role: "AWSReservedSSO_Engineer_0123456789abcdef", Session: "ALICE"}
	name, _, ok := resolve(rules, id)
	assert.True(t, ok)
	assert.Equal(t, "alice@example.com", name)
	rules[0].NameSuffix = "\u0430" // Cyrillic
	_, _, ok = resolve(rules, id)
	assert.False(t, ok)
}
