package access_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// documented returns the file of that name in docs/policy.md.
func documented(t *testing.T, name string) (page, file string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(data), "```yaml\n# "+name+"\n")
	require.True(t, found)
	file, _, _ = strings.Cut(rest, "```")
	return string(data), file
}

func TestTheDocumentedFileAndItsRefusalsAreReal(t *testing.T) {
	page, file := documented(t, "access.yaml")
	p := parse(t, file)
	at := time.Date(2026, 3, 4, 17, 30, 0, 0, time.UTC)
	for _, s := range []breakglass.Subject{contractor, dba} {
		d := p.Decide(s, "prod-db", at)
		require.False(t, d.Permit)
		assert.Contains(t, page, "\n"+d.Message+"\n")
	}
	assert.True(t, p.Decide(dba, "prod-db", at.Add(-time.Hour)).Permit)
}

func TestTheExampleIsAccepted(t *testing.T) {
	data, err := os.ReadFile("../../examples/access.yaml")
	require.NoError(t, err)
	p := parse(t, string(data))
	noon := time.Date(2026, 3, 6, 17, 0, 0, 0, time.UTC) // a Friday in New York
	d := p.Decide(dba, "prod-db", noon)
	assert.True(t, d.Permit, d.Message)
	assert.Equal(t, noon.Add(4*time.Hour), d.Until, "the deny rule opens before the window closes")
	assert.Equal(t, "no-changes-on-friday-night", p.Decide(dba, "prod-db", d.Until).Rule)
}
