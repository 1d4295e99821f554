package rules_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"breakglass/internal/rules"
)

func TestWordsAreShortAndRoundedUp(t *testing.T) {
	for d, words := range map[time.Duration]string{
		time.Nanosecond: "1s", time.Second: "1s", time.Second + time.Microsecond: "2s", time.Minute: "1m", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 10 * time.Hour: "10h",
		100*time.Hour + 10*time.Minute: "100h10m", 59*time.Minute + 59*time.Second + 1: "1h", 0: "0s", -time.Second: "-1s",
	} {
		assert.Equal(t, words, rules.Words(d))
	}
}

func TestProfilesMatchWholeNamesAndReachOverSlashes(t *testing.T) {
	for _, c := range []struct {
		patterns rules.Profiles
		profile  string
		match    bool
	}{
		{nil, "anything/at all", true},
		{rules.Profiles{"a", "b"}, "b", true},
		{rules.Profiles{"prod"}, "prod2", false},
		{rules.Profiles{"prod"}, "my-prod", false},
		{rules.Profiles{"*"}, "team/prod", true},
		{rules.Profiles{"t?am?prod"}, "team/prod", true},
		{rules.Profiles{"team/*/db"}, "team/a/b/db", true},
		{rules.Profiles{"[^/]prod"}, "/prod", false},
		{rules.Profiles{`\*`}, "x", false},
		{rules.Profiles{`\*`}, "*", true},
		{rules.Profiles{"pröd-?"}, "pröd-ß", true},
		{rules.Profiles{"["}, "[", false},
	} {
		assert.Equal(t, c.match, c.patterns.Match(c.profile), "%v %s", c.patterns, c.profile)
	}
}
