package access_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// randomRules is a file of rules about the user dan, with windows that overlap.
func randomRules(random *rand.Rand) string {
	var b strings.Builder
	b.WriteString("version: \"1\"\nrules:\n")
	for i := range 1 + random.IntN(5) {
		effect := "allow"
		if random.IntN(3) == 0 {
			effect = "deny"
		}
		fmt.Fprintf(&b, "  - {name: r%d, effect: %s, users: [dan]", i, effect)
		if start, end := random.IntN(24), random.IntN(24); random.IntN(4) > 0 && start != end {
			days := []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}[random.IntN(7):]
			zone := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}[random.IntN(4)]
			fmt.Fprintf(&b, `, time: {days: [%s], hours: {start: "%02d:00", end: "%02d:00"}, timezone: %s}`, strings.Join(days, ", "), start, end, zone)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// Nobody keeps access beyond what the rules say at any instant up to Until.
func TestNoDenyRuleOpensBeforeUntil(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	dan := breakglass.Subject{Name: "dan"}
	permitted := 0
	for range 400 {
		text := randomRules(random)
		p := parse(t, text)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(365 * 24 * time.Hour))))
		d := p.Decide(dan, "prod", at)
		if !d.Permit {
			continue
		}
		permitted++
		until := d.Until
		if until.IsZero() {
			until = at.Add(9 * 24 * time.Hour)
		}
		for range 100 {
			seen := at.Add(time.Duration(random.Int64N(int64(until.Sub(at)))))
			require.True(t, p.Decide(dan, "prod", seen).Permit, "%sfrom %s until %s: refused at %s, seed %d", text, at, until, seen, seed)
		}
	}
	require.Greater(t, permitted, 50)
}
