package approval_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheDocumentedFileIsReal(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```yaml\n# approvals.yaml\n")
	require.True(t, found)
	file, _, _ := strings.Cut(rest, "```")
	p := parse(t, file)
	r, ok := p.Find("prod-db")
	require.True(t, ok)
	assert.Equal(t, 2, r.Required)
	assert.Len(t, r.Auto, 1)
	r, ok = p.Find("sandbox")
	require.True(t, ok)
	assert.Equal(t, "everything-else", r.Rule)
	assert.Equal(t, []time.Duration{8 * time.Hour, 24 * time.Hour}, []time.Duration{r.MaxDuration, r.MaxWait}, "the defaults that the page names")
}

func TestTheExampleIsAccepted(t *testing.T) {
	data, err := os.ReadFile("../../examples/approvals.yaml")
	require.NoError(t, err)
	r, ok := parse(t, string(data)).Find("prod-db")
	require.True(t, ok)
	assert.Equal(t, 1, r.Required)
	assert.True(t, r.RequireTicket)
}
