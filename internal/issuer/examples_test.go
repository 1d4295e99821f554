package issuer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"breakglass/internal/testenv"

	"github.com/aws/aws-sdk-go-v2/aws"
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
		Condition   map[string]map[string]stringOrList
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

// documented returns docs/aws.md and the policies in it.
func documented(t *testing.T) (text string, policies []iamPolicy) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "aws.md"))
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(b, -1) {
		if strings.Contains(string(block[1]), `"Statement"`) {
			policies = append(policies, parsePolicy(t, block[1]))
		}
	}
	return string(b), policies
}

func TestPoliciesInTheDocumentationParse(t *testing.T) {
	_, policies := documented(t)
	assert.NotEmpty(t, policies)
}

// A trust policy that limits the keys of tags and forgets one refuses everybody.
func TestTheDocumentationNamesEverySessionTag(t *testing.T) {
	text, policies := documented(t)
	var keys []string
	for _, tag := range sessionTags(testProfile(), testGrant(time.Time{})) {
		keys = append(keys, aws.ToString(tag.Key))
		assert.Contains(t, text, "| `"+aws.ToString(tag.Key)+"` |")
	}
	var limits []stringOrList
	for _, p := range policies {
		for _, s := range p.Statement {
			if allowed, ok := s.Condition["ForAllValues:StringEquals"]["aws:TagKeys"]; ok {
				limits = append(limits, allowed)
			}
		}
	}
	require.Len(t, limits, 1)
	assert.ElementsMatch(t, keys, limits[0])
}
