package policy_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
	"breakglass/internal/policy"
	"breakglass/internal/problem"
	"breakglass/internal/ratelimit"
)

// documented returns the blocks of that language in docs/policy.md.
func documented(t *testing.T, language string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	var blocks []string
	for _, after := range strings.Split(string(page), "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(after, "```")
		blocks = append(blocks, block)
	}
	return blocks
}

// lastInvocation is a history that knows one event.
type lastInvocation breakglass.Event

func (e lastInvocation) CountByInvokerSince(string, time.Time, int) (breakglass.Tally, error) {
	return breakglass.Tally{Count: 1, Oldest: e.CreatedAt}, nil
}

func (e lastInvocation) CountByProfileSince(string, time.Time, int) (breakglass.Tally, error) {
	return breakglass.Tally{Count: 1, Oldest: e.CreatedAt}, nil
}

func (e lastInvocation) GetLastByInvokerAndProfile(string, string) (*breakglass.Event, error) {
	return (*breakglass.Event)(&e), nil
}

func TestDocumentedFilesAndRefusalsAreReal(t *testing.T) {
	files, refusals := documented(t, "yaml"), documented(t, "json")
	require.Len(t, files, 4)
	require.Len(t, refusals, 2)
	p, err := policy.Parse("policy.yaml", []byte(files[0]))
	require.NoError(t, err)
	limits, err := ratelimit.Parse("ratelimit.yaml", []byte(files[1]))
	require.NoError(t, err)

	at := time.Date(2026, 3, 6, 14, 30, 0, 0, time.UTC)
	d := p.Decide(breakglass.PolicyRequest{Subject: breakglass.Subject{Name: "alice@example.com"}, Profile: "prod",
		ReasonCode: breakglass.ReasonIncident, Duration: time.Hour, At: at})
	requireDocumented(t, refusals[0], &breakglass.Error{Code: breakglass.CodePolicyDenied, Rule: d.Rule, Condition: d.Condition,
		Message: d.Message, Allowed: d.Allowed})

	l, err := limits.CheckRateLimit(lastInvocation{CreatedAt: at.Add(-12 * time.Minute)}, "alice@example.com", "prod", at)
	require.NoError(t, err)
	requireDocumented(t, refusals[1], &breakglass.Error{Code: breakglass.CodeRateLimited, Limit: l.Limit, Rule: l.Rule,
		RetryAfter: l.RetryAfter, Message: l.Message})
}

func requireDocumented(t *testing.T, page string, e *breakglass.Error) {
	t.Helper()
	real, err := json.MarshalIndent(problem.From(e, "8c1f0a6be1d24c55"), "", "  ")
	require.NoError(t, err)
	assert.JSONEq(t, string(real), page)
}

// The mistakes that the page shows, in a file that makes them.
func TestDocumentedMistakesAreReal(t *testing.T) {
	_, err := policy.Parse("policy.yaml", []byte(`version: "1"
rules:
  - name: oncall
    user: [alice@example.com]
    groups: [oncall]
    time:
      days: [monday]
      hours:
        start: "8:00"
        end: "17:00"
`))
	page, readErr := os.ReadFile("../../docs/policy.md")
	require.NoError(t, readErr)
	assert.Contains(t, string(page), "```\n"+err.Error()+"\n```")
}
