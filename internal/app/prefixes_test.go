package app

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"breakglass/internal/authn"
	"breakglass/internal/authn/oidc"
	"breakglass/internal/config"
)

func TestIssuersWhoseNamesCanBeThoseOfOthersAreNamed(t *testing.T) {
	bare := oidc.Config{Issuer: "https://a.example.com", GroupsClaim: "groups"}
	noGroups := oidc.Config{Issuer: "https://b.example.com"}
	apart := oidc.Config{Issuer: "https://c.example.com", GroupsClaim: "groups", NamePrefix: "ci:", GroupPrefix: "ci:"}
	token := []authn.Token{{Name: "alice"}}
	grouped := []authn.Token{{Name: "alice", Groups: []string{"oncall"}}}
	for name, tc := range map[string]struct {
		cfg  config.Config
		want []string
	}{
		"alone":              {config.Config{Auth: config.Auth{OIDC: []oidc.Config{bare}}}, nil},
		"one is apart":       {config.Config{Auth: config.Auth{OIDC: []oidc.Config{bare, apart}}}, nil},
		"two":                {config.Config{Auth: config.Auth{OIDC: []oidc.Config{bare, apart, noGroups}}}, []string{"auth.oidc[0] has no name_prefix: ", "auth.oidc[2] has no name_prefix: "}},
		"two with groups":    {config.Config{Auth: config.Auth{OIDC: []oidc.Config{bare, bare}}}, []string{"auth.oidc[0] has no name_prefix and no group_prefix: ", "auth.oidc[1] has no name_prefix and no group_prefix: "}},
		"beside tokens":      {config.Config{Auth: config.Auth{Tokens: token, OIDC: []oidc.Config{bare}}}, []string{"auth.oidc[0] has no name_prefix: "}},
		"beside groups":      {config.Config{Auth: config.Auth{Tokens: grouped, OIDC: []oidc.Config{bare, apart}}}, []string{"auth.oidc[0] has no name_prefix and no group_prefix: "}},
		"beside a role":      {config.Config{Auth: config.Auth{OIDC: []oidc.Config{bare}}, Roles: config.Roles{Admin: authn.Members{Groups: []string{"g"}}}}, []string{"auth.oidc[0] has no group_prefix: "}},
		"apart from a role":  {config.Config{Auth: config.Auth{OIDC: []oidc.Config{apart}}, Roles: config.Roles{Admin: authn.Members{Users: []string{"u"}}}}, nil},
		"no issuer":          {config.Config{Auth: config.Auth{Tokens: grouped}}, nil},
		"groups not claimed": {config.Config{Auth: config.Auth{Tokens: grouped, OIDC: []oidc.Config{noGroups}}}, []string{"auth.oidc[0] has no name_prefix: "}},
	} {
		got := prefixes(tc.cfg)
		if assert.Len(t, got, len(tc.want), name) {
			for i, want := range tc.want {
				assert.Contains(t, got[i].String(), want, name)
			}
		}
	}
}
