package config

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheExampleOfTheIdentityPageIsAccepted(t *testing.T) {
	page, err := os.ReadFile("../../docs/identity.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(page), "```yaml\nauth:\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	_, after, _ := strings.Cut(good, "roles:\n")
	c, err := parse("auth:\n" + example + "roles:\n" + after)
	require.NoError(t, err)
	require.Len(t, c.Auth.OIDC, 2)
	assert.Equal(t, "restore", c.Auth.OIDC[1].RequiredClaims["workflow"])
}
