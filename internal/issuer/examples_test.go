package issuer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"breakglass/internal/testenv"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// iamPolicy takes no field that IAM doesn't know.
type iamPolicy struct {
	Version   string
	Statement []struct {
		Sid, Effect string
		Principal   map[string]string
		Action      stringOrList
		Resource    stringOrList
		Condition   map[string]map[string]string
	}
}

type stringOrList []string

func (s *stringOrList) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*s = make([]string, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]string)(s))
}

func parsePolicy(t *testing.T, text []byte) iamPolicy {
	t.Helper()
	var p iamPolicy
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&p), "%s", text)
	require.Equal(t, "2012-10-17", p.Version)
	require.NotEmpty(t, p.Statement)
	for _, s := range p.Statement {
		assert.Contains(t, []string{"Allow", "Deny"}, s.Effect)
		assert.NotEmpty(t, s.Action)
	}
	return p
}

func actions(p iamPolicy) []string {
	var all []string
	for _, s := range p.Statement {
		all = append(all, s.Action...)
	}
	return all
}

func TestExamplePoliciesAllowWhatTheIssuerDoes(t *testing.T) {
	for _, name := range []string{"trust-policy.json", "server-policy.json"} {
		text, err := os.ReadFile(filepath.Join(testenv.Root(t), "examples", name))
		require.NoError(t, err)
		assert.Subset(t, actions(parsePolicy(t, text)), []string{"sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"}, name)
	}
}

func TestPoliciesInTheDocumentationParse(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "aws.md"))
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1)
	found := 0
	for _, b := range blocks {
		if strings.Contains(string(b[1]), `"Statement"`) {
			parsePolicy(t, b[1])
			found++
		}
	}
	assert.NotZero(t, found)
}
