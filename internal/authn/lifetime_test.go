package authn_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"breakglass/internal/authn"
	"breakglass/internal/breakglass"
)

// Two tokens of one principal overlap, so that one can replace the other; each
// works in its own time, to the instant.
func TestTokensWorkInTheirTimeToTheInstant(t *testing.T) {
	var now time.Time
	s, err := authn.NewAt([]authn.Token{
		{Name: "bot", SHA256: hash("old"), Label: "old", Expires: instant(t, "2026-03-02")},
		{Name: "bot", SHA256: hash("new"), Label: "new", NotBefore: instant(t, "2026-03-01T12:00:00+02:00"), Expires: instant(t, "2027-03-01T00:00:00.000001Z")},
	}, nil, func() time.Time { return now })
	require.NoError(t, err)
	for at, works := range map[string][]string{
		"2026-03-01T09:59:59.999999999Z": {"old"},
		"2026-03-01T10:00:00Z":           {"old", "new"},
		"2026-03-01T23:59:59.999999999Z": {"old", "new"},
		"2026-03-02T00:00:00Z":           {"new"},
		"2027-03-01T00:00:00Z":           {"new"},
		"2027-03-01T00:00:00.000001Z":    {},
	} {
		now, err = time.Parse(time.RFC3339Nano, at)
		require.NoError(t, err)
		for _, token := range []string{"old", "new"} {
			p, err := s.Authenticate(request("Bearer " + token))
			if !assert.Equal(t, contains(works, token), err == nil, "%s at %s: %v", token, at, err) || err != nil {
				continue
			}
			assert.Equal(t, "token:"+token, p.Via.String())
			assert.Equal(t, "bot", p.Name)
		}
	}
}

func contains(list []string, s string) bool {
	return strings.Contains(" "+strings.Join(list, " ")+" ", " "+s+" ")
}

// The owner of an expired token is told so; whoever doesn't hold it, or holds
// it in a place that it isn't meant for, learns nothing.
func TestOnlyTheHolderLearnsThatATokenHasExpired(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s, err := authn.NewAt([]authn.Token{
		{Name: "bot", SHA256: hash("expired"), Expires: instant(t, "2026-02-28")},
		{Name: "bot", SHA256: hash("early"), NotBefore: instant(t, "2026-03-02")},
		{Name: "bot", SHA256: hash("elsewhere"), Expires: instant(t, "2026-02-28"), AllowedFrom: []string{"10.0.0.0/8"}},
	}, nil, func() time.Time { return now })
	require.NoError(t, err)
	refusal := func(token string) *breakglass.Error {
		_, err := s.Authenticate(request("Bearer " + token))
		require.ErrorIs(t, err, authn.ErrInvalidCredentials)
		e := breakglass.AsError(err)
		assert.Equal(t, breakglass.CodeUnauthenticated, e.Code)
		assert.NotContains(t, e.Message, "bot")
		return e
	}
	assert.Contains(t, refusal("expired").Message, "expired at 2026-02-28T00:00:00Z")
	assert.Contains(t, refusal("early").Message, "not valid before 2026-03-02T00:00:00Z")
	strange := refusal("mallory").Message
	for _, token := range []string{"expire", "expiredd", "Expired", "elsewhere", hash("expired")} {
		assert.Equal(t, strange, refusal(token).Message, token)
	}
	assert.Contains(t, refusal("elsewhere").Cause.Error(), `"bot" was used from 192.0.2.1`, "the log says it")
}

func TestATokenWorksFromItsNetworksAlone(t *testing.T) {
	s, err := authn.New([]authn.Token{{Name: "bot", SHA256: hash("t"),
		AllowedFrom: []string{"10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "::ffff:198.51.100.1"}}}, nil)
	require.NoError(t, err)
	for addr, works := range map[string]bool{
		"10.1.2.3:4711": true, "[::ffff:10.1.2.3]:4711": true, "192.0.2.7:1": true, "[2001:db8::1]:1": true, "[2001:db8::1%eth0]:1": true, "198.51.100.1:1": true,
		"10.2.0.1:1": false, "192.0.2.8:1": false, "[2001:db9::1]:1": false, "[::1]:1": false, "127.0.0.1:1": false,
		"": false, "10.1.2.3": false, "@": false, "10.1.2.3:x": false,
	} {
		r := request("Bearer t")
		r.RemoteAddr = addr
		for _, spoofed := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip", "Cf-Connecting-Ip"} {
			r.Header.Set(spoofed, "10.1.2.3")
		}
		_, err := s.Authenticate(r)
		assert.Equal(t, works, err == nil, "%q", addr)
	}
}

func TestALimitedTokenAllocatesNothingEither(t *testing.T) {
	s, err := authn.New([]authn.Token{{Name: "bot", SHA256: hash("t"), NotBefore: instant(t, "2020-01-01"), Expires: instant(t, "2999-01-01"),
		AllowedFrom: []string{"10.1.0.0/16", "192.0.2.0/24"}}}, nil)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/v1/whoami", nil)
	r.Header.Set("Authorization", "Bearer t")
	_, err = s.Authenticate(r)
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Authenticate(r) }))
}

func TestInstantsAreDatesOrTimes(t *testing.T) {
	for text, want := range map[string]string{"2026-12-31": "2026-12-31T00:00:00Z", "2026-12-31T18:00:00+02:00": "2026-12-31T16:00:00Z"} {
		assert.Equal(t, want, time.Time(instant(t, text)).Format(time.RFC3339Nano))
	}
	for _, text := range []string{"", "2026", "31.12.2026", "2026-02-30", "2026-12-31 18:00", "2026-12-31T18:00:00", "tomorrow", "90d", "0001-01-01", "1969-12-31"} {
		var i authn.Instant
		assert.ErrorContains(t, i.UnmarshalText([]byte(text)), "must be a date", text)
	}
}

func TestANewTokenWorksAsItsEntrySays(t *testing.T) {
	secret, entry, err := authn.NewToken(authn.Token{Name: "Bot", Groups: []string{`a"b`, "c: d"}, Label: "pager", Expires: instant(t, "2999-01-01"),
		NotBefore: instant(t, "2020-01-01"), AllowedFrom: []string{"192.0.2.0/24"}})
	require.NoError(t, err)
	assert.Regexp(t, `^bgt_[A-Za-z0-9_-]{43}$`, secret)
	assert.NotContains(t, entry.YAML(), secret)
	var read []struct {
		Name, SHA256, Label string
		Groups              []string
		NotBefore           string   `yaml:"not_before"`
		Expires             string   `yaml:"expires"`
		AllowedFrom         []string `yaml:"allowed_from"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(entry.YAML()), &read))
	assert.Equal(t, "bot", read[0].Name)
	assert.Equal(t, []string{`a"b`, "c: d"}, read[0].Groups)
	s, err := authn.New([]authn.Token{{Name: read[0].Name, SHA256: read[0].SHA256, Groups: read[0].Groups, Label: read[0].Label, NotBefore: instant(t, read[0].NotBefore),
		Expires: instant(t, read[0].Expires), AllowedFrom: read[0].AllowedFrom}}, nil)
	require.NoError(t, err)
	p, err := s.Authenticate(request("Bearer " + secret))
	require.NoError(t, err)
	assert.Equal(t, "bot", p.Name)

	other, _, err := authn.NewToken(authn.Token{Name: "bot"})
	require.NoError(t, err)
	assert.NotEqual(t, secret, other)
	for _, bad := range []authn.Token{{}, {Name: ":x"}, {Name: "a", Groups: []string{""}}, {Name: "a", AllowedFrom: []string{"x"}}} {
		secret, _, err := authn.NewToken(bad)
		require.Error(t, err)
		assert.Empty(t, secret)
	}
}

func TestTokensThatEndSoonAreWarnedOf(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	warnings := authn.Warnings([]authn.Token{
		{Name: "for-ever"},
		{Name: "later", Expires: instant(t, "2026-03-15T00:00:01Z")},
		{Name: "soon", Expires: instant(t, "2026-03-15")},
		{Name: "past", Label: "laptop", Expires: instant(t, "2026-03-01")},
		{Name: "Rotated", Expires: instant(t, "2026-02-01")},
		{Name: "rotated", Expires: instant(t, "2027-02-01")},
	}, now)
	require.Len(t, warnings, 3)
	assert.Contains(t, warnings[0], `auth.tokens[2] is a token of "soon" that expires at 2026-03-15T00:00:00Z; make another`)
	assert.Contains(t, warnings[1], `auth.tokens[3] is a token of "past" ("laptop") that expired at 2026-03-01T00:00:00Z`)
	assert.Contains(t, warnings[2], `auth.tokens[4] is a token of "Rotated" that expired at 2026-02-01T00:00:00Z; another token of that name lives on`)
}

func FuzzInstant(f *testing.F) {
	f.Add("2026-12-31")
	f.Add("2026-12-31T18:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		var i authn.Instant
		if err := i.UnmarshalText([]byte(text)); err == nil && time.Time(i).Location() != time.UTC {
			t.Fatal(text)
		}
	})
}

// A delegate acts with the groups of the person whom it names.
func TestOnlyOwnersOfATokenThatIsValidNowAreKnown(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s, err := authn.NewAt([]authn.Token{
		{Name: "gone", SHA256: hash("a"), Groups: []string{"dba"}, Expires: instant(t, "2026-03-01")},
		{Name: "gone", SHA256: hash("b"), Groups: []string{"dba"}, Expires: instant(t, "2026-02-01")},
		{Name: "early", SHA256: hash("c"), Groups: []string{"dba"}, NotBefore: instant(t, "2026-03-02")},
		{Name: "renewed", SHA256: hash("d"), Groups: []string{"dba"}, Label: "old", Expires: instant(t, "2026-02-01")},
		{Name: "renewed", SHA256: hash("e"), Groups: []string{"dba"}, Label: "new", AllowedFrom: []string{"10.0.0.0/8"}},
	}, nil, func() time.Time { return now })
	require.NoError(t, err)
	for name, known := range map[string]bool{"gone": false, "early": false, "renewed": true, "Renewed": true, "nobody": false} {
		p, ok := s.Lookup(name)
		assert.Equal(t, known, ok, name)
		if known {
			assert.Equal(t, breakglass.Principal{Name: "renewed", Groups: []string{"dba"}, Roles: []breakglass.Role{}}, p)
		}
	}
	now = now.Add(-time.Nanosecond)
	_, ok := s.Lookup("gone")
	assert.True(t, ok, "until the instant at which the last token ends")
	now = now.AddDate(0, 0, 2)
	_, ok = s.Lookup("early")
	assert.True(t, ok)
}
